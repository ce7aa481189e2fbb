//! What could be read in two ways, by a proxy and the backend behind it.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use gatehouse_tests::fake_agent::{backend, rule};
use gatehouse_tests::frames::{
    self, DATA, END_HEADERS, END_STREAM, Frame, Frames, GOAWAY, HEADERS, RST_STREAM, frame, request,
};
use gateway_common::ir::BackendProtocol;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::bed::{Bed, backend_socket, raw};

/// A proxy before a backend that answers nothing, and what reached it.
async fn bed() -> (Bed, Arc<Mutex<Vec<u8>>>) {
    let (listener, address) = backend_socket().await;
    let mut bed = Bed::new().await;
    bed.settings.timeouts.stream_idle_ms = 500;
    bed.serve(vec![rule("/", "b")], vec![backend("b", BackendProtocol::Http1, &[address])]).await;
    let seen = Arc::new(Mutex::new(Vec::new()));
    let reached = seen.clone();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let reached = reached.clone();
            tokio::spawn(async move {
                let mut chunk = [0; 4096];
                while let Ok(count @ 1..) = stream.read(&mut chunk).await {
                    reached.lock().unwrap().extend_from_slice(&chunk[..count]);
                }
            });
        }
    });
    (bed, seen)
}

fn text(seen: &Mutex<Vec<u8>>) -> String {
    String::from_utf8_lossy(&seen.lock().unwrap()).into_owned()
}

/// Sends one request of these frames, and waits for what comes of it.
async fn over_http2(bed: &Bed, frames: &[Vec<u8>]) -> Option<Frame> {
    let mut connection = Frames::open(bed.address).await.unwrap();
    connection.send_bytes(&frames.concat()).await.unwrap();
    connection.until(|frame| [HEADERS, RST_STREAM, GOAWAY].contains(&frame.kind)).await.unwrap()
}

/// Headers of stream 1.
fn head(flags: u8, block: &[u8]) -> Vec<u8> {
    frame(HEADERS, END_HEADERS | flags, 1, block)
}

fn data(flags: u8, bytes: &[u8]) -> Vec<u8> {
    frame(DATA, flags, 1, bytes)
}

#[tokio::test]
async fn no_http2_header_becomes_something_else_on_http1() {
    let (bed, seen) = bed().await;
    let with = |name: &[u8], value: &[u8]| head(END_STREAM, &request("GET", "/smuggled", &[(name, value)]));
    let pseudo = |fields: &[(&[u8], &[u8])]| head(END_STREAM, &frames::fields(fields));
    let base: [(&[u8], &[u8]); 3] =
        [(b":scheme", b"http"), (b":method", b"GET"), (b":authority", b"a.example")];
    let and = |more: &[(&[u8], &[u8])]| pseudo(&[&base[..], more].concat());
    let cases = [
        ("connection", with(b"connection", b"keep-alive")),
        ("transfer-encoding", with(b"transfer-encoding", b"chunked")),
        ("upgrade", with(b"upgrade", b"websocket")),
        ("keep-alive", with(b"keep-alive", b"1")),
        ("proxy-connection", with(b"proxy-connection", b"keep-alive")),
        ("te", with(b"te", b"gzip")),
        ("CRLF in a value", with(b"x", b"1\r\nx-smuggled: 1")),
        ("LF in a value", with(b"x", b"1\nx-smuggled: 1")),
        ("NUL in a value", with(b"x", b"1\0")),
        ("CRLF in a name", with(b"x\r\nx-smuggled", b"1")),
        ("colon in a name", with(b"x: 1", b"1")),
        ("space in a name", with(b"x smuggled", b"1")),
        ("upper case", with(b"X-Smuggled", b"1")),
        ("a second path", and(&[(b":path", b"/"), (b":path", b"/smuggled")])),
        ("no path", and(&[])),
        ("an empty path", and(&[(b":path", b"")])),
        ("a path with a space", and(&[(b":path", b"/ HTTP/1.1")])),
        ("a path with CRLF", and(&[(b":path", b"/ HTTP/1.1\r\nx-smuggled: 1")])),
        ("a path with a fragment of a request", and(&[(b":path", b"/\r\n\r\nGET /smuggled HTTP/1.1")])),
        ("a pseudo-field behind a field", and(&[(b"x", b"1"), (b":path", b"/")])),
        ("an unknown pseudo-field", and(&[(b":path", b"/"), (b":smuggled", b"1")])),
        ("an authority with user information", with(b"host", b"u@a.example")),
        ("two hosts", with(b"host", b"b.example")),
        ("a method with a space", head(END_STREAM, &request("GET /smuggled", "/", &[]))),
        ("a method with CRLF", head(END_STREAM, &request("GET / HTTP/1.1\r\nx: 1\r\n\r\nGET", "/", &[]))),
        ("a length of no body", with(b"content-length", b"5")),
        (
            "two lengths",
            head(0, &request("POST", "/", &[(b"content-length", b"1"), (b"content-length", b"2")])),
        ),
        ("a length that is none", head(0, &request("POST", "/", &[(b"content-length", b"+1")]))),
    ];
    for (name, frames) in cases {
        let answer = over_http2(&bed, &[frames]).await;
        let refused = answer.as_ref().is_none_or(|frame| {
            // `:status` 400 is in the static table (RFC 7541, Appendix A); others are literals that name the field 8.
            frame.kind != HEADERS || frame.payload[0] == 0x80 | 12
        });
        assert!(refused, "{name}: {answer:?}");
        assert_eq!(text(&seen), "", "{name} reached the backend");
    }
    // What is good does.
    over_http2(&bed, &[with(b"x", b"1")]).await;
    assert!(text(&seen).starts_with("GET /smuggled HTTP/1.1\r\n"), "{}", text(&seen));
}

#[tokio::test]
async fn a_body_of_another_length_is_not_whole_for_the_backend() {
    for (length, whole) in [("5", false), ("20", false), ("0", false), ("10", true)] {
        let body = b"1234567890";
        let (bed, seen) = bed().await;
        let block = request("POST", "/", &[(b"content-length", length.as_bytes())]);
        over_http2(&bed, &[head(0, &block), data(END_STREAM, body)]).await;
        tokio::time::sleep(Duration::from_millis(100)).await;
        let seen = text(&seen);
        let declared: usize = length.parse().unwrap();
        let body = seen.split_once("\r\n\r\n").map_or("", |(_, body)| body);
        assert_eq!(declared > 0 && body.len() == declared, whole, "content-length {length}: {seen}");
        assert!(body.len() <= declared, "content-length {length}: {seen}");
    }
}

#[tokio::test]
async fn a_body_is_no_second_request() {
    let (bed, seen) = bed().await;
    let hidden = b"0\r\n\r\nGET /smuggled HTTP/1.1\r\nhost: a\r\n\r\n";
    over_http2(&bed, &[head(0, &request("POST", "/", &[])), data(END_STREAM, hidden)]).await;
    let seen = text(&seen);
    let (head, body) = seen.split_once("\r\n\r\n").unwrap();
    assert!(head.contains("transfer-encoding: chunked") && !head.contains("content-length"), "{seen}");
    assert_eq!(body.as_bytes(), [b"28\r\n", &hidden[..], b"\r\n0\r\n\r\n"].concat(), "{seen}");
}

#[tokio::test]
async fn malformed_chunks_do_not_end_a_body() {
    for chunks in [
        "zz\r\nabc\r\n0\r\n\r\n",
        "0x3\r\nabc\r\n0\r\n\r\n",
        "-3\r\nabc\r\n0\r\n\r\n",
        "+3\r\nabc\r\n0\r\n\r\n",
        "\r\nabc\r\n0\r\n\r\n",
        "3\nabc\n0\n\n",
        "3\rabc\r\n0\r\n\r\n",
        "3 3\r\nabc\r\n0\r\n\r\n",
        "3;a\nb\r\nabc\r\n0\r\n\r\n",
        "3\r\nabcd\r\n0\r\n\r\n",
        "3\r\nabc\n0\r\n\r\n",
        "3\r\nabc0\r\n\r\n",
        "fffffffffffffffff\r\nabc\r\n0\r\n\r\n",
        "10000000000000003\r\nabc\r\n0\r\n\r\n",
        "3\r\nabc\r\n0\r\nx y\r\n\r\n",
        "3\r\nabc\r\n0\r\ncontent-length: 5\r\nhost: b\r\n x\r\n\r\n",
    ] {
        let (bed, seen) = bed().await;
        let request = format!("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}");
        let answer = raw(bed.address, request.as_bytes()).await;
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "{chunks:?}: {answer}");
        tokio::time::sleep(Duration::from_millis(50)).await;
        let seen = text(&seen);
        assert!(!seen.ends_with("0\r\n\r\n"), "{chunks:?} is whole for the backend: {seen}");
    }
}

#[tokio::test]
async fn chunks_that_are_odd_but_valid_arrive_as_plain_ones() {
    let (bed, seen) = bed().await;
    let mut stream = tokio::net::TcpStream::connect(bed.address).await.unwrap();
    let chunks = "003;name=\"value\"\r\nabc\r\nA\r\n0123456789\r\n0;last\r\nx-trailer: 1\r\n\r\n";
    let request = format!("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}");
    stream.write_all(request.as_bytes()).await.unwrap();
    for _ in 0..200 {
        if text(&seen).contains("\r\n0\r\n") {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let seen = text(&seen);
    assert!(!seen.contains("name=") && !seen.contains(";last"), "{seen}");
    let mut body = seen.split_once("\r\n\r\n").unwrap().1.split("\r\n");
    let mut whole = String::new();
    while let Some(size) = body.next().filter(|size| *size != "0") {
        let part = body.next().unwrap();
        assert_eq!(usize::from_str_radix(size, 16).unwrap(), part.len(), "{seen}");
        whole += part;
    }
    assert_eq!(whole, "abc0123456789", "{seen}");
}
