//! A backend's answer, read as the proxy reads it.

use bytes::BytesMut;
use gateway_proxy::upstream::http1::chunked::Piece;
use gateway_proxy::upstream::http1::decode::{self, Framing, Invalid};
use http::{HeaderMap, StatusCode};

use super::input::Input;

#[derive(PartialEq, Eq, Debug, Default)]
pub(crate) struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Vec<u8>,
    trailers: Option<HeaderMap>,
    whole: bool,
    /// What came after it.
    rest: Vec<u8>,
}

/// Reads an answer that comes in the pieces that `cuts` says. None: its header is not whole.
pub(crate) fn read(bytes: &[u8], is_head: bool, mut cuts: Input<'_>) -> Result<Option<Answer>, Invalid> {
    let (mut read, mut fields, mut spare) = (BytesMut::new(), Vec::new(), HeaderMap::new());
    let mut coming = bytes;
    let mut more = |read: &mut BytesMut| {
        let count = if cuts.is_empty() { coming.len() } else { cuts.below(9).min(coming.len()) };
        read.extend_from_slice(&coming[..count]);
        coming = &coming[count..];
        count > 0 || !coming.is_empty()
    };
    let head = loop {
        match decode::head(&mut read, is_head, &mut spare, &mut fields)? {
            Some(head) => break head,
            None if more(&mut read) => {}
            None => return Ok(None),
        }
    };
    let mut answer = Answer { status: head.parts.status, headers: head.parts.headers, ..Answer::default() };
    let mut framing = head.framing;
    loop {
        match &mut framing {
            Framing::Length(0) => answer.whole = true,
            Framing::Length(left) => {
                let count = usize::try_from(*left).unwrap_or(usize::MAX).min(read.len());
                answer.body.extend_from_slice(&read.split_to(count));
                *left -= count as u64;
                answer.whole = *left == 0;
            }
            Framing::Close => answer.body.extend_from_slice(&read.split()),
            Framing::Chunked(chunked) => {
                while let Some(piece) = chunked.next(&mut read)? {
                    match piece {
                        Piece::Data(data) => {
                            assert!(!data.is_empty());
                            answer.body.extend_from_slice(&data);
                        }
                        Piece::End(trailers) => {
                            answer.trailers = trailers;
                            answer.whole = true;
                            break;
                        }
                    }
                }
            }
        }
        if answer.whole || !more(&mut read) {
            // The rest is what was read and what was not.
            while more(&mut read) {}
            answer.rest = read.to_vec();
            return Ok(Some(answer));
        }
    }
}
