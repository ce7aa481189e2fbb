//! The tests' own peers work: a backend that a client reaches without a gateway says what it was asked.
#![expect(clippy::unwrap_used, reason = "a test ends where something unexpected is")]

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream, UdpSocket};

use gatehouse_tests::backend::{self, Backend};
use gatehouse_tests::certificate::Authority;
use gatehouse_tests::client::{Connection, Target, get, request, send};
use gatehouse_tests::load::{Load, Plan};
use gatehouse_tests::topology::{NODE_POD_V4, NODE_POD_V6, Topology, Uplink};

fn laid() -> (Topology, Backend, Authority) {
    let topology = Topology::new(Uplink::Plain).unwrap();
    let authority = Authority::new().unwrap();
    let pair = authority.issue(&["a.test"]).unwrap();
    let backend = Backend::start(&topology.pods, 2, "one", Some(&pair)).unwrap();
    (topology, backend, authority)
}

#[test]
fn http_is_echoed_over_both_versions_and_families() {
    let (topology, backend, _authority) = laid();
    for (address, seen) in [(backend.v4, NODE_POD_V4), (backend.v6, NODE_POD_V6)] {
        for h2 in [false, true] {
            let target = Target { h2, ..Target::http(SocketAddr::new(address, backend::HTTP)) };
            let echo = get(&topology.node, &target, "a.test", "/x?y=1").unwrap().echo().unwrap();
            assert_eq!((echo.backend.as_str(), echo.path.as_str()), ("one", "/x?y=1"));
            assert_eq!(echo.host.as_deref(), Some("a.test"));
            assert_eq!(echo.version, if h2 { "HTTP/2.0" } else { "HTTP/1.1" });
            assert_eq!(echo.peer.parse::<SocketAddr>().unwrap().ip(), seen);
        }
    }
}

#[test]
fn tls_is_spoken_with_the_version_agreed_on() {
    let (topology, backend, authority) = laid();
    for (alpn, h2) in [("http/1.1", false), ("h2", true)] {
        let config = authority.client(&[alpn]).unwrap();
        let target = Target::https(SocketAddr::new(backend.v4, backend::TLS), config, "a.test");
        topology.node.block_on(async || {
            let mut connection = Connection::open(&target).await.unwrap();
            assert_eq!(connection.is_h2(), h2);
            assert!(connection.certificate.is_some());
            assert_eq!(connection.send(request("a.test", "/").unwrap()).await.unwrap().status, 200);
        });
    }
}

#[test]
fn an_answer_is_as_asked_for() {
    let (topology, backend, _authority) = laid();
    let target = Target::h2c(SocketAddr::new(backend.v4, backend::HTTP));
    let path = "/?status=503&size=70000&trailers=1&delay-ms=5";
    topology.node.block_on(async || {
        let reply = send(&target, request("a.test", path).unwrap()).await.unwrap();
        assert_eq!((reply.status.as_u16(), reply.body.len()), (503, 70000));
        assert_eq!(reply.trailers.unwrap().get("x-trailer").unwrap(), "end");
    });
}

#[test]
fn tcp_and_udp_say_who_came() {
    let (topology, backend, _authority) = laid();
    let mut stream =
        topology.node.run(|| TcpStream::connect(SocketAddr::new(backend.v4, backend::TCP))).unwrap();
    let own = stream.local_addr().unwrap();
    stream.write_all(b"hello").unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    assert_eq!(text, format!("one {own}\nhello"));

    let socket = topology.node.run(|| UdpSocket::bind((NODE_POD_V6, 0))).unwrap();
    socket.connect(SocketAddr::new(backend.v6, backend::UDP)).unwrap();
    socket.send(b"hello").unwrap();
    let mut buffer = [0; 100];
    let length = socket.recv(&mut buffer).unwrap();
    let want = format!("{} hello", socket.local_addr().unwrap());
    assert_eq!(String::from_utf8_lossy(&buffer[..length]), want);
}

#[test]
fn a_load_on_a_backend_has_no_failures_and_sees_its_death() {
    let (topology, mut backend, _authority) = laid();
    let target = Target::http(SocketAddr::new(backend.v4, backend::HTTP));
    let load = Load::start(&topology.node, Plan::new(target, "a.test", "/")).unwrap();
    get_some(&topology, &backend);
    backend.process().kill().unwrap();
    std::thread::sleep(std::time::Duration::from_millis(50));
    let report = load.stop().unwrap();
    assert!(report.answered > 0, "{report}");
    assert!(!report.failures.is_empty(), "{report}");
}

fn get_some(topology: &Topology, backend: &Backend) {
    for _ in 0..20 {
        let target = Target::http(SocketAddr::new(backend.v4, backend::HTTP));
        assert_eq!(get(&topology.node, &target, "a.test", "/").unwrap().status, 200);
    }
}
