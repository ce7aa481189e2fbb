//! TLSRoute: connections that are forwarded by their server name, unopened.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use gatehouse_tests::certificate::Authority;
use gatehouse_tests::fake_agent::share;
use gateway_common::ir::{L4Rule, PortProtocol, RouteRules};
use rustls_pki_types::ServerName;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use crate::bed::{Bed, backend, listener, port, read_to_end, route, within};

/// A TLS server that says its name to whoever connects.
async fn server(authority: &Authority, name: &'static str) -> SocketAddr {
    let (listener, address) = listener().await;
    let config = authority.issue(&[name]).unwrap().server(&[]).unwrap();
    tokio::spawn(greet(listener, TlsAcceptor::from(config), name));
    address
}

async fn greet(listener: TcpListener, acceptor: TlsAcceptor, name: &'static str) {
    while let Ok((stream, _)) = listener.accept().await {
        let acceptor = acceptor.clone();
        tokio::spawn(async move {
            let Ok(mut stream) = acceptor.accept(stream).await else { return };
            stream.write_all(name.as_bytes()).await.unwrap();
            stream.shutdown().await.unwrap();
        });
    }
}

async fn bed(authority: &Authority) -> (Bed, SocketAddr) {
    let mut bed = Bed::new(&[]).await;
    let vip = bed.tcp().await;
    let of = |name| RouteRules::Tls(L4Rule { backends: vec![share(name, 1)] });
    let (a, wild) = (server(authority, "a.example").await, server(authority, "b.wild.example").await);
    let rest = vec![
        route("TLSRoute/default/a", vip, &["a.example"], of("a")),
        route("TLSRoute/default/wild", vip, &["*.wild.example"], of("wild")),
        backend("a", &[a], None),
        backend("wild", &[wild], None),
    ];
    bed.serve(vec![port(vip, PortProtocol::Tls)], rest).await;
    (bed, vip)
}

#[tokio::test]
async fn the_server_name_decides_who_answers() {
    let authority = Authority::new().unwrap();
    let (_bed, vip) = bed(&authority).await;
    let connector = TlsConnector::from(authority.client(&[]).unwrap());
    for name in ["a.example", "b.wild.example"] {
        let stream = TcpStream::connect(vip).await.unwrap();
        let mut stream =
            within(connector.connect(ServerName::try_from(name).unwrap(), stream)).await.unwrap();
        let mut heard = String::new();
        within(stream.read_to_string(&mut heard)).await.unwrap();
        assert_eq!(heard, name);
    }
}

#[tokio::test]
async fn a_hello_in_many_pieces_is_understood() {
    let authority = Authority::new().unwrap();
    let (_bed, vip) = bed(&authority).await;
    let name = ServerName::try_from("a.example").unwrap();
    let mut client = rustls::ClientConnection::new(authority.client(&[]).unwrap(), name).unwrap();
    let mut hello = Vec::new();
    client.write_tls(&mut hello).unwrap();
    let mut stream = TcpStream::connect(vip).await.unwrap();
    stream.set_nodelay(true).unwrap();
    for piece in hello.chunks(hello.len() / 8) {
        stream.write_all(piece).await.unwrap();
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    let mut answer = [0; 1];
    within(stream.read_exact(&mut answer)).await.unwrap();
    // A handshake record: the backend's ServerHello.
    assert_eq!(answer, [22]);
}

#[tokio::test]
async fn names_without_a_route_and_no_name_end_in_a_reset() {
    let authority = Authority::new().unwrap();
    let (bed, vip) = bed(&authority).await;
    let mut config = (*authority.client(&[]).unwrap()).clone();
    config.enable_sni = false;
    let nameless = TlsConnector::from(Arc::new(config));
    let named = TlsConnector::from(authority.client(&[]).unwrap());
    for (connector, name) in [(&named, "other.example"), (&named, "wild.example"), (&nameless, "a.example")] {
        let stream = TcpStream::connect(vip).await.unwrap();
        let result = within(connector.connect(ServerName::try_from(name).unwrap(), stream)).await;
        assert_eq!(result.unwrap_err().kind(), std::io::ErrorKind::ConnectionReset, "{name}");
    }
    bed.until_ended("route_not_found", 3.0).await;
}

#[tokio::test]
async fn what_is_no_tls_is_closed() {
    let authority = Authority::new().unwrap();
    let (bed, vip) = bed(&authority).await;
    let mut stream = TcpStream::connect(vip).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    assert_eq!(read_to_end(&mut stream).await.0, b"");
    bed.until_ended("tls_handshake", 1.0).await;
}
