//! Exchanges that stand still, and who is told when.

use std::time::Duration;

use gatehouse_tests::client::{self, Connection};
use gatehouse_tests::fake_agent::{backend, rule};
use gateway_common::ir::BackendProtocol;
use hyper::StatusCode;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::bed::{Bed, backend_socket, read_until};

async fn within<T>(what: &str, work: impl Future<Output = T>) -> T {
    tokio::time::timeout(client::PATIENCE, work).await.unwrap_or_else(|_| panic!("{what}"))
}

/// A proxy with one backend that the test plays.
async fn bed(protocol: BackendProtocol, stream_idle_ms: u64) -> (Bed, TcpListener) {
    let (listener, address) = backend_socket().await;
    let mut bed = Bed::new().await;
    bed.settings.timeouts.stream_idle_ms = stream_idle_ms;
    bed.serve(vec![rule("/", "b")], vec![backend("b", protocol, &[address])]).await;
    (bed, listener)
}

/// Reads what comes and says nothing.
fn silent(listener: TcpListener) {
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move { drop(tokio::io::copy(&mut stream, &mut tokio::io::sink()).await) });
        }
    });
}

#[tokio::test]
async fn an_answer_that_never_begins_is_504() {
    let (bed, listener) = bed(BackendProtocol::Http1, 300).await;
    silent(listener);
    for target in [bed.http1(), bed.http2()] {
        let request = client::request("a.example", "/").unwrap();
        let reply = within("the proxy waits for ever", client::send(&target, request)).await.unwrap();
        assert_eq!(reply.status, StatusCode::GATEWAY_TIMEOUT);
    }
}

#[tokio::test]
async fn an_http2_backend_that_never_answers_is_504() {
    let (bed, listener) = bed(BackendProtocol::H2c, 300).await;
    tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let mut connection = h2::server::handshake(stream).await.unwrap();
        let mut held = Vec::new();
        while let Some(Ok(request)) = connection.accept().await {
            held.push(request);
        }
    });
    assert_eq!(within("the proxy waits for ever", bed.get("/")).await.status, StatusCode::GATEWAY_TIMEOUT);
}

#[tokio::test]
async fn an_answer_that_stops_is_broken_off() {
    let (bed, listener) = bed(BackendProtocol::Http1, 300).await;
    tokio::spawn(async move {
        let mut held = Vec::new();
        while let Ok((mut stream, _)) = listener.accept().await {
            read_until(&mut stream, "\r\n\r\n").await;
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nabc").await.unwrap();
            held.push(stream);
        }
    });
    for target in [bed.http1(), bed.http2()] {
        let request = client::request("a.example", "/").unwrap();
        let reply = within("the proxy waits for ever", client::send(&target, request)).await;
        assert!(reply.is_err(), "{reply:?}");
    }
}

#[tokio::test]
async fn what_moves_in_one_direction_is_no_silence() {
    let (bed, listener) = bed(BackendProtocol::Http1, 1500).await;
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        read_until(&mut stream, "last").await;
        stream.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").await.unwrap();
        for _ in 0..12 {
            tokio::time::sleep(Duration::from_millis(200)).await;
            stream.write_all(b"1\r\nx\r\n").await.unwrap();
        }
        stream.write_all(b"0\r\n\r\n").await.unwrap();
    });
    let mut stream = TcpStream::connect(bed.address).await.unwrap();
    stream.write_all(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 52\r\n\r\n").await.unwrap();
    for _ in 0..12 {
        stream.write_all(b"more").await.unwrap();
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    stream.write_all(b"last").await.unwrap();
    let answer = read_until(&mut stream, "0\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

#[tokio::test]
async fn a_client_that_resets_is_noticed_while_the_backend_is_silent() {
    let (bed, listener) = bed(BackendProtocol::Http1, 3_600_000).await;
    for h2 in [false, true] {
        let target = if h2 { bed.http2() } else { bed.http1() };
        let stream = TcpStream::connect(bed.address).await.unwrap();
        socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
        let mut connection = Connection::begin(stream, &target).await.unwrap();
        let asking = tokio::spawn(async move {
            drop(connection.start(client::request("a.example", "/").unwrap()).await);
        });
        let (mut backend, _) = within("no request", listener.accept()).await.unwrap();
        read_until(&mut backend, "\r\n\r\n").await;
        asking.abort();
        let end = within("the request goes on", backend.read(&mut [0; 1])).await;
        assert!(matches!(end, Ok(0) | Err(_)), "{end:?}");
    }
}
