//! UDPRoute.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use gatehouse_tests::fake_agent::share;
use gateway_common::ir::{L4Rule, PortProtocol, RouteRules};
use tokio::net::UdpSocket;

use crate::bed::{Bed, PATIENCE, backend, port, route, udp_socket, within};

const SESSIONS: &str = "gatehouse_proxy_udp_sessions";

/// Answers every datagram with itself and who sent it.
async fn echo() -> SocketAddr {
    let (socket, address) = udp_socket().await;
    tokio::spawn(async move {
        let mut buffer = vec![0; 65_535];
        while let Ok((count, from)) = socket.recv_from(&mut buffer).await {
            // A client that is gone by now.
            let _ = socket.send_to(&buffer[..count], from).await;
        }
    });
    address
}

async fn exchange(client: &UdpSocket, vip: SocketAddr, datagram: &[u8]) -> Vec<u8> {
    client.send_to(datagram, vip).await.unwrap();
    let mut answer = vec![0; 65_535];
    let (count, from) = within(client.recv_from(&mut answer)).await.unwrap();
    assert_eq!(from, vip, "answers come from the VIP");
    answer.truncate(count);
    answer
}

#[tokio::test]
async fn clients_have_sessions_of_their_own_until_they_are_idle() {
    let mut bed = Bed::new(&[]).await;
    bed.settings.timeouts.udp_idle_ms = 400;
    let vip = bed.forward_udp(&[echo().await]).await;
    let clients = [udp_socket().await.0, udp_socket().await.0, udp_socket().await.0];
    for round in 0..3 {
        for (index, client) in clients.iter().enumerate() {
            let datagram = format!("{index} {round}").into_bytes();
            assert_eq!(exchange(client, vip, &datagram).await, datagram);
        }
    }
    assert_eq!(bed.sample("gatehouse_proxy_udp_sessions_total", &[]).await, Some(3.0));
    assert_eq!(bed.sample("gatehouse_proxy_udp_datagrams_total", &["\"in\""]).await, Some(9.0));
    assert_eq!(bed.sample("gatehouse_proxy_udp_datagrams_total", &["\"out\""]).await, Some(9.0));
    bed.until(SESSIONS, &[], 0.0).await;
    // They were answered, so that this is no failure.
    assert_eq!(bed.sample("gatehouse_proxy_connections_ended_total", &[]).await, None);
    assert_eq!(exchange(&clients[0], vip, b"again").await, b"again");
}

#[tokio::test]
async fn a_session_that_nobody_answered_ends_as_a_timeout() {
    let mut bed = Bed::new(&[]).await;
    bed.settings.timeouts.udp_idle_ms = 300;
    let (_silent, address) = udp_socket().await;
    let vip = bed.forward_udp(&[address]).await;
    udp_socket().await.0.send_to(b"?", vip).await.unwrap();
    bed.until_ended("idle_timeout", 1.0).await;
}

#[tokio::test]
async fn the_largest_and_the_empty_datagram_pass() {
    let mut bed = Bed::new(&[]).await;
    let vip = bed.forward_udp(&[echo().await]).await;
    let (client, _) = udp_socket().await;
    let large: Vec<u8> = (0..65_507u32).map(|i| (i % 251) as u8).collect();
    assert!(exchange(&client, vip, &large).await == large);
    assert_eq!(exchange(&client, vip, b"").await, b"");
}

#[tokio::test]
async fn a_new_session_takes_the_place_of_the_one_that_was_idle_longest() {
    let mut bed = Bed::new(&[]).await;
    // Two workers: one session each.
    bed.settings.limits.udp_sessions = 2;
    let vip = bed.forward_udp(&[echo().await]).await;
    for _ in 0..20 {
        let (client, _) = udp_socket().await;
        assert_eq!(exchange(&client, vip, b"x").await, b"x");
        assert!(bed.sample(SESSIONS, &[]).await.unwrap() <= 2.0);
    }
    let evicted = bed.sample("gatehouse_proxy_connections_ended_total", &["\"evicted\""]).await;
    assert!(evicted.is_some_and(|count| count >= 18.0), "{evicted:?}");
}

#[tokio::test]
async fn an_endpoint_that_is_gone_is_left_at_its_first_icmp_error() {
    let mut bed = Bed::new(&[]).await;
    let (gone, refusing) = udp_socket().await;
    drop(gone);
    let vip = bed.forward_udp(&[refusing, echo().await]).await;
    for _ in 0..10 {
        let (client, _) = udp_socket().await;
        let client = Arc::new(client);
        let asking = client.clone();
        // The first datagram to the endpoint that refuses is lost, as it would be without us; a client asks again.
        let repeat = tokio::spawn(async move {
            loop {
                asking.send_to(b"x", vip).await.unwrap();
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        });
        let mut answer = [0; 1];
        within(client.recv_from(&mut answer)).await.unwrap();
        repeat.abort();
    }
}

#[tokio::test]
async fn a_drained_proxy_still_passes_answers_on() {
    let mut bed = Bed::new(&[]).await;
    let (server, address) = udp_socket().await;
    let vip = bed.forward_udp(&[address]).await;
    let (client, _) = udp_socket().await;
    let mut buffer = [0; 10];
    client.send_to(b"question", vip).await.unwrap();
    let (_, from) = within(server.recv_from(&mut buffer)).await.unwrap();
    bed.agent.drain(PATIENCE).await.unwrap();
    within(async {
        while bed.sample("gatehouse_proxy_draining", &[]).await != Some(1.0) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    server.send_to(b"answer", from).await.unwrap();
    let (_, from) = within(client.recv_from(&mut buffer)).await.unwrap();
    assert_eq!((&buffer[..6], from), (&b"answer"[..], vip));
    assert!(bed.agent.proxy.wait(PATIENCE).unwrap().success());
}

#[tokio::test]
async fn a_session_moves_when_its_endpoint_leaves_the_configuration() {
    let mut bed = Bed::new(&[]).await;
    let ((old, old_address), (new, new_address)) = (udp_socket().await, udp_socket().await);
    let vip = bed.forward_udp(&[old_address]).await;
    let (client, _) = udp_socket().await;
    let mut buffer = [0; 10];
    client.send_to(b"1", vip).await.unwrap();
    within(old.recv_from(&mut buffer)).await.unwrap();

    bed.reforward_udp(vip, &[old_address, new_address]).await;
    client.send_to(b"2", vip).await.unwrap();
    within(old.recv_from(&mut buffer)).await.unwrap();

    bed.reforward_udp(vip, &[new_address]).await;
    bed.until_ended("endpoint_gone", 1.0).await;
    client.send_to(b"3", vip).await.unwrap();
    within(new.recv_from(&mut buffer)).await.unwrap();
    assert_eq!(buffer[0], b'3');
}

#[tokio::test]
async fn a_session_moves_when_its_route_does() {
    let mut bed = Bed::new(&[]).await;
    let ((old, old_address), (new, new_address)) = (udp_socket().await, udp_socket().await);
    let vip = bed.udp().await;
    let to = |name| {
        let rules = RouteRules::Udp(L4Rule { backends: vec![share(name, 1)] });
        let both = [backend("b", &[old_address], None), backend("c", &[new_address], None)];
        [vec![route("UDPRoute/default/r", vip, &[], rules)], both.into()].concat()
    };
    bed.serve(vec![port(vip, PortProtocol::Udp)], to("b")).await;
    let (client, _) = udp_socket().await;
    let mut buffer = [0; 10];
    client.send_to(b"1", vip).await.unwrap();
    within(old.recv_from(&mut buffer)).await.unwrap();
    // The backend is still there, for others.
    bed.serve(vec![port(vip, PortProtocol::Udp)], to("c")).await;
    bed.until_ended("endpoint_gone", 1.0).await;
    client.send_to(b"2", vip).await.unwrap();
    within(new.recv_from(&mut buffer)).await.unwrap();
    assert_eq!(buffer[0], b'2');
}
