//! Configuration that changes, an agent that goes, and the end of the proxy, while clients are connected.

use std::time::Duration;

use gatehouse_tests::client::{self, Connection};
use gatehouse_tests::fake_agent::{GATEWAY, backend, rule};
use gateway_common::ir::{BackendProtocol, Key, RouteId};
use hyper::StatusCode;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::bed::{Bed, Echo, read_until};

fn ask(path: &str) -> hyper::Request<http_body_util::Full<bytes::Bytes>> {
    client::request("a.example", path).unwrap()
}

#[tokio::test]
async fn a_change_is_seen_on_a_connection_that_stays() {
    let (one, two) = (Echo::start("one"), Echo::start("two"));
    let mut bed = Bed::new().await;
    for target in [bed.http1(), bed.http2()] {
        bed.serve_all(&[one.address]).await;
        let mut connection = Connection::open(&target).await.unwrap();
        for (address, name) in [(one.address, "one"), (two.address, "two"), (one.address, "one")] {
            bed.serve_all(&[address]).await;
            assert_eq!(connection.send(ask("/")).await.unwrap().echo().unwrap().backend, name);
        }
        let id = RouteId::new("HTTPRoute/default/r");
        bed.agent.apply(Vec::new(), vec![Key::Route(id)]).await.unwrap();
        assert_eq!(connection.send(ask("/")).await.unwrap().status, StatusCode::NOT_FOUND);
    }
}

#[tokio::test]
async fn the_proxy_serves_without_an_agent_and_gives_sockets_back() {
    let echo = Echo::start("b");
    let mut bed = Bed::new().await;
    bed.serve_all(&[echo.address]).await;
    bed.agent.vanish();
    assert_eq!(bed.get("/").await.status, StatusCode::OK);
    bed.agent.connect().await.unwrap();
    assert_eq!(bed.agent.held.values().collect::<Vec<_>>(), [&2]);
    bed.serve(vec![rule("/only", "b")], vec![backend("b", BackendProtocol::Http1, &[echo.address])]).await;
    assert_eq!(bed.get("/").await.status, StatusCode::NOT_FOUND);
    assert_eq!(bed.get("/only").await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_removed_socket_drains_what_it_accepted() {
    let echo = Echo::start("b");
    let mut bed = Bed::new().await;
    bed.serve_all(&[echo.address]).await;
    let mut first = Connection::open(&bed.http1()).await.unwrap();
    let mut second = Connection::open(&bed.http2()).await.unwrap();
    assert_eq!(first.send(ask("/")).await.unwrap().status, StatusCode::OK);
    assert_eq!(second.send(ask("/")).await.unwrap().status, StatusCode::OK);
    bed.agent.unlisten(GATEWAY).await.unwrap();
    // Told by the answer, or closed while idle.
    for connection in [&mut first, &mut second] {
        for _ in 0..500 {
            if !connection.is_open() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert!(!connection.is_open());
    }
    assert!(TcpStream::connect(bed.address).await.is_err());
}

#[tokio::test]
async fn requests_in_flight_finish_when_the_proxy_ends() {
    let echo = Echo::start("b");
    for by_signal in [true, false] {
        let mut bed = Bed::new().await;
        bed.serve_all(&[echo.address]).await;
        let mut first = Connection::open(&bed.http1()).await.unwrap();
        let mut second = Connection::open(&bed.http2()).await.unwrap();
        let (first_sent, second_sent) = tokio::join!(first.start(ask("/?delay-ms=500")), async {
            tokio::time::sleep(Duration::from_millis(200)).await;
            if by_signal {
                bed.agent.proxy.signal(rustix::process::Signal::TERM).unwrap();
            } else {
                bed.agent.drain(Duration::from_secs(10)).await.unwrap();
            }
            second.start(ask("/?delay-ms=100")).await
        });
        let first_answer = first_sent.unwrap();
        assert_eq!(first_answer.status(), StatusCode::OK);
        assert_eq!(first_answer.headers()["connection"], "close");
        // The request came together with GOAWAY or before; it is served unless the client saw GOAWAY first.
        if let Ok(answer) = second_sent {
            assert_eq!(answer.status(), StatusCode::OK);
        }
        drop((first_answer, first, second));
        let status = bed.agent.proxy.wait(Duration::from_secs(10)).unwrap();
        assert!(status.success(), "{status}");
    }
}

#[tokio::test]
async fn an_upgraded_connection_carries_bytes_both_ways() {
    let echo = Echo::start("b");
    let mut bed = Bed::new().await;
    bed.settings.timeouts.idle_ms = 500;
    bed.settings.timeouts.stream_idle_ms = 2000;
    bed.serve_all(&[echo.address]).await;
    let mut stream = TcpStream::connect(bed.address).await.unwrap();
    let ask = "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n";
    stream.write_all(ask.as_bytes()).await.unwrap();
    let answer = read_until(&mut stream, "\r\n\r\n").await.to_ascii_lowercase();
    assert!(answer.starts_with("http/1.1 101") && answer.contains("upgrade: echo"), "{answer}");
    for round in 0..20 {
        let sent = format!("round {round}");
        stream.write_all(sent.as_bytes()).await.unwrap();
        let mut back = vec![0; sent.len()];
        stream.read_exact(&mut back).await.unwrap();
        assert_eq!(back, sent.as_bytes());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    // A change of configuration is nothing to it.
    bed.serve_all(&[]).await;
    stream.write_all(b"still").await.unwrap();
    let mut back = [0; 5];
    stream.read_exact(&mut back).await.unwrap();
    // Nothing moves any more: closed.
    let end = tokio::time::timeout(client::PATIENCE, stream.read(&mut back)).await.unwrap();
    assert!(matches!(end, Ok(0) | Err(_)));
}
