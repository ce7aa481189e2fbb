//! The PROXY protocol, to us and from us.

use std::net::SocketAddr;

use gatehouse_tests::certificate::Authority;
use gatehouse_tests::fake_agent::{self, http_port, rule, share};
use gateway_common::admin::Connection;
use gateway_common::ir::{L4Rule, PortProtocol, ProxyProtocolIn, ProxyProtocolOut, Resource, RouteRules};
use rustls_pki_types::ServerName;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::bed::{
    Bed, backend, listener, pair, port, read_to_end, route, tcp_route, udp_route, udp_socket, within,
};

const V2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

async fn wanting(strict: bool, trusted: &str) -> (Bed, SocketAddr, tokio::net::TcpListener) {
    let mut bed = Bed::new(&[]).await;
    let (listener, address) = listener().await;
    let vip = bed.tcp().await;
    let mut port = port(vip, PortProtocol::Tcp);
    port.proxy_protocol = Some(ProxyProtocolIn { trusted: vec![trusted.parse().unwrap()], strict });
    let rest = vec![tcp_route(vip, vec![share("b", 1)]), backend("b", &[address], None)];
    bed.serve(vec![port], rest).await;
    (bed, vip, listener)
}

#[tokio::test]
async fn a_trusted_peer_says_who_the_client_is() {
    let (bed, vip, backend) = wanting(true, "127.0.0.0/8").await;
    let v2 = [V2, &[0x21, 0x11, 0, 12, 192, 0, 2, 1, 192, 0, 2, 9, 0x9c, 0x40, 0, 80]].concat();
    for header in [b"PROXY TCP4 192.0.2.1 192.0.2.9 40000 80\r\n".to_vec(), v2] {
        let mut client = TcpStream::connect(vip).await.unwrap();
        client.write_all(&header).await.unwrap();
        client.write_all(b"data").await.unwrap();
        let (mut server, _) = within(backend.accept()).await.unwrap();
        let mut heard = [0; 4];
        within(server.read_exact(&mut heard)).await.unwrap();
        assert_eq!(&heard, b"data");
        let listed: Vec<Connection> = bed.get("/connections").await;
        assert_eq!(listed.len(), 1);
        assert_eq!(listed[0].client, "192.0.2.1:40000".parse().unwrap());
        drop(client);
        drop(server);
        bed.until("gatehouse_proxy_connections", &[], 0.0).await;
    }
}

#[tokio::test]
async fn without_a_header_a_connection_is_closed() {
    let (bed, vip, _backend) = wanting(true, "127.0.0.0/8").await;
    let mut client = TcpStream::connect(vip).await.unwrap();
    client.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    assert_eq!(read_to_end(&mut client).await.0, b"");
    bed.until_ended("proxy_header", 1.0).await;
}

#[tokio::test]
async fn who_is_not_trusted_is_closed_if_strict_and_served_as_itself_if_not() {
    let (bed, vip, _backend) = wanting(true, "192.0.2.0/24").await;
    let mut client = TcpStream::connect(vip).await.unwrap();
    assert_eq!(read_to_end(&mut client).await.0, b"");
    bed.until_ended("proxy_header", 1.0).await;

    let (bed, vip, backend) = wanting(false, "192.0.2.0/24").await;
    let (client, _server) = pair(vip, &backend).await;
    let listed: Vec<Connection> = bed.get("/connections").await;
    assert_eq!(listed[0].client, client.local_addr().unwrap());
}

#[tokio::test]
async fn a_backend_hears_who_the_client_is() {
    for version in [ProxyProtocolOut::V1, ProxyProtocolOut::V2] {
        let mut bed = Bed::new(&[]).await;
        let (listener, address) = listener().await;
        let vip = bed.tcp().await;
        let rest = vec![tcp_route(vip, vec![share("b", 1)]), backend("b", &[address], Some(version))];
        bed.serve(vec![port(vip, PortProtocol::Tcp)], rest).await;
        let (mut client, mut server) = pair(vip, &listener).await;
        client.write_all(b"data").await.unwrap();
        client.shutdown().await.unwrap();
        let (heard, _) = read_to_end(&mut server).await;
        let (from, to) = (client.local_addr().unwrap().port(), vip.port());
        let header = match version {
            ProxyProtocolOut::V1 => format!("PROXY TCP4 127.0.0.1 127.0.0.1 {from} {to}\r\n").into_bytes(),
            ProxyProtocolOut::V2 => v2(0x11, from, to),
        };
        assert_eq!(heard, [&header[..], b"data"].concat());
    }
}

#[tokio::test]
async fn each_datagram_to_a_backend_has_its_header() {
    let mut bed = Bed::new(&[]).await;
    let ((server, address), (client, own)) = (udp_socket().await, udp_socket().await);
    let vip = bed.udp().await;
    let rest = vec![udp_route(vip), backend("b", &[address], Some(ProxyProtocolOut::V2))];
    bed.serve(vec![port(vip, PortProtocol::Udp)], rest).await;
    for _ in 0..2 {
        client.send_to(b"data", vip).await.unwrap();
        let mut heard = vec![0; 100];
        let (count, from) = within(server.recv_from(&mut heard)).await.unwrap();
        assert_eq!(heard[..count], [&v2(0x12, own.port(), vip.port())[..], b"data"].concat());
        server.send_to(b"answer", from).await.unwrap();
        let (count, from) = within(client.recv_from(&mut heard)).await.unwrap();
        assert_eq!((&heard[..count], from), (&b"answer"[..], vip));
    }
}

/// A backend that gets TLS unopened learns the name that the client asked for.
#[tokio::test]
async fn a_backend_hears_the_server_name() {
    let mut bed = Bed::new(&[]).await;
    let (listener, address) = listener().await;
    let vip = bed.tcp().await;
    let rules = RouteRules::Tls(L4Rule { backends: vec![share("b", 1)] });
    let to = backend("b", &[address], Some(ProxyProtocolOut::V2));
    bed.serve(vec![port(vip, PortProtocol::Tls)], vec![route("TLSRoute/default/r", vip, &[], rules), to])
        .await;
    let connector = TlsConnector::from(Authority::new().unwrap().client(&[]).unwrap());
    let stream = TcpStream::connect(vip).await.unwrap();
    let from = stream.local_addr().unwrap().port();
    let _handshake = tokio::spawn(connector.connect(ServerName::try_from("a.example").unwrap(), stream));
    let (mut server, _) = within(listener.accept()).await.unwrap();
    // PP2_TYPE_AUTHORITY, and it makes the header longer.
    let mut wanted = [&v2(0x11, from, vip.port())[..], &[0x02, 0, 9], b"a.example"].concat();
    wanted[15] += 12;
    let mut heard = vec![0; wanted.len()];
    within(server.read_exact(&mut heard)).await.unwrap();
    assert_eq!(heard, wanted);
}

/// A load balancer that ends TLS before us.
#[tokio::test]
async fn who_came_over_tls_before_us_is_told_as_https() {
    let mut bed = Bed::new(&[]).await;
    let (listener, address) = listener().await;
    let vip = bed.tcp().await;
    let mut port = http_port(vip.port());
    let trusted = vec!["127.0.0.0/8".parse().unwrap()];
    port.proxy_protocol = Some(ProxyProtocolIn { trusted, strict: true });
    let route = fake_agent::route("r", vip.port(), "http", &[], vec![rule("/", "b")]);
    bed.serve(vec![port], vec![Resource::Route(route), backend("b", &[address], None)]).await;
    for (client_ssl, scheme) in [(1, "https"), (0, "http")] {
        let mut header = v2(0x11, 40000, vip.port());
        // PP2_TYPE_SSL with the client's flags, and whether its certificate was verified.
        header.extend([0x20, 0, 5, client_ssl, 0, 0, 0, 1]);
        header[15] += 8;
        let mut client = TcpStream::connect(vip).await.unwrap();
        client.write_all(&[&header[..], b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"].concat()).await.unwrap();
        let (mut server, _) = within(listener.accept()).await.unwrap();
        let mut heard = vec![0; 4096];
        let length = within(server.read(&mut heard)).await.unwrap();
        let heard = String::from_utf8_lossy(&heard[..length]).to_lowercase();
        assert!(heard.contains(&format!("x-forwarded-proto: {scheme}\r\n")), "{heard}");
        assert!(heard.contains(&format!("proto={scheme}")), "{heard}");
    }
}

fn v2(protocol: u8, from: u16, to: u16) -> Vec<u8> {
    let addresses = [127, 0, 0, 1, 127, 0, 0, 1];
    [V2, &[0x21, protocol, 0, 12], &addresses, &from.to_be_bytes(), &to.to_be_bytes()].concat()
}
