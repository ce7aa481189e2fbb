//! A chunked body (RFC 9112 §7.1), read as it comes.

use bytes::{Buf, Bytes, BytesMut};
use http::HeaderMap;
use http::header::{HeaderName, HeaderValue};
use httparse::Status;

use super::decode::Invalid;

#[derive(Default, Debug)]
pub struct Chunked {
    state: State,
}

#[derive(Clone, Copy, Default, Debug)]
enum State {
    #[default]
    Size,
    Data(u64),
    /// The line end after a chunk's data.
    After,
    Trailers,
}

#[derive(PartialEq, Eq, Debug)]
pub enum Piece {
    Data(Bytes),
    End(Option<HeaderMap>),
}

/// Of a size with its extensions, and of all trailers.
const LINE: usize = 4 * 1024;
const TRAILERS: usize = 16 * 1024;
const TRAILER_FIELDS: usize = 64;

impl Chunked {
    /// Takes the next piece off `read`; None: more must be read.
    pub fn next(&mut self, read: &mut BytesMut) -> Result<Option<Piece>, Invalid> {
        loop {
            match self.state {
                // No digit is no size, which httparse takes for 0, as it takes a bare LF for part of an extension.
                State::Size if read.first().is_some_and(|byte| !byte.is_ascii_hexdigit()) => {
                    return Err(Invalid::Chunk);
                }
                State::Size => match httparse::parse_chunk_size(read).map_err(|_| Invalid::Chunk)? {
                    Status::Complete((used, _)) if used > LINE || read[..used - 2].contains(&b'\n') => {
                        return Err(Invalid::Chunk);
                    }
                    Status::Complete((used, size)) => {
                        read.advance(used);
                        self.state = if size == 0 { State::Trailers } else { State::Data(size) };
                    }
                    Status::Partial if read.len() < LINE => return Ok(None),
                    Status::Partial => return Err(Invalid::Chunk),
                },
                State::Data(_) if read.is_empty() => return Ok(None),
                State::Data(left) => {
                    let length = usize::try_from(left).unwrap_or(usize::MAX).min(read.len());
                    let left = left - length as u64;
                    self.state = if left == 0 { State::After } else { State::Data(left) };
                    return Ok(Some(Piece::Data(read.split_to(length).freeze())));
                }
                State::After => {
                    let end = &read[..read.len().min(2)];
                    if !b"\r\n".starts_with(end) {
                        return Err(Invalid::Chunk);
                    }
                    if end.len() < 2 {
                        return Ok(None);
                    }
                    read.advance(2);
                    self.state = State::Size;
                }
                State::Trailers => return trailers(read),
            }
        }
    }
}

fn trailers(read: &mut BytesMut) -> Result<Option<Piece>, Invalid> {
    let mut room = [httparse::EMPTY_HEADER; TRAILER_FIELDS];
    let (used, fields) = match httparse::parse_headers(read, &mut room)? {
        Status::Complete(parsed) if parsed.0 <= TRAILERS => parsed,
        Status::Partial if read.len() < TRAILERS => return Ok(None),
        Status::Complete(_) | Status::Partial => return Err(Invalid::TooLarge),
    };
    let mut trailers = HeaderMap::with_capacity(fields.len());
    for field in fields {
        let name = HeaderName::from_bytes(field.name.as_bytes()).map_err(|_| Invalid::Field)?;
        trailers.append(name, HeaderValue::from_bytes(field.value).map_err(|_| Invalid::Field)?);
    }
    read.advance(used);
    Ok(Some(Piece::End((!trailers.is_empty()).then_some(trailers))))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(text: &str) -> Result<(String, Option<HeaderMap>, String), Invalid> {
        let (mut read, mut chunked, mut data) = (BytesMut::from(text), Chunked::default(), String::new());
        loop {
            match chunked.next(&mut read)? {
                Some(Piece::Data(piece)) => data.push_str(std::str::from_utf8(&piece).unwrap()),
                Some(Piece::End(trailers)) => {
                    return Ok((data, trailers, String::from_utf8(read.to_vec()).unwrap()));
                }
                None => return Err(Invalid::TooLarge),
            }
        }
    }

    #[test]
    fn data_and_trailers_are_read_and_what_follows_is_left() {
        let (data, trailers, rest) =
            decode("5;a=b\r\nhello\r\n6\r\n world\r\n0\r\nx-a: 1\r\n\r\nHTTP").unwrap();
        assert_eq!((&*data, &*rest), ("hello world", "HTTP"));
        assert_eq!(trailers.unwrap()["x-a"], "1");
        assert_eq!(decode("0\r\n\r\n").unwrap(), (String::new(), None, String::new()));
    }

    #[test]
    fn what_is_not_a_chunk_is_refused() {
        for text in [
            "x\r\n",
            "5\r\nhelloX",
            "5\r\nhello\rX",
            "-1\r\n",
            "ffffffffffffffff1\r\n",
            "5 5\r\n",
            "5;a\nb\r\n",
            "5\nhello",
            "\r\n\r\n",
            ";a\r\n\r\n",
            " \r\n\r\n",
            "\t0\r\n\r\n",
        ] {
            assert_eq!(decode(text), Err(Invalid::Chunk), "{text}");
        }
        for end in ["", "\r\n"] {
            assert_eq!(decode(&format!("5;{}{end}", "a".repeat(LINE))), Err(Invalid::Chunk));
            let trailer = format!("0\r\na: {}{end}{end}", "a".repeat(TRAILERS));
            assert_eq!(decode(&trailer), Err(Invalid::TooLarge));
        }
    }
}
