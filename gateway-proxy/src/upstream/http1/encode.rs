//! The header of a request, in the form of RFC 9112 §3.

use std::io::Write;

use http::header::{CONTENT_LENGTH, HeaderMap, TRANSFER_ENCODING};
use http::{Method, Request};
use hyper::body::Body;

use crate::upstream::body::RequestBody;

/// How the body is delimited.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Length {
    Known(u64),
    Chunked,
}

/// Writes the header. What delimits the body is made of the body, whatever the fields say.
pub(super) fn head(request: &Request<RequestBody>, out: &mut Vec<u8>) -> Length {
    let target = request.uri().path_and_query().map_or("/", |target| target.as_str());
    for part in [request.method().as_str(), " ", target, " HTTP/1.1\r\n"] {
        out.extend_from_slice(part.as_bytes());
    }
    for (name, value) in request.headers() {
        if *name == CONTENT_LENGTH || *name == TRANSFER_ENCODING {
            continue;
        }
        field(out, name.as_str(), value.as_bytes());
    }
    let length = length(request);
    match length {
        Length::Chunked => field(out, TRANSFER_ENCODING.as_str(), b"chunked"),
        Length::Known(0) if !anticipates_body(request.method(), request.headers()) => {}
        // Cannot fail: a vector takes everything.
        Length::Known(length) => drop(write!(out, "content-length: {length}\r\n")),
    }
    out.extend_from_slice(b"\r\n");
    length
}

pub(super) fn field(out: &mut Vec<u8>, name: &str, value: &[u8]) {
    for part in [name.as_bytes(), b": ", value, b"\r\n"] {
        out.extend_from_slice(part);
    }
}

fn length(request: &Request<RequestBody>) -> Length {
    let exact = request.body().size_hint().exact();
    let given = || request.headers().get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok();
    exact.or_else(given).map_or(Length::Chunked, Length::Known)
}

/// RFC 9110 §8.6: a length of 0 is said where a body is expected, and where the client said it.
fn anticipates_body(method: &Method, headers: &HeaderMap) -> bool {
    [Method::POST, Method::PUT, Method::PATCH].contains(method) || headers.contains_key(CONTENT_LENGTH)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(request: http::request::Builder) -> String {
        let mut out = Vec::new();
        head(&request.body(RequestBody::Empty).unwrap(), &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn what_was_given_is_written_in_order() {
        let request =
            Request::get("/a?b=c").header("host", "a.example").header("x-a", "1").header("x-a", "2");
        assert_eq!(written(request), "GET /a?b=c HTTP/1.1\r\nhost: a.example\r\nx-a: 1\r\nx-a: 2\r\n\r\n");
        assert_eq!(written(Request::options("*")), "OPTIONS * HTTP/1.1\r\n\r\n");
    }

    #[test]
    fn a_length_is_said_where_a_body_is_expected() {
        assert_eq!(written(Request::post("/")), "POST / HTTP/1.1\r\ncontent-length: 0\r\n\r\n");
        assert_eq!(
            written(Request::get("/").header("content-length", "0")),
            "GET / HTTP/1.1\r\ncontent-length: 0\r\n\r\n"
        );
        assert_eq!(
            written(Request::get("/").header("transfer-encoding", "chunked")),
            "GET / HTTP/1.1\r\n\r\n",
            "there is no body to be delimited"
        );
    }
}
