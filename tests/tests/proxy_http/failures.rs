//! Backends that are missing, closed, slow or wrong.

use std::net::SocketAddr;

use gatehouse_tests::admin;
use gatehouse_tests::client::{self, Connection};
use gatehouse_tests::fake_agent::{backend, rule, share};
use gateway_common::ir::{BackendProtocol, BackendRef, Timeouts};
use hyper::StatusCode;
use tokio::io::AsyncWriteExt as _;

use crate::bed::{Bed, Echo, Refusing, backend_socket, read_until};

#[tokio::test]
async fn what_cannot_be_served_has_the_status_of_the_api() {
    let echo = Echo::start("b");
    let refusing = Refusing::new();
    let mut bed = Bed::new().await;
    let with = |prefix: &str, backends: Vec<BackendRef>| {
        let mut rule = rule(prefix, "b");
        rule.backends = backends;
        rule
    };
    let unresolved = BackendRef { weight: 1, backend: None, filters: Vec::new() };
    let rules = vec![
        with("/unresolved", vec![unresolved.clone()]),
        with("/none", Vec::new()),
        with("/zero", vec![share("b", 0)]),
        with("/unknown", vec![share("missing", 1)]),
        with("/empty", vec![share("empty", 1)]),
        with("/refused", vec![share("refused", 1)]),
        with("/good", vec![share("b", 1), share("empty", 0)]),
    ];
    let backends = vec![
        backend("b", BackendProtocol::Http1, &[echo.address]),
        backend("empty", BackendProtocol::Http1, &[]),
        backend("refused", BackendProtocol::Http1, &[refusing.address]),
    ];
    bed.serve(rules, backends).await;
    for (path, status) in [
        ("/unresolved", 500),
        ("/none", 500),
        ("/zero", 500),
        ("/unknown", 500),
        ("/empty", 503),
        ("/refused", 503),
        ("/good", 200),
        ("/elsewhere", 404),
    ] {
        assert_eq!(bed.get(path).await.status.as_u16(), status, "{path}");
    }
}

#[tokio::test]
async fn a_failed_connect_is_tried_elsewhere_and_ejects() {
    let echo = Echo::start("b");
    let refusing = [Refusing::new(), Refusing::new()];
    let mut bed = Bed::new().await;
    bed.serve_all(&[refusing[0].address, echo.address, refusing[1].address]).await;
    for target in [bed.http1(), bed.http2()] {
        for _ in 0..50 {
            let reply = client::send(&target, client::request("a.example", "/").unwrap()).await.unwrap();
            assert_eq!(reply.status, StatusCode::OK);
        }
    }
    let count = async |what: &str| {
        let name = format!("gatehouse_proxy_upstream_{what}_total");
        admin::sample(&bed.agent.admin(), &name, &["backend=\"default/b:80\""]).await.unwrap().unwrap()
    };
    // Each of two workers, each of two endpoints: three failures, then it is left alone for a second and longer. Without
    // that, two of three requests would have tried one.
    assert!(count("ejections").await >= 2.0);
    assert!(count("connect_failures").await <= 30.0, "{}", count("connect_failures").await);
}

#[tokio::test]
async fn an_endpoint_that_is_well_again_gets_requests_again() {
    let refusing = Refusing::new();
    let address = refusing.address;
    let mut bed = Bed::new().await;
    bed.serve_all(&[address]).await;
    for _ in 0..8 {
        assert_eq!(bed.get("/").await.status, StatusCode::SERVICE_UNAVAILABLE);
    }
    drop(refusing);
    // The only one: it is used though it is ejected.
    let listener = tokio::net::TcpListener::bind(address).await.unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            read_until(&mut stream, "\r\n\r\n").await;
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await.unwrap();
        }
    });
    assert_eq!(bed.get("/").await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_kept_connection_that_was_closed_costs_no_request() {
    let (listener, address) = backend_socket().await;
    let mut bed = Bed::new().await;
    bed.serve_all(&[address]).await;
    let backend = tokio::spawn(async move {
        for _ in 0..10 {
            let (mut stream, _) = listener.accept().await.unwrap();
            read_until(&mut stream, "\r\n\r\n").await;
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await.unwrap();
            // Reads the next request and closes without a word, as a server does whose idle timeout ran out.
            let mut next = [0; 1];
            let _ = tokio::time::timeout(std::time::Duration::from_millis(100), stream.peek(&mut next)).await;
        }
    });
    let mut connection = Connection::open(&bed.http1()).await.unwrap();
    for _ in 0..8 {
        let reply = connection.send(client::request("a.example", "/").unwrap()).await.unwrap();
        assert_eq!(reply.status, StatusCode::OK);
    }
    backend.abort();
}

async fn answering(bytes: &'static [u8]) -> SocketAddr {
    let (listener, address) = backend_socket().await;
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            read_until(&mut stream, "\r\n\r\n").await;
            let _ = stream.write_all(bytes).await;
        }
    });
    address
}

#[tokio::test]
async fn a_backend_that_closes_or_talks_nonsense_is_502() {
    let mut bed = Bed::new().await;
    for bytes in
        [&b""[..], b"HTTP/1.1 2", b"hello\r\n\r\n", b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\n\r\n"]
    {
        let address = answering(bytes).await;
        bed.serve_all(&[address]).await;
        assert_eq!(bed.get("/").await.status, StatusCode::BAD_GATEWAY, "{}", String::from_utf8_lossy(bytes));
    }
}

#[tokio::test]
async fn timeouts_are_504() {
    let echo = Echo::start("b");
    let mut bed = Bed::new().await;
    let timed = |prefix: &str, request_ms, backend_request_ms| {
        let mut rule = rule(prefix, "b");
        rule.timeouts = Timeouts { request_ms, backend_request_ms };
        rule
    };
    let rules =
        vec![timed("/r", Some(100), None), timed("/b", None, Some(100)), timed("/0", Some(0), Some(0))];
    for protocol in [BackendProtocol::Http1, BackendProtocol::H2c] {
        bed.serve(rules.clone(), vec![backend("b", protocol, &[echo.address])]).await;
        for (path, status) in [
            ("/r?delay-ms=5000", 504),
            ("/b?delay-ms=5000", 504),
            ("/0?delay-ms=300", 200),
            ("/r", 200),
            ("/b", 200),
        ] {
            assert_eq!(bed.get(path).await.status.as_u16(), status, "{path}");
        }
    }
}

#[tokio::test]
async fn an_early_answer_ends_the_request() {
    let (listener, address) = backend_socket().await;
    let mut bed = Bed::new().await;
    bed.serve_all(&[address]).await;
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        read_until(&mut stream, "\r\n\r\n").await;
        stream
            .write_all(b"HTTP/1.1 413 Payload Too Large\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
            .await
            .unwrap();
        stream.shutdown().await.unwrap();
    });
    let mut stream = tokio::net::TcpStream::connect(bed.address).await.unwrap();
    stream.write_all(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\nbegin").await.unwrap();
    let answer = read_until(&mut stream, "\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
}
