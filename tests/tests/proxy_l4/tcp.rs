//! TCPRoute.

use std::time::Duration;

use gatehouse_tests::fake_agent::share;
use gateway_common::ir::{AccessLog, BackendRef, PortProtocol};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::bed::{Bed, PATIENCE, backend, listener, pair, port, read_to_end, tcp_route, within};

#[tokio::test]
async fn each_side_may_end_first_and_still_hear() {
    let mut bed = Bed::new(&[]).await;
    let (backend, address) = listener().await;
    let vip = bed.forward_tcp(&[address]).await;
    for client_first in [true, false] {
        let (client, server) = pair(vip, &backend).await;
        let (mut first, mut second) = if client_first { (client, server) } else { (server, client) };
        first.write_all(b"question").await.unwrap();
        first.shutdown().await.unwrap();
        assert_eq!(read_to_end(&mut second).await, (b"question".to_vec(), false));
        second.write_all(b"answer").await.unwrap();
        second.shutdown().await.unwrap();
        assert_eq!(read_to_end(&mut first).await, (b"answer".to_vec(), false));
    }
    bed.until("gatehouse_proxy_connections", &["protocol=\"TCP\""], 0.0).await;
    assert_eq!(bed.sample("gatehouse_proxy_connections_ended_total", &[]).await, None);
    assert_eq!(bed.sample("gatehouse_proxy_stream_received_bytes_total", &[]).await, Some(14.0));
    assert_eq!(bed.sample("gatehouse_proxy_stream_sent_bytes_total", &[]).await, Some(14.0));
}

#[tokio::test]
async fn a_reset_reaches_the_other_side_as_a_reset() {
    let mut bed = Bed::new(&[]).await;
    let (backend, address) = listener().await;
    let vip = bed.forward_tcp(&[address]).await;
    for (from_client, reason) in [(true, "client_abort"), (false, "upstream_reset")] {
        let (client, server) = pair(vip, &backend).await;
        let (mut resetting, mut other) = if from_client { (client, server) } else { (server, client) };
        resetting.write_all(b"before").await.unwrap();
        within(other.read_exact(&mut [0; 6])).await.unwrap();
        resetting.set_zero_linger().unwrap();
        drop(resetting);
        assert_eq!(read_to_end(&mut other).await, (Vec::new(), true));
        bed.until_ended(reason, 1.0).await;
    }
}

#[tokio::test]
async fn a_large_transfer_past_a_slow_reader_needs_little_memory() {
    const TOTAL: usize = 128 << 20;
    let mut bed = Bed::new(&[]).await;
    let (backend, address) = listener().await;
    let vip = bed.forward_tcp(&[address]).await;
    let (mut client, mut server) = pair(vip, &backend).await;
    let before = bed.sample("process_resident_memory_bytes", &[]).await.unwrap();
    let sender = async {
        let chunk = vec![7; 1 << 20];
        for _ in 0..TOTAL >> 20 {
            server.write_all(&chunk).await.unwrap();
        }
        server.shutdown().await.unwrap();
    };
    let reader = async {
        let (mut got, mut buffer) = (0, vec![0; 64 << 10]);
        loop {
            let count = client.read(&mut buffer).await.unwrap();
            if count == 0 {
                break got;
            }
            got += count;
            if got % (8 << 20) < count {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
    };
    let ((), got) = tokio::join!(sender, reader);
    assert_eq!(got, TOTAL);
    let after = bed.sample("process_resident_memory_bytes", &[]).await.unwrap();
    assert!(after - before < f64::from(32 << 20), "{before} bytes became {after}");
}

#[tokio::test]
async fn a_connection_that_moves_nothing_ends() {
    let mut bed = Bed::new(&[]).await;
    bed.settings.timeouts.stream_idle_ms = 300;
    let (backend, address) = listener().await;
    let vip = bed.forward_tcp(&[address]).await;
    let (mut client, mut server) = pair(vip, &backend).await;
    assert_eq!(read_to_end(&mut client).await, (Vec::new(), true));
    assert_eq!(read_to_end(&mut server).await, (Vec::new(), true));
    bed.until_ended("idle_timeout", 1.0).await;
}

#[tokio::test]
async fn what_cannot_be_forwarded_is_reset_with_its_reason() {
    let mut bed = Bed::new(&[]).await;
    let vip = bed.tcp().await;
    let (closed, address) = listener().await;
    drop(closed);
    let unresolved = BackendRef { weight: 1, backend: None, filters: Vec::new() };
    let cases = [
        (Vec::new(), "route_not_found"),
        (vec![tcp_route(vip, vec![unresolved])], "no_backend"),
        (vec![tcp_route(vip, vec![share("b", 0)])], "no_backend"),
        (vec![tcp_route(vip, vec![share("b", 1)]), backend("b", &[], None)], "no_endpoint"),
        (vec![tcp_route(vip, vec![share("b", 1)]), backend("b", &[address], None)], "connect_failed"),
    ];
    let mut counts = std::collections::BTreeMap::new();
    for (rest, reason) in cases {
        bed.serve(vec![port(vip, PortProtocol::Tcp)], rest).await;
        // The reset may come before the client has looked at its new connection.
        match TcpStream::connect(vip).await {
            Ok(mut client) => assert_eq!(read_to_end(&mut client).await, (Vec::new(), true), "{reason}"),
            Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset, "{reason}"),
        }
        let count = counts.entry(reason).or_insert(0.0);
        *count += 1.0;
        bed.until_ended(reason, *count).await;
    }
}

#[tokio::test]
async fn an_endpoint_that_refuses_costs_no_connection() {
    let mut bed = Bed::new(&[]).await;
    let ((closed, refusing), (backend, good)) = (listener().await, listener().await);
    drop(closed);
    let vip = bed.forward_tcp(&[refusing, good]).await;
    for _ in 0..10 {
        let (mut client, server) = pair(vip, &backend).await;
        drop(server);
        assert_eq!(read_to_end(&mut client).await, (Vec::new(), false));
    }
}

#[tokio::test]
async fn a_drain_ends_with_what_is_open_at_its_deadline() {
    let mut bed = Bed::new(&[]).await;
    bed.settings.access_log = AccessLog::Json;
    let (backend, address) = listener().await;
    let vip = bed.forward_tcp(&[address]).await;
    let ((mut client, server), (mut other, _held)) = (pair(vip, &backend).await, pair(vip, &backend).await);
    bed.agent.drain(Duration::from_millis(500)).await.unwrap();
    drop(server);
    assert_eq!(read_to_end(&mut client).await, (Vec::new(), false));
    drop(client);
    assert_eq!(read_to_end(&mut other).await, (Vec::new(), true));
    assert!(bed.agent.proxy.wait(PATIENCE).unwrap().success());
    let lines = bed.agent.logged(2).await.unwrap();
    let reasons: Vec<_> = lines.iter().map(|line| line["reason"] == "drain").collect();
    assert_eq!(reasons, [false, true], "{lines:?}");
}

#[tokio::test]
async fn configuration_that_changes_leaves_connections_alone_until_their_port_is_gone() {
    let mut bed = Bed::new(&["--drain-deadline", "0.3"]).await;
    let (backend_listener, address) = listener().await;
    let vip = bed.forward_tcp(&[address]).await;
    let (mut client, mut server) = pair(vip, &backend_listener).await;
    bed.serve(vec![port(vip, PortProtocol::Tcp)], Vec::new()).await;
    client.write_all(b"on").await.unwrap();
    within(server.read_exact(&mut [0; 2])).await.unwrap();

    bed.serve(Vec::new(), Vec::new()).await;
    assert_eq!(read_to_end(&mut client).await, (Vec::new(), true));
    assert_eq!(read_to_end(&mut server).await, (Vec::new(), true));
}
