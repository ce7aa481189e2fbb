//! A small site behind a Gateway, and the clients that use it during a storm.
#![expect(clippy::print_stdout, reason = "what the clients went through is shown when a test fails")]

use std::io::{Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::ops::Range;
use std::time::{Duration, Instant};

use anyhow::Result;
use gatehouse_tests::backend::{self, Backend};
use gatehouse_tests::certificate::{Authority, Pair};
use gatehouse_tests::client::{Reply, Target, get};
use gatehouse_tests::load::{Load, Plan, Report};
use gatehouse_tests::node::Node;
use gatehouse_tests::objects::{Port, service};
use gatehouse_tests::topology::{Topology, Uplink};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;

pub(crate) use gatehouse_tests::node::PATIENCE;

use crate::streams::{Outcome, Streams};

pub(crate) const HOST: &str = "site.example.com";
/// Of the listener that comes and goes.
pub(crate) const PORT_ADDED: u16 = 8081;

/// Clients of each load.
const CLIENTS: usize = 4;

pub(crate) struct Place {
    pub(crate) topology: Topology,
    authority: Authority,
    one: Backend,
    two: Backend,
}

/// The Gateway at work.
pub(crate) struct Site<'a> {
    pub(crate) place: &'a Place,
    pub(crate) node: Node<'a>,
    pub(crate) v4: IpAddr,
    v6: IpAddr,
}

impl Place {
    pub(crate) fn new() -> Self {
        let topology = Topology::new(Uplink::Plain).unwrap();
        let authority = Authority::new().unwrap();
        let one = Backend::start(&topology.pods, 2, "one", None).unwrap();
        let two = Backend::start(&topology.pods, 3, "two", None).unwrap();
        Self { topology, authority, one, two }
    }

    pub(crate) fn serve(&self) -> Site<'_> {
        self.serve_with(|node| node)
    }

    pub(crate) fn serve_with<'a>(&'a self, prepare: impl FnOnce(Node<'a>) -> Node<'a>) -> Site<'a> {
        let node = prepare(Node::new(&self.topology.node).unwrap());
        let unknown = IpAddr::from([0, 0, 0, 0]);
        let mut site = Site { place: self, node, v4: unknown, v6: unknown };
        let ports = [
            Port::tcp("http", 80, backend::HTTP),
            Port::tcp("tcp", 9000, backend::TCP),
            Port::udp("udp", 9001, backend::UDP),
        ];
        let services =
            [service("site", "one", &ports, &[&self.one]), service("site", "two", &ports, &[&self.two])];
        site.node.write("services.yaml", &services.join("---\n")).unwrap();
        site.with_listener(false);
        site.route_to("one");
        site.rotate();
        site.node.start().unwrap();
        let (v4, v6) = site.node.wait_addresses("site", "gateway").unwrap();
        (site.v4, site.v6) = (v4.unwrap(), v6.unwrap());
        site.wait_answered_by("one");
        site
    }
}

impl Site<'_> {
    /// Writes the Gateway with or without the listener that comes and goes.
    pub(crate) fn with_listener(&mut self, added: bool) {
        let more = format!("  - {{name: added, protocol: HTTP, port: {PORT_ADDED}}}\n");
        self.with_listeners(if added { &more } else { "" });
    }

    /// Writes the Gateway with more listeners.
    pub(crate) fn with_listeners(&mut self, more: &str) {
        self.node.write("gateway.yaml", &format!("{GATEWAY}{more}")).unwrap();
    }

    /// Writes the routes with this backend.
    pub(crate) fn route_to(&mut self, backend: &str) {
        self.node.write("routes.yaml", &ROUTES.replace("BACKEND", backend)).unwrap();
    }

    /// Writes a new certificate; the DER that clients will see.
    pub(crate) fn rotate(&mut self) -> Vec<u8> {
        let pair: Pair = self.place.authority.issue(&[HOST]).unwrap();
        self.node.write("secret.yaml", &pair.secret("site", "tls")).unwrap();
        CertificateDer::from_pem_slice(pair.chain.as_bytes()).unwrap().to_vec()
    }

    pub(crate) fn http(&self) -> Target {
        Target::http(SocketAddr::new(self.v4, 80))
    }

    pub(crate) fn https(&self, alpn: &[&str]) -> Target {
        Target::https(SocketAddr::new(self.v6, 443), self.place.authority.client(alpn).unwrap(), HOST)
    }

    pub(crate) fn get(&self, target: &Target) -> Result<Reply> {
        get(&self.place.topology.client, target, HOST, "/")
    }

    pub(crate) fn answered_by(&self) -> Result<String> {
        Ok(self.get(&self.http())?.echo()?.backend)
    }

    pub(crate) fn wait_answered_by(&mut self, backend: &str) {
        let (target, client) = (self.http(), &self.place.topology.client);
        let answered_by = || get(client, &target, HOST, "/").and_then(|reply| Ok(reply.echo()?.backend));
        let what = format!("an answer of {backend}");
        self.node.wait(&what, |_| (answered_by().ok()? == backend).then_some(())).unwrap();
    }
}

impl Drop for Site<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("\nThe log of agent and proxies:\n{}", self.node.log());
        }
    }
}

/// A TCP connection through the Gateway that stays open.
pub(crate) struct Held {
    stream: TcpStream,
    said: usize,
}

impl Held {
    pub(crate) fn open(site: &Site<'_>) -> Self {
        let address = SocketAddr::new(site.v4, 9000);
        let connect = || TcpStream::connect_timeout(&address, PATIENCE);
        let mut stream = site.place.topology.client.run(connect).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut greeting = [0; 1];
        while greeting != *b"\n" {
            stream.read_exact(&mut greeting).unwrap();
        }
        let mut held = Self { stream, said: 0 };
        held.exchange();
        held
    }

    /// Says something new and hears it back.
    pub(crate) fn exchange(&mut self) {
        self.said += 1;
        let words = format!("word {}", self.said);
        self.stream.write_all(words.as_bytes()).unwrap();
        let mut heard = vec![0; words.len()];
        self.stream.read_exact(&mut heard).unwrap();
        assert_eq!(heard, words.as_bytes());
    }
}

/// Clients of every kind, at work until they are stopped.
pub(crate) struct Loads {
    requests: Vec<(&'static str, Load)>,
    streams: Streams,
}

/// What they went through.
pub(crate) struct Reports {
    requests: Vec<(&'static str, Report)>,
    streams: Vec<(&'static str, Outcome)>,
}

impl Loads {
    pub(crate) fn start(site: &Site<'_>) -> Self {
        let v6 = Target::http(SocketAddr::new(site.v6, 80));
        let h2c = Target { h2: true, ..site.http() };
        let targets = [
            ("HTTP/1.1, kept", site.http(), false),
            ("HTTP/1.1, new connections", v6, true),
            ("HTTP/2, kept", h2c, false),
            ("HTTP/2 over TLS, kept", site.https(&["h2"]), false),
            ("HTTP/1.1 over TLS, new connections", site.https(&["http/1.1"]), true),
        ];
        let start = |(name, target, new): (&'static str, Target, bool)| {
            let mut plan = Plan::new(target, HOST, "/");
            plan.clients = CLIENTS;
            plan.pause = Duration::from_millis(5);
            let plan = if new { plan.new_connections() } else { plan };
            (name, Load::start(&site.place.topology.client, plan).unwrap())
        };
        let requests = targets.map(start).into_iter().collect();
        let (tcp, udp) = (SocketAddr::new(site.v4, 9000), SocketAddr::new(site.v6, 9001));
        Self { requests, streams: Streams::start(&site.place.topology.client, tcp, udp) }
    }

    pub(crate) fn stop(self) -> Reports {
        let stop = |(name, load): (&'static str, Load)| (name, load.stop().unwrap());
        Reports { requests: self.requests.into_iter().map(stop).collect(), streams: self.streams.stop() }
    }
}

impl Reports {
    /// No request failed, and nothing that is forwarded unopened.
    pub(crate) fn without_failures(&self) {
        self.without_failures_but(&[]);
    }

    /// The same, but for these.
    pub(crate) fn without_failures_but(&self, left_out: &[&str]) {
        for (name, report) in &self.requests {
            println!("{name}: {report}");
            assert!(report.answered > 0, "{name}: {report}");
            assert!(report.failures.is_empty(), "{name}: {report}");
        }
        for (name, outcome) in self.streams.iter().filter(|(name, _)| !left_out.contains(name)) {
            println!("{name}: {outcome:?}");
            assert!(outcome.answered > 0 && outcome.failures.is_empty(), "{name}: {outcome:?}");
        }
    }

    /// No request failed, and no kept connection was closed.
    pub(crate) fn undisturbed(&self) {
        self.without_failures();
        for (name, report) in self.requests.iter().filter(|(name, _)| name.ends_with("kept")) {
            assert_eq!(report.connections, CLIENTS as u64, "{name}: {report}");
        }
    }

    /// What failed was on a connection that was there when a proxy died.
    pub(crate) fn disturbed_only_by(&self, cuts: &[Range<Instant>]) {
        for (name, report) in &self.requests {
            println!("{name}: {report}");
            assert!(report.answered > 0, "{name}: {report}");
            let unexplained: Vec<_> = report.unexplained(cuts).collect();
            assert!(unexplained.is_empty(), "{name}: {report}\nnot explained by a kill: {unexplained:#?}");
        }
    }
}

const GATEWAY: &str = "apiVersion: gateway.networking.k8s.io/v1
kind: GatewayClass
metadata: {name: gatehouse}
spec: {controllerName: gatehouse.dev/gateway-controller}
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {namespace: site, name: gateway}
spec:
  gatewayClassName: gatehouse
  listeners:
  - {name: http, protocol: HTTP, port: 80}
  - {name: https, protocol: HTTPS, port: 443, tls: {certificateRefs: [{name: tls}]}}
  - {name: tcp, protocol: TCP, port: 9000}
  - {name: udp, protocol: UDP, port: 9001}
";

const ROUTES: &str = "apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {namespace: site, name: site}
spec:
  parentRefs: [{name: gateway}]
  hostnames: [site.example.com]
  rules:
  - backendRefs: [{name: BACKEND, port: 80}]
---
apiVersion: gateway.networking.k8s.io/v1
kind: TCPRoute
metadata: {namespace: site, name: tcp}
spec:
  parentRefs: [{name: gateway, sectionName: tcp}]
  rules:
  - backendRefs: [{name: one, port: 9000}]
---
apiVersion: gateway.networking.k8s.io/v1
kind: UDPRoute
metadata: {namespace: site, name: udp}
spec:
  parentRefs: [{name: gateway, sectionName: udp}]
  rules:
  - backendRefs: [{name: one, port: 9001}]
";
