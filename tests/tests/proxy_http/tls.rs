//! HTTPS: certificates by SNI, misdirected requests, rotation, resumption, and TLS that is passed through.

use std::sync::Arc;

use gatehouse_tests::admin;
use gatehouse_tests::certificate::{Authority, Pair};
use gatehouse_tests::client::{self, Connection, Target};
use gatehouse_tests::fake_agent::{GATEWAY, backend, gateway, route, rule, share};
use gateway_common::ir::{
    Attachment, BackendProtocol, Certificate, CertificateId, GatewayId, Hostname, L4Rule, Listener,
    ListenerProtocol, Port, PortProtocol, Resource, Route, RouteId, RouteRules,
};
use hyper::StatusCode;
use rustls_pki_types::{CertificateDer, ServerName, pem::PemObject as _};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::{TlsAcceptor, TlsConnector};

use crate::bed::{Bed, Echo, backend_socket, read_until};

fn https(name: &str, hostname: Option<&str>, certificates: &[&str]) -> Listener {
    let certificates =
        certificates.iter().map(|name| CertificateId::new(format!("default/{name}"))).collect();
    let protocol = ListenerProtocol::Https { certificates };
    Listener { name: name.to_owned(), hostname: hostname.map(Hostname::new), protocol }
}

fn certificate(name: &str, pair: &Pair) -> Resource {
    let id = CertificateId::new(format!("default/{name}"));
    Resource::Certificate(Certificate { id, chain: pair.chain.clone(), key: pair.key.clone() })
}

fn leaf(pair: &Pair) -> Vec<u8> {
    CertificateDer::from_pem_slice(pair.chain.as_bytes()).unwrap().to_vec()
}

/// Serves these listeners on the only port, with a route to `echo` on each.
async fn serve(bed: &mut Bed, listeners: Vec<Listener>, certificates: Vec<Resource>, echo: &Echo) {
    let port = bed.port();
    let names: Vec<_> = listeners.iter().map(|listener| listener.name.clone()).collect();
    let of = Port { port, protocol: PortProtocol::Tls, proxy_protocol: None, listeners };
    let mut all =
        vec![Resource::Gateway(gateway(vec![of])), backend("b", BackendProtocol::Http1, &[echo.address])];
    all.extend(names.iter().map(|name| Resource::Route(route(name, port, name, &[], vec![rule("/", "b")]))));
    all.extend(certificates);
    let problems = bed.agent.replace(all).await.unwrap();
    assert!(problems.is_empty(), "{problems:?}");
}

#[tokio::test]
async fn the_name_chooses_listener_and_certificate() {
    let echo = Echo::start("b");
    let authority = Authority::new().unwrap();
    let pairs: Vec<_> =
        [&["a.example"][..], &["*.wild.example"], &["b.example", "c.example"], &["d.example"]]
            .map(|names| authority.issue(names).unwrap())
            .into();
    let mut bed = Bed::new().await;
    let listeners = vec![
        https("a", Some("a.example"), &["a"]),
        https("wild", Some("*.wild.example"), &["wild"]),
        https("many", Some("*.example"), &["many", "d"]),
    ];
    let certificates =
        ["a", "wild", "many", "d"].iter().zip(&pairs).map(|(name, pair)| certificate(name, pair));
    serve(&mut bed, listeners, certificates.collect(), &echo).await;
    for (name, pair) in [("a.example", 0), ("x.wild.example", 1), ("c.example", 2), ("d.example", 3)] {
        for (alpn, h2) in [(&["h2", "http/1.1"][..], true), (&["http/1.1"], false), (&[], false)] {
            let target = Target::https(bed.address, authority.client(alpn).unwrap(), name);
            let mut connection = Connection::open(&target).await.unwrap();
            assert_eq!(
                (connection.certificate.as_deref(), connection.is_h2()),
                (Some(&*leaf(&pairs[pair])), h2)
            );
            let request = client::request(name, "/").unwrap();
            let seen = connection.send(request).await.unwrap().echo().unwrap();
            assert_eq!((seen.header("x-forwarded-proto"), seen.host.as_deref()), (Some("https"), Some(name)));
        }
    }
    let nobody = Target::https(bed.address, authority.client(&[]).unwrap(), "nobody.test");
    let error = Connection::open(&nobody).await.unwrap_err().to_string();
    assert!(error.contains("UnrecognisedName") || error.contains("UnrecognizedName"), "{error}");
}

#[tokio::test]
async fn a_request_for_another_listener_is_421() {
    let echo = Echo::start("b");
    let authority = Authority::new().unwrap();
    let pair = authority.issue(&["a.example", "b.example"]).unwrap();
    let mut bed = Bed::new().await;
    let listeners = vec![https("a", Some("a.example"), &["p"]), https("b", Some("b.example"), &["p"])];
    serve(&mut bed, listeners, vec![certificate("p", &pair)], &echo).await;
    for alpn in [&["h2"][..], &["http/1.1"]] {
        let target = Target::https(bed.address, authority.client(alpn).unwrap(), "a.example");
        let mut connection = Connection::open(&target).await.unwrap();
        for (host, status) in [("a.example", 200), ("b.example", 421), ("a.example", 200), ("c.example", 404)]
        {
            let reply = connection.send(client::request(host, "/").unwrap()).await.unwrap();
            assert_eq!(reply.status.as_u16(), status, "{host}");
        }
    }
    // They count for the listener of the handshake.
    for reason in ["misdirected", "route_not_found"] {
        let labels = ["listener=\"a\"", &format!("reason=\"{reason}\"")];
        let count = admin::sample(&bed.agent.admin(), "gatehouse_proxy_requests_ended_total", &labels).await;
        assert_eq!(count.unwrap(), Some(2.0), "{reason}");
    }
}

#[tokio::test]
async fn a_rotated_certificate_disturbs_nobody_and_resumption_goes_on() {
    let echo = Echo::start("b");
    let authority = Authority::new().unwrap();
    let pairs = [authority.issue(&["a.example"]).unwrap(), authority.issue(&["a.example"]).unwrap()];
    let mut bed = Bed::new().await;
    let listeners = || vec![https("a", Some("a.example"), &["p"])];
    serve(&mut bed, listeners(), vec![certificate("p", &pairs[0])], &echo).await;
    let config = authority.client(&["http/1.1"]).unwrap();
    let target = Target::https(bed.address, config.clone(), "a.example");
    let mut kept = Connection::open(&target).await.unwrap();
    let ask = || client::request("a.example", "/").unwrap();
    assert_eq!(kept.send(ask()).await.unwrap().status, StatusCode::OK);

    let problems = bed.agent.apply(vec![certificate("p", &pairs[1])], Vec::new()).await.unwrap();
    assert!(problems.is_empty(), "{problems:?}");
    assert_eq!(kept.send(ask()).await.unwrap().status, StatusCode::OK);
    let fresh = Target::https(bed.address, authority.client(&["http/1.1"]).unwrap(), "a.example");
    let connection = Connection::open(&fresh).await.unwrap();
    assert_eq!(connection.certificate.as_deref(), Some(&*leaf(&pairs[1])));

    let stream = TcpStream::connect(bed.address).await.unwrap();
    let name = ServerName::try_from("a.example").unwrap();
    let stream = TlsConnector::from(config).connect(name, stream).await.unwrap();
    assert_eq!(stream.get_ref().1.handshake_kind(), Some(rustls::HandshakeKind::Resumed));
}

#[tokio::test]
async fn a_broken_certificate_is_a_problem_of_its_own() {
    let echo = Echo::start("b");
    let authority = Authority::new().unwrap();
    let good = authority.issue(&["a.example"]).unwrap();
    let mut bed = Bed::new().await;
    let listeners = vec![https("a", Some("a.example"), &["good"]), https("b", Some("b.example"), &["bad"])];
    serve(&mut bed, listeners, vec![certificate("good", &good)], &echo).await;
    let bad = Pair { chain: "nonsense".to_owned(), key: good.key.clone() };
    let problems = bed.agent.apply(vec![certificate("bad", &bad)], Vec::new()).await.unwrap();
    assert_eq!(problems.len(), 1);
    let target = Target::https(bed.address, authority.client(&[]).unwrap(), "a.example");
    let reply = client::send(&target, client::request("a.example", "/").unwrap()).await.unwrap();
    assert_eq!(reply.status, StatusCode::OK);
}

#[tokio::test]
async fn tls_passes_through_beside_https() {
    let echo = Echo::start("b");
    let authority = Authority::new().unwrap();
    let (ours, theirs) = (authority.issue(&["a.example"]).unwrap(), authority.issue(&["t.example"]).unwrap());
    let (listener, address) = backend_socket().await;
    let acceptor = TlsAcceptor::from(theirs.server(&[]).unwrap());
    tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let mut stream = acceptor.accept(stream).await.unwrap();
        stream.write_all(b"from the backend").await.unwrap();
        stream.shutdown().await.unwrap();
    });
    let mut bed = Bed::new().await;
    let hostname = Some(Hostname::new("*.example"));
    let pass = Listener { name: "pass".to_owned(), hostname, protocol: ListenerProtocol::TlsPassthrough };
    serve(&mut bed, vec![https("a", Some("a.example"), &["p"]), pass], vec![certificate("p", &ours)], &echo)
        .await;
    let attachment = Attachment {
        gateway: GatewayId::new(GATEWAY),
        port: bed.port(),
        listener: "pass".to_owned(),
        hostnames: vec![Hostname::new("t.example")],
    };
    let tls_route = Route {
        id: RouteId::new("TLSRoute/default/t"),
        created: 0,
        attachments: vec![attachment],
        rules: RouteRules::Tls(L4Rule { backends: vec![share("t", 1)] }),
    };
    let changes = vec![Resource::Route(tls_route), backend("t", BackendProtocol::Http1, &[address])];
    assert!(bed.agent.apply(changes, Vec::new()).await.unwrap().is_empty());

    let connect = async |name: &'static str| {
        let stream = TcpStream::connect(bed.address).await.unwrap();
        let config: Arc<rustls::ClientConfig> = authority.client(&[]).unwrap();
        TlsConnector::from(config).connect(ServerName::try_from(name).unwrap(), stream).await
    };
    let mut through = connect("t.example").await.unwrap();
    let mut said = String::new();
    through.read_to_string(&mut said).await.unwrap();
    assert_eq!(said, "from the backend");
    assert!(connect("other.example").await.is_err());
    let target = Target::https(bed.address, authority.client(&[]).unwrap(), "a.example");
    let reply = client::send(&target, client::request("a.example", "/").unwrap()).await.unwrap();
    assert_eq!(reply.status, StatusCode::OK);
}

#[tokio::test]
async fn an_upgraded_connection_goes_on_over_tls() {
    let echo = Echo::start("b");
    let authority = Authority::new().unwrap();
    let pair = authority.issue(&["a.example"]).unwrap();
    let mut bed = Bed::new().await;
    let listeners = vec![https("a", Some("a.example"), &["p"])];
    serve(&mut bed, listeners, vec![certificate("p", &pair)], &echo).await;
    let stream = TcpStream::connect(bed.address).await.unwrap();
    let name = ServerName::try_from("a.example").unwrap();
    let config = authority.client(&["http/1.1"]).unwrap();
    let mut stream = TlsConnector::from(config).connect(name, stream).await.unwrap();
    let ask = "GET / HTTP/1.1\r\nHost: a.example\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\nearly";
    stream.write_all(ask.as_bytes()).await.unwrap();
    let answer = read_until(&mut stream, "early").await.to_ascii_lowercase();
    assert!(answer.starts_with("http/1.1 101") && answer.contains("upgrade: echo"), "{answer}");
    for length in [1, 100, 100_000] {
        let sent = vec![b'x'; length];
        let mut back = vec![0; length];
        let (mut from, mut to) = tokio::io::split(&mut stream);
        let (written, read) = tokio::join!(
            async {
                to.write_all(&sent).await?;
                to.flush().await
            },
            from.read_exact(&mut back)
        );
        written.unwrap();
        read.unwrap();
        assert_eq!(back, sent);
    }
    stream.shutdown().await.unwrap();
    let mut rest = Vec::new();
    let end = tokio::time::timeout(client::PATIENCE, stream.read_to_end(&mut rest)).await.unwrap();
    assert_eq!(end.unwrap(), 0, "the end passes, too");
}

#[tokio::test]
async fn a_removed_listener_drains_its_own_connections_alone() {
    let echo = Echo::start("b");
    let authority = Authority::new().unwrap();
    let pair = authority.issue(&["a.example", "b.example"]).unwrap();
    let mut bed = Bed::new().await;
    let kept = || https("a", Some("a.example"), &["p"]);
    let both = vec![kept(), https("b", Some("b.example"), &["p"])];
    serve(&mut bed, both, vec![certificate("p", &pair)], &echo).await;
    let open = async |alpn: &str, name: &str| {
        let target = Target::https(bed.address, authority.client(&[alpn]).unwrap(), name);
        let mut connection = Connection::open(&target).await.unwrap();
        let reply = connection.send(client::request(name, "/").unwrap()).await.unwrap();
        assert_eq!(reply.status, StatusCode::OK);
        connection
    };
    let mut stay = [open("http/1.1", "a.example").await, open("h2", "a.example").await];
    let mut go = [open("http/1.1", "b.example").await, open("h2", "b.example").await];
    let mut told = open("http/1.1", "b.example").await;

    serve(&mut bed, vec![kept()], vec![certificate("p", &pair)], &echo).await;
    // Its name is nobody's now; the answer says that the connection ends.
    let mut last = None;
    for _ in 0..500 {
        let reply = told.send(client::request("b.example", "/").unwrap()).await.unwrap();
        last = reply.headers.get("connection").cloned();
        if last.is_some() {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    assert_eq!(last.unwrap(), "close");
    for connection in &mut go {
        for _ in 0..500 {
            if !connection.is_open() {
                break;
            }
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        assert!(!connection.is_open());
    }
    for connection in &mut stay {
        let reply = connection.send(client::request("a.example", "/").unwrap()).await.unwrap();
        assert_eq!((reply.status, reply.headers.get("connection")), (StatusCode::OK, None));
        assert!(connection.is_open());
    }
}
