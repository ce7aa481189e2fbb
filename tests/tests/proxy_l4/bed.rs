//! What the tests start from: a proxy, and resources that forward to sockets of the test.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use gatehouse_tests::admin;
use gatehouse_tests::fake_agent::{self, FakeAgent, GATEWAY};
use gateway_common::ir::{
    Attachment, BackendRef, GatewayId, Hostname, L4Rule, Listener, ListenerProtocol, Port, PortProtocol,
    ProxyProtocolOut, Resource, Route, RouteId, RouteRules, Settings,
};
use serde::de::DeserializeOwned;
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream, UdpSocket};

pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) struct Bed {
    pub(crate) agent: FakeAgent,
    pub(crate) settings: Settings,
}

impl Bed {
    pub(crate) async fn new(arguments: &[&str]) -> Self {
        Self { agent: FakeAgent::start(arguments).await.unwrap(), settings: Settings::default() }
    }

    pub(crate) async fn tcp(&mut self) -> SocketAddr {
        self.agent.listen(GATEWAY, 1).await.unwrap()[0]
    }

    pub(crate) async fn udp(&mut self) -> SocketAddr {
        self.agent.listen_udp(GATEWAY).await.unwrap()
    }

    /// Replaces the configuration by one Gateway with these ports and what else there is.
    pub(crate) async fn serve(&mut self, ports: Vec<Port>, mut rest: Vec<Resource>) {
        let mut gateway = fake_agent::gateway(ports);
        gateway.settings = self.settings.clone();
        rest.push(Resource::Gateway(gateway));
        let problems = self.agent.replace(rest).await.unwrap();
        assert!(problems.is_empty(), "{problems:?}");
    }

    /// Serves one TCP port whose connections go to `endpoints`.
    pub(crate) async fn forward_tcp(&mut self, endpoints: &[SocketAddr]) -> SocketAddr {
        let vip = self.tcp().await;
        let rest = vec![tcp_route(vip, vec![fake_agent::share("b", 1)]), backend("b", endpoints, None)];
        self.serve(vec![port(vip, PortProtocol::Tcp)], rest).await;
        vip
    }

    /// Serves one UDP port whose datagrams go to `endpoints`.
    pub(crate) async fn forward_udp(&mut self, endpoints: &[SocketAddr]) -> SocketAddr {
        let vip = self.udp().await;
        self.reforward_udp(vip, endpoints).await;
        vip
    }

    pub(crate) async fn reforward_udp(&mut self, vip: SocketAddr, endpoints: &[SocketAddr]) {
        let rest = vec![udp_route(vip), backend("b", endpoints, None)];
        self.serve(vec![port(vip, PortProtocol::Udp)], rest).await;
    }

    /// One request to the admin socket: the status and the body.
    pub(crate) async fn ask(&self, request: &str, body: &str) -> (u16, String) {
        self.ask_with_length(request, body.len(), body).await
    }

    pub(crate) async fn ask_with_length(&self, request: &str, length: usize, body: &str) -> (u16, String) {
        admin::ask(&self.agent.admin(), request, length, body).await.unwrap()
    }

    pub(crate) async fn get<T: DeserializeOwned>(&self, path: &str) -> T {
        let (status, body) = self.ask(&format!("GET {path}"), "").await;
        assert_eq!(status, 200, "{body}");
        serde_json::from_str(&body).unwrap()
    }

    /// The value of a sample of `/metrics`; None while there is no such sample.
    pub(crate) async fn sample(&self, name: &str, labels: &[&str]) -> Option<f64> {
        admin::sample(&self.agent.admin(), name, labels).await.unwrap()
    }

    /// Waits until the sample has the value.
    pub(crate) async fn until(&self, name: &str, labels: &[&str], value: f64) {
        let mut last = None;
        for _ in 0..200 {
            last = self.sample(name, labels).await;
            if last == Some(value) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("{name} {labels:?} is {last:?}, not {value}\n{}", self.agent.proxy.log());
    }

    /// Waits until so many connections and sessions ended for this reason.
    pub(crate) async fn until_ended(&self, reason: &str, count: f64) {
        let label = format!("reason=\"{reason}\"");
        self.until("gatehouse_proxy_connections_ended_total", &[&label], count).await;
    }
}

/// A port with one listener for every name.
pub(crate) fn port(vip: SocketAddr, protocol: PortProtocol) -> Port {
    let of_listener = match protocol {
        PortProtocol::Http => ListenerProtocol::Http,
        PortProtocol::Tls => ListenerProtocol::TlsPassthrough,
        PortProtocol::Tcp => ListenerProtocol::Tcp,
        PortProtocol::Udp => ListenerProtocol::Udp,
    };
    let listener = Listener { name: "l".to_owned(), hostname: None, protocol: of_listener };
    Port { port: vip.port(), protocol, proxy_protocol: None, listeners: vec![listener] }
}

pub(crate) fn tcp_route(vip: SocketAddr, backends: Vec<BackendRef>) -> Resource {
    route("TCPRoute/default/r", vip, &[], RouteRules::Tcp(L4Rule { backends }))
}

pub(crate) fn udp_route(vip: SocketAddr) -> Resource {
    let backends = vec![fake_agent::share("b", 1)];
    route("UDPRoute/default/r", vip, &[], RouteRules::Udp(L4Rule { backends }))
}

pub(crate) fn route(id: &str, vip: SocketAddr, hostnames: &[&str], rules: RouteRules) -> Resource {
    let attachment = Attachment {
        gateway: GatewayId::new(GATEWAY),
        port: vip.port(),
        listener: "l".to_owned(),
        hostnames: hostnames.iter().map(|name| Hostname::new(*name)).collect(),
    };
    Resource::Route(Route { id: RouteId::new(id), created: 0, attachments: vec![attachment], rules })
}

pub(crate) fn backend(name: &str, endpoints: &[SocketAddr], proxy: Option<ProxyProtocolOut>) -> Resource {
    let mut backend = fake_agent::backend(name, Default::default(), endpoints);
    if let Resource::Backend(backend) = &mut backend {
        backend.proxy_protocol = proxy;
    }
    backend
}

pub(crate) async fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

pub(crate) async fn udp_socket() -> (UdpSocket, SocketAddr) {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = socket.local_addr().unwrap();
    (socket, address)
}

/// A client of `vip` and the connection that the backend gets for it.
pub(crate) async fn pair(vip: SocketAddr, backend: &TcpListener) -> (TcpStream, TcpStream) {
    let client = TcpStream::connect(vip).await.unwrap();
    let (backend, _) = within(backend.accept()).await.unwrap();
    (client, backend)
}

/// Fails instead of waiting for ever.
pub(crate) async fn within<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, work).await.expect("took too long")
}

/// Reads until the connection ends: what came, and whether the end was a reset.
pub(crate) async fn read_to_end(stream: &mut TcpStream) -> (Vec<u8>, bool) {
    let mut bytes = Vec::new();
    match within(stream.read_to_end(&mut bytes)).await {
        Ok(_) => (bytes, false),
        Err(error) => {
            assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
            (bytes, true)
        }
    }
}
