//! What the tests start from: a proxy, backends, and a route between them.

use std::net::{Ipv4Addr, SocketAddr};
use std::process::Command;
use std::time::Duration;

use gatehouse_tests::certificate::{Authority, Pair};
use gatehouse_tests::client::{self, Reply, Target};
use gatehouse_tests::fake_agent::{FakeAgent, backend, gateway, http_port, route, rule};
use gatehouse_tests::process::{Process, program, wait_for};
use gateway_common::ir::{
    Attachment, BackendProtocol, Certificate, CertificateId, HttpRule, Listener, ListenerProtocol, Port,
    PortProtocol, Resource, Settings,
};

/// An echo backend on a port of its own.
pub(crate) struct Echo {
    pub(crate) address: SocketAddr,
    _process: Process,
    _files: tempfile::TempDir,
}

impl Echo {
    pub(crate) fn start(name: &str) -> Self {
        // Another process may take the port in between: then the backend says so, and it is tried again.
        for _ in 0..5 {
            let address = free_port();
            let files = tempfile::tempdir().unwrap();
            let mut command = Command::new(program("echo").unwrap());
            command.args(["--name", name, "--http", &address.to_string()]);
            let mut process = Process::start(name, command, &files.path().join("log")).unwrap();
            wait_for(Duration::from_secs(30), || {
                (process.log().contains("ready\n") || process.ended().is_some()).then_some(())
            });
            if process.ended().is_none() {
                return Self { address, _process: process, _files: files };
            }
        }
        panic!("no echo backend would start");
    }
}

/// A loopback address that nothing listens on.
fn free_port() -> SocketAddr {
    std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap()
}

/// One Gateway with one HTTP port.
pub(crate) struct Bed {
    pub(crate) agent: FakeAgent,
    pub(crate) address: SocketAddr,
    pub(crate) settings: Settings,
    secure: Option<Secure>,
}

/// The same on an HTTPS port, for `a.example`.
struct Secure {
    address: SocketAddr,
    authority: Authority,
    pair: Pair,
}

impl Bed {
    pub(crate) async fn new() -> Self {
        let mut agent = FakeAgent::start(&[]).await.unwrap();
        let address = agent.listen(gatehouse_tests::fake_agent::GATEWAY, 1).await.unwrap()[0];
        Self { agent, address, settings: Settings::default(), secure: None }
    }

    /// With an HTTPS port beside, that serves the same.
    pub(crate) async fn with_tls() -> Self {
        let mut agent = FakeAgent::start(&[]).await.unwrap();
        let addresses = agent.listen(gatehouse_tests::fake_agent::GATEWAY, 2).await.unwrap();
        let authority = Authority::new().unwrap();
        let pair = authority.issue(&["a.example"]).unwrap();
        let secure = Some(Secure { address: addresses[1], authority, pair });
        Self { agent, address: addresses[0], settings: Settings::default(), secure }
    }

    /// Each way to the ports.
    pub(crate) fn targets(&self) -> Vec<Target> {
        let mut all = vec![self.http1(), self.http2()];
        if let Some(secure) = &self.secure {
            let over = |alpn| {
                let config = secure.authority.client(&[alpn]).unwrap();
                Target { h2: alpn == "h2", ..Target::https(secure.address, config, "a.example") }
            };
            all.extend([over("http/1.1"), over("h2")]);
        }
        all
    }

    /// The port's number in the Gateway.
    pub(crate) fn port(&self) -> u16 {
        self.address.port()
    }

    /// Serves these rules on the port, with these backends beside.
    pub(crate) async fn serve(&mut self, rules: Vec<HttpRule>, backends: Vec<Resource>) {
        let port = self.port();
        let mut gateway = gateway(vec![http_port(port)]);
        gateway.settings = self.settings.clone();
        let mut route = route("r", port, "http", &[], rules);
        let mut all = Vec::new();
        if let Some(secure) = &self.secure {
            let id = CertificateId::new("default/p");
            let protocol = ListenerProtocol::Https { certificates: vec![id.clone()] };
            let listener = Listener { name: "https".to_owned(), hostname: None, protocol };
            let port = secure.address.port();
            let attachment =
                Attachment { port, listener: listener.name.clone(), ..route.attachments[0].clone() };
            route.attachments.push(attachment);
            let listeners = vec![listener];
            gateway.ports.push(Port { port, protocol: PortProtocol::Tls, proxy_protocol: None, listeners });
            let Pair { chain, key } = secure.pair.clone();
            all.push(Resource::Certificate(Certificate { id, chain, key }));
        }
        all.extend([Resource::Gateway(gateway), Resource::Route(route)]);
        all.extend(backends);
        let problems = self.agent.replace(all).await.unwrap();
        assert!(problems.is_empty(), "{problems:?}");
    }

    /// Everything to one HTTP/1.1 backend.
    pub(crate) async fn serve_all(&mut self, endpoints: &[SocketAddr]) {
        self.serve(vec![rule("/", "b")], vec![backend("b", BackendProtocol::Http1, endpoints)]).await;
    }

    pub(crate) fn http1(&self) -> Target {
        Target::http(self.address)
    }

    pub(crate) fn http2(&self) -> Target {
        Target::h2c(self.address)
    }

    pub(crate) async fn get(&self, path: &str) -> Reply {
        client::send(&self.http1(), client::request("a.example", path).unwrap()).await.unwrap()
    }
}

/// A port that refuses connections as long as this lives, because it is bound and nobody listens.
pub(crate) struct Refusing {
    pub(crate) address: SocketAddr,
    _socket: socket2::Socket,
}

impl Refusing {
    pub(crate) fn new() -> Self {
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).unwrap();
        let address = socket.local_addr().unwrap().as_socket().unwrap();
        Self { address, _socket: socket }
    }
}

/// Sends `bytes` on a connection of its own and reads until the proxy closes it.
pub(crate) async fn raw(address: SocketAddr, bytes: &[u8]) -> String {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    let mut answer = Vec::new();
    let read = stream.read_to_end(&mut answer);
    // A reset after the answer is an end, too.
    let _ = tokio::time::timeout(client::PATIENCE, read).await.expect("the proxy keeps the connection open");
    String::from_utf8_lossy(&answer).into_owned()
}

/// A backend that hands its connections to the test.
pub(crate) async fn backend_socket() -> (tokio::net::TcpListener, SocketAddr) {
    let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

/// Reads until `end` came.
pub(crate) async fn read_until(stream: &mut (impl tokio::io::AsyncRead + Unpin), end: &str) -> String {
    use tokio::io::AsyncReadExt as _;
    let mut seen = Vec::new();
    let read = async {
        while !String::from_utf8_lossy(&seen).contains(end) {
            let mut chunk = [0; 4096];
            let count = stream.read(&mut chunk).await.unwrap();
            assert!(count > 0, "closed after {}", String::from_utf8_lossy(&seen));
            seen.extend_from_slice(&chunk[..count]);
        }
    };
    tokio::time::timeout(client::PATIENCE, read).await.expect("it does not come");
    String::from_utf8_lossy(&seen).into_owned()
}
