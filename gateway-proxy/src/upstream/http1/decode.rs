//! The header of an answer (RFC 9112 §4 and §6.3), bounded, and nothing ambiguous in it.

use std::mem::MaybeUninit;

use bytes::{Bytes, BytesMut};
use http::header::{CONNECTION, CONTENT_LENGTH, HeaderName, HeaderValue, TRANSFER_ENCODING};
use http::response::Parts;
use http::{HeaderMap, Response, StatusCode, Version};
use httparse::{ParserConfig, Status};
use thiserror::Error;

use super::chunked::Chunked;

/// Why an answer is not HTTP.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum Invalid {
    #[error("{0}")]
    Syntax(#[from] httparse::Error),
    #[error("a header of more than {MOST_BYTES} bytes")]
    TooLarge,
    #[error("more than {FIELDS} header fields")]
    TooMany,
    #[error("a status outside of 100 to 999")]
    Status,
    #[error("a field that is not one")]
    Field,
    #[error("Content-Length that is not one number")]
    Length,
    #[error("a transfer coding other than `chunked`, or on HTTP/1.0")]
    Coding,
    #[error("a chunk that does not end where it says")]
    Chunk,
}

pub struct Head {
    pub parts: Parts,
    pub framing: Framing,
    /// Another request may follow on this connection, once the body is read.
    pub keep: bool,
}

/// Where the body ends.
#[derive(Debug)]
pub enum Framing {
    Length(u64),
    Chunked(Chunked),
    /// With the connection.
    Close,
}

/// Where a field is.
#[derive(Clone, Copy)]
pub struct Field {
    name: (usize, usize),
    value: (usize, usize),
}

/// What the fields say of the connection and of the body.
#[derive(Default)]
struct Said {
    length: Option<u64>,
    chunked: bool,
    close: bool,
    keep_alive: bool,
}

/// More fields than this are refused, whatever protocol brings them.
pub const FIELDS: usize = 100;
const MOST_BYTES: usize = 128 * 1024;

/// Takes a header off `read`, once it is whole; interim ones but 101 are skipped. `is_head`: it answers HEAD. `spare` becomes
/// the answer's map, and is not touched before; `fields` is room to work in.
pub fn head(
    read: &mut BytesMut,
    is_head: bool,
    spare: &mut HeaderMap,
    fields: &mut Vec<Field>,
) -> Result<Option<Head>, Invalid> {
    while !read.is_empty() {
        let Some((length, status, version)) = parse(read, fields)? else { return Ok(None) };
        let bytes = read.split_to(length).freeze();
        if status.is_informational() && status != StatusCode::SWITCHING_PROTOCOLS {
            continue;
        }
        let mut headers = std::mem::take(spare);
        headers.clear();
        let said = collect(&bytes, fields, &mut headers)?;
        if said.chunked && version == Version::HTTP_10 {
            return Err(Invalid::Coding);
        }
        let framing = if is_head || has_no_body(status) {
            Framing::Length(0)
        } else if said.chunked {
            Framing::Chunked(Chunked::default())
        } else {
            said.length.map_or(Framing::Close, Framing::Length)
        };
        // Both, and a backend behind another proxy might mean either: believed once, not trusted further.
        let doubtful = said.chunked && said.length.is_some();
        if doubtful {
            headers.remove(CONTENT_LENGTH);
        }
        let may_stay = version == Version::HTTP_11 || said.keep_alive;
        let ends = said.close || doubtful || matches!(framing, Framing::Close);
        let keep = may_stay && !ends && status != StatusCode::SWITCHING_PROTOCOLS;
        let mut parts = Response::new(()).into_parts().0;
        parts.status = status;
        parts.version = version;
        parts.headers = headers;
        return Ok(Some(Head { parts, framing, keep }));
    }
    Ok(None)
}

fn parse(read: &[u8], fields: &mut Vec<Field>) -> Result<Option<(usize, StatusCode, Version)>, Invalid> {
    let mut room = [const { MaybeUninit::uninit() }; FIELDS];
    let mut answer = httparse::Response::new(&mut []);
    let parsed = ParserConfig::default().parse_response_with_uninit_headers(&mut answer, read, &mut room)?;
    let Status::Complete(length) = parsed else {
        return if read.len() < MOST_BYTES { Ok(None) } else { Err(Invalid::TooLarge) };
    };
    if length > MOST_BYTES {
        return Err(Invalid::TooLarge);
    }
    let span = |part: &[u8]| {
        let start = part.as_ptr().addr() - read.as_ptr().addr();
        (start, start + part.len())
    };
    fields.clear();
    fields.extend(
        answer
            .headers
            .iter()
            .map(|field| Field { name: span(field.name.as_bytes()), value: span(field.value) }),
    );
    let status = answer.code.and_then(|code| StatusCode::from_u16(code).ok()).ok_or(Invalid::Status)?;
    let version = if answer.version == Some(1) { Version::HTTP_11 } else { Version::HTTP_10 };
    Ok(Some((length, status, version)))
}

fn collect(bytes: &Bytes, fields: &[Field], headers: &mut HeaderMap) -> Result<Said, Invalid> {
    let mut said = Said::default();
    headers.reserve(fields.len());
    for field in fields {
        let name = HeaderName::from_bytes(&bytes[field.name.0..field.name.1]).map_err(|_| Invalid::Field)?;
        let value = HeaderValue::from_maybe_shared(bytes.slice(field.value.0..field.value.1))
            .map_err(|_| Invalid::Field)?;
        if !said.hear(&name, value.as_bytes())? {
            headers.append(name, value);
        }
    }
    Ok(said)
}

impl Said {
    /// true: the field says nothing new, and is dropped.
    fn hear(&mut self, name: &HeaderName, value: &[u8]) -> Result<bool, Invalid> {
        if *name == CONTENT_LENGTH {
            let is_number = !value.is_empty() && value.iter().all(u8::is_ascii_digit);
            let text = std::str::from_utf8(value).ok().filter(|_| is_number);
            let length = text.and_then(|text| text.parse().ok()).ok_or(Invalid::Length)?;
            return match self.length.replace(length) {
                None => Ok(false),
                Some(known) if known == length => Ok(true),
                Some(_) => Err(Invalid::Length),
            };
        }
        if *name == TRANSFER_ENCODING {
            if self.chunked || !value.eq_ignore_ascii_case(b"chunked") {
                return Err(Invalid::Coding);
            }
            self.chunked = true;
        } else if *name == CONNECTION {
            for option in value.split(|&byte| byte == b',') {
                let option = option.trim_ascii();
                self.close |= option.eq_ignore_ascii_case(b"close");
                self.keep_alive |= option.eq_ignore_ascii_case(b"keep-alive");
            }
        }
        Ok(false)
    }
}

fn has_no_body(status: StatusCode) -> bool {
    status.is_informational() || status == StatusCode::NO_CONTENT || status == StatusCode::NOT_MODIFIED
}

#[cfg(test)]
mod tests;
