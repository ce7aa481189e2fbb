//! Clients that are slow, ambiguous, greedy or half gone.

use std::time::Duration;

use gatehouse_tests::client::{self, Connection};
use http_body_util::BodyExt as _;
use hyper::StatusCode;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::bed::{Bed, Echo, backend_socket, raw, read_until};

#[tokio::test]
async fn nothing_ambiguous_reaches_a_backend() {
    let (listener, address) = backend_socket().await;
    let mut bed = Bed::new().await;
    bed.serve_all(&[address]).await;
    let accepted = tokio::spawn(async move { listener.accept().await });
    for request in [
        "GET / HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a b\r\n\r\n",
        "GET http://b/ HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: u@a\r\n\r\n",
        "GET /%00 HTTP/1.1\r\nHost: a\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nx",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +1\r\n\r\nx",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\nx",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, gzip\r\n\r\nx",
        "POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "GET / HTTP/1.1\r\nHost : a\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nX: 1\r\n folded\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nConnection: close, host\r\n\r\n",
        "GET / HTTP/9.9\r\nHost: a\r\n\r\n",
        "CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\nConnection: close\r\n\r\n",
        "\0\x01\x02\r\n\r\n",
    ] {
        let closing = request.replacen("\r\n\r\n", "\r\nConnection: close\r\n\r\n", 1);
        let request = if request.contains("Connection") { request.to_owned() } else { closing };
        let answer = raw(bed.address, request.as_bytes()).await;
        let refused =
            answer.starts_with("HTTP/1.1 4") || answer.starts_with("HTTP/1.0 4") || answer.is_empty();
        assert!(refused, "{request:?} got {answer:?}");
    }
    assert!(!accepted.is_finished(), "a request reached the backend");
    // What is good does.
    let mut good = TcpStream::connect(bed.address).await.unwrap();
    good.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    let reached = tokio::time::timeout(client::PATIENCE, accepted).await;
    reached.expect("nothing reaches the backend at all").unwrap().unwrap();
}

#[tokio::test]
async fn length_and_coding_together_leave_one_of_them() {
    let (listener, address) = backend_socket().await;
    let mut bed = Bed::new().await;
    bed.serve_all(&[address]).await;
    let backend = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let seen = read_until(&mut stream, "0\r\n\r\n").await;
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await.unwrap();
        seen
    });
    let smuggled = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n\
                    0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";
    let answer = raw(bed.address, smuggled.as_bytes()).await;
    if answer.starts_with("HTTP/1.1 4") {
        return backend.abort();
    }
    let seen = backend.await.unwrap().to_ascii_lowercase();
    assert!(seen.contains("transfer-encoding: chunked") && !seen.contains("content-length"), "{seen}");
    assert!(!seen.contains("smuggled") && answer.matches("HTTP/1.1").count() == 1, "{seen}\n{answer}");
}

#[tokio::test]
async fn too_much_header_is_431() {
    let mut bed = Bed::new().await;
    bed.serve_all(&[]).await;
    let bytes = format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "x".repeat(70_000));
    assert!(raw(bed.address, bytes.as_bytes()).await.starts_with("HTTP/1.1 431"));
    let fields: String = (0..150).map(|n| format!("x-{n}: 1\r\n")).collect();
    let bytes = format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n");
    assert!(raw(bed.address, bytes.as_bytes()).await.starts_with("HTTP/1.1 431"));
    let mut request = client::request("a.example", "/").unwrap();
    for n in 0..150 {
        let name: hyper::header::HeaderName = format!("x-{n}").parse().unwrap();
        request.headers_mut().insert(name, "1".parse().unwrap());
    }
    assert_eq!(
        client::send(&bed.http2(), request).await.unwrap().status,
        StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE
    );
}

#[tokio::test]
async fn slow_and_idle_clients_are_closed() {
    let mut bed = Bed::new().await;
    bed.settings.timeouts.header_ms = 300;
    bed.settings.timeouts.idle_ms = 600;
    bed.serve_all(&[]).await;
    assert_eq!(raw(bed.address, b"GET / HTTP/1.1\r\nHost: a").await, "");
    assert_eq!(raw(bed.address, b"").await, "");
    assert!(raw(bed.address, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.starts_with("HTTP/1.1 503"));
    assert_eq!(raw(bed.address, b"PRI * HT").await, "");
    // It is told to go, and does not.
    let frames = raw(bed.address, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await;
    assert!(!frames.is_empty());
}

#[tokio::test]
async fn a_body_that_stops_coming_is_408() {
    let echo = Echo::start("b");
    let mut bed = Bed::new().await;
    bed.settings.timeouts.body_idle_ms = 300;
    bed.serve_all(&[echo.address]).await;
    let answer = raw(bed.address, b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nx").await;
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
}

#[tokio::test]
async fn a_client_that_has_sent_all_may_close_its_side() {
    let echo = Echo::start("b");
    let mut bed = Bed::new().await;
    bed.serve_all(&[echo.address]).await;
    let mut stream = TcpStream::connect(bed.address).await.unwrap();
    stream.write_all(b"GET /?delay-ms=100 HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    stream.shutdown().await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

#[tokio::test]
async fn a_gateway_has_no_more_connections_than_its_limit() {
    let echo = Echo::start("b");
    let mut bed = Bed::new().await;
    bed.settings.limits.connections = 2;
    bed.serve_all(&[echo.address]).await;
    let request = || client::request("a.example", "/").unwrap();
    let mut first = Connection::open(&bed.http1()).await.unwrap();
    first.send(request()).await.unwrap();
    let mut second = Connection::open(&bed.http1()).await.unwrap();
    second.send(request()).await.unwrap();
    assert!(client::send(&bed.http1(), request()).await.is_err());
    drop(first);
    for _ in 0..100 {
        if client::send(&bed.http1(), request()).await.is_ok() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("the place of a connection that ended stays taken");
}

#[tokio::test]
async fn a_stream_without_window_is_reset_and_its_neighbours_stay() {
    let echo = Echo::start("b");
    let mut bed = Bed::new().await;
    bed.settings.timeouts.body_idle_ms = 300;
    bed.serve_all(&[echo.address]).await;
    let stream = TokioIo::new(TcpStream::connect(bed.address).await.unwrap());
    let mut builder = hyper::client::conn::http2::Builder::new(TokioExecutor::new());
    builder.initial_stream_window_size(0);
    let (mut sender, connection) = builder.handshake(stream).await.unwrap();
    tokio::spawn(async move { drop(connection.await) });
    let mut send = async |method: hyper::Method, path: &str| {
        let mut request = client::request("a.example", path).unwrap();
        *request.method_mut() = method;
        sender.ready().await.unwrap();
        sender.send_request(request).await.unwrap()
    };
    let stuck = send(hyper::Method::GET, "/?size=1000000").await;
    // A backend may take its time.
    let slow = send(hyper::Method::HEAD, "/?delay-ms=1500").await;
    assert_eq!((stuck.status(), slow.status()), (StatusCode::OK, StatusCode::OK));
    let mut body = stuck.into_body();
    let end = tokio::time::timeout(client::PATIENCE, body.frame()).await.expect("the stream stays");
    assert!(matches!(end, Some(Err(_))), "{end:?}");
    assert_eq!(send(hyper::Method::HEAD, "/").await.status(), StatusCode::OK);
}

#[tokio::test]
async fn a_backend_that_pauses_does_not_cost_its_stream() {
    let (listener, address) = backend_socket().await;
    let mut bed = Bed::new().await;
    bed.settings.timeouts.body_idle_ms = 300;
    bed.serve_all(&[address]).await;
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        read_until(&mut stream, "\r\n\r\n").await;
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n").await.unwrap();
        for part in [b"one", b"two", b"six"] {
            stream.write_all(part).await.unwrap();
            tokio::time::sleep(Duration::from_millis(1200)).await;
        }
    });
    let reply = client::send(&bed.http2(), client::request("a.example", "/").unwrap()).await.unwrap();
    assert_eq!(&reply.body[..], b"onetwosix");
}

#[tokio::test]
async fn a_cookie_in_crumbs_is_one_for_the_backend() {
    let echo = Echo::start("b");
    let mut bed = Bed::new().await;
    bed.serve_all(&[echo.address]).await;
    let mut request = client::request("a.example", "/").unwrap();
    for crumb in ["a=1", "b=2", "c=3"] {
        request.headers_mut().append("cookie", crumb.parse().unwrap());
    }
    let reply = client::send(&bed.http2(), request).await.unwrap();
    assert_eq!(reply.echo().unwrap().headers["cookie"], ["a=1; b=2; c=3"]);
}

/// Sends a request whose body does not end, and everything it can of it before it reads, as simple clients do. Gives the
/// status line and whether the connection ended in order.
async fn upload_then_read(address: std::net::SocketAddr, head: &str) -> (String, bool) {
    let stream = TcpStream::connect(address).await.unwrap();
    let (mut reader, mut writer) = stream.into_split();
    writer.write_all(head.as_bytes()).await.unwrap();
    let mut in_order = true;
    for _ in 0..200 {
        in_order &= writer.write_all(&[b'x'; 32 * 1024]).await.is_ok();
    }
    // The answer is long there.
    tokio::time::sleep(Duration::from_millis(200)).await;
    in_order &= writer.write_all(b"x").await.is_ok();
    drop(writer);
    let mut answer = Vec::new();
    let read = tokio::time::timeout(client::PATIENCE, reader.read_to_end(&mut answer)).await;
    in_order &= read.expect("the proxy keeps the connection").is_ok();
    let line = String::from_utf8_lossy(&answer).lines().next().unwrap_or_default().to_owned();
    (line, in_order)
}

#[tokio::test]
async fn an_early_answer_is_not_lost_by_a_reset() {
    let mut bed = Bed::new().await;
    bed.serve(vec![gatehouse_tests::fake_agent::rule("/only", "b")], Vec::new()).await;
    let large = format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}", "x".repeat(60_000));
    for (head, want) in [
        ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000000\r\n\r\n", "HTTP/1.1 404 Not Found"),
        ("POST /%00 HTTP/1.1\r\nHost: a\r\nContent-Length: 100000000\r\n\r\n", "HTTP/1.1 400 Bad Request"),
        (
            "POST /only HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nffffff\r\n",
            "HTTP/1.1 500 Internal Server Error",
        ),
        (&large, "HTTP/1.1 431 Request Header Fields Too Large"),
        ("GET / HTTP/9.9\r\nHost: a\r\n\r\n", "HTTP/1.1 400 Bad Request"),
    ] {
        assert_eq!(upload_then_read(bed.address, head).await, (want.to_owned(), true), "{head:.60}");
    }
}

#[tokio::test]
async fn the_rest_of_a_body_may_follow_its_answer_slowly() {
    let (listener, address) = backend_socket().await;
    let mut bed = Bed::new().await;
    bed.settings.timeouts.header_ms = 300;
    bed.serve_all(&[address]).await;
    let backend = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        read_until(&mut stream, "\r\n\r\n").await;
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await.unwrap();
        read_until(&mut stream, "last").await
    });
    let mut stream = TcpStream::connect(bed.address).await.unwrap();
    stream.write_all(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 34\r\n\r\n").await.unwrap();
    read_until(&mut stream, "ok").await;
    for _ in 0..10 {
        tokio::time::sleep(Duration::from_millis(150)).await;
        stream.write_all(b"...").await.unwrap();
    }
    stream.write_all(b"last").await.unwrap();
    assert!(backend.await.unwrap().contains("last"));
    // And the connection goes on.
    stream.write_all(b"GET /%00 HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    assert!(read_until(&mut stream, "\r\n\r\n").await.starts_with("HTTP/1.1 400"));
}
