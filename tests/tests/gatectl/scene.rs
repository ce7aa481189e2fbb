//! A Gateway with a listener of each kind, seen by an operator on its node.

use std::io::{Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::process::{Command, Output};

use gatehouse_tests::backend::{self, Backend};
use gatehouse_tests::client::{Target, get};
use gatehouse_tests::node::{Name, Node, PATIENCE};
use gatehouse_tests::objects::{Port, service};
use gatehouse_tests::topology::{Topology, Uplink};

pub(crate) const GATEWAY: &str = "shop/public";
pub(crate) const HOST: &str = "shop.example.com";
/// Its Service has no Pods.
pub(crate) const EMPTY: &str = "empty.example.com";

/// The network and one Pod.
pub(crate) struct Place {
    pub(crate) topology: Topology,
}

pub(crate) struct Scene<'a> {
    pub(crate) place: &'a Place,
    pub(crate) node: Node<'a>,
    pub(crate) pod: Option<Backend>,
    pub(crate) v4: IpAddr,
    pub(crate) v6: IpAddr,
}

impl Place {
    pub(crate) fn new() -> Self {
        Self { topology: Topology::new(Uplink::Plain).unwrap() }
    }

    pub(crate) fn serve(&self) -> Scene<'_> {
        self.serve_with(&[])
    }

    /// With more arguments of the agent.
    pub(crate) fn serve_with(&self, arguments: &[&str]) -> Scene<'_> {
        let pod = Backend::start(&self.topology.pods, 2, "one", None).unwrap();
        let node = Node::new(&self.topology.node).unwrap().with_arguments(&["--drain-deadline", "2s"]);
        let mut node = node.with_arguments(arguments);
        let ports = [
            Port::tcp("http", 80, backend::HTTP),
            Port::tcp("tcp", 9000, backend::TCP),
            Port::udp("udp", 9001, backend::UDP),
        ];
        let services = [service("shop", "one", &ports, &[&pod]), service("shop", "empty", &ports, &[])];
        node.write("services.yaml", &services.join("---\n")).unwrap();
        node.write("gateway.yaml", OBJECTS).unwrap();
        node.write("tcp.yaml", TCP_ROUTE).unwrap();
        node.start().unwrap();
        let (v4, v6) = node.wait_addresses("shop", "public").unwrap();
        for (kind, name) in [("HTTPRoute", "web"), ("TCPRoute", "tcp"), ("UDPRoute", "udp")] {
            node.wait_condition(&Name { kind, namespace: "shop", name }, "Accepted", "True").unwrap();
        }
        let mut scene = Scene { place: self, node, pod: Some(pod), v4: v4.unwrap(), v6: v6.unwrap() };
        scene.wait_answered();
        scene
    }
}

impl Scene<'_> {
    /// VIP and port as the command line has them.
    pub(crate) fn at(&self, port: u16) -> String {
        SocketAddr::new(self.v4, port).to_string()
    }

    pub(crate) fn at_v6(&self, port: u16) -> String {
        SocketAddr::new(self.v6, port).to_string()
    }

    pub(crate) fn wait_answered(&mut self) {
        let (client, target) = (&self.place.topology.client, Target::http((self.v4, 80).into()));
        let answered = || (get(client, &target, HOST, "/").ok()?.status == 200).then_some(());
        self.node.wait("an answer", |_| answered()).unwrap();
    }

    /// Runs gatectl, which must not fail.
    pub(crate) fn gatectl(&self, arguments: &[&str]) -> String {
        let (code, said, noted) = self.ends(arguments);
        assert_eq!(code, 0, "gatectl {arguments:?}: {said}{noted}");
        said
    }

    /// How gatectl ends, and what it says on standard output and standard error.
    pub(crate) fn ends(&self, arguments: &[&str]) -> (i32, String, String) {
        let Output { status, stdout, stderr } = self.node.gatectl(arguments).unwrap();
        (status.code().unwrap(), String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap())
    }

    /// `ip` inside the node.
    pub(crate) fn ip(&self, arguments: &[&str]) -> String {
        let name = self.place.topology.node.name();
        let output = Command::new("ip").args(["-n", name]).args(arguments).output().unwrap();
        assert!(output.status.success(), "ip {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// Our AnyIP routes of both families.
    pub(crate) fn routes(&self) -> String {
        let list = |family| self.ip(&[family, "route", "show", "table", "all", "proto", "71"]);
        list("-4") + &list("-6")
    }
}

/// A connection through the Gateway that stays open.
pub(crate) struct Held {
    stream: TcpStream,
}

impl Held {
    pub(crate) fn open(scene: &Scene<'_>) -> Self {
        let address = SocketAddr::new(scene.v4, 9000);
        let connect = || TcpStream::connect_timeout(&address, PATIENCE);
        let mut stream = scene.place.topology.client.run(connect).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut greeting = [0; 1];
        while greeting != *b"\n" {
            stream.read_exact(&mut greeting).unwrap();
        }
        Self { stream }
    }

    pub(crate) fn client(&self) -> SocketAddr {
        self.stream.local_addr().unwrap()
    }

    /// Hears back what it says.
    pub(crate) fn exchange(&mut self) {
        self.stream.write_all(b"still there?").unwrap();
        let mut heard = [0; 12];
        self.stream.read_exact(&mut heard).unwrap();
        assert_eq!(&heard, b"still there?");
    }
}

const OBJECTS: &str = "apiVersion: gateway.networking.k8s.io/v1
kind: GatewayClass
metadata: {name: gatehouse}
spec: {controllerName: gatehouse.dev/gateway-controller}
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {namespace: shop, name: public}
spec:
  gatewayClassName: gatehouse
  listeners:
  - {name: http, protocol: HTTP, port: 80}
  - {name: tcp, protocol: TCP, port: 9000}
  - {name: udp, protocol: UDP, port: 9001}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {namespace: shop, name: web}
spec:
  parentRefs: [{name: public, sectionName: http}]
  hostnames: [shop.example.com]
  rules:
  - matches: [{path: {type: PathPrefix, value: /old}}]
    filters: [{type: RequestRedirect, requestRedirect: {hostname: new.example.com, statusCode: 301}}]
  - matches: [{path: {type: PathPrefix, value: /api}, headers: [{name: x-canary, value: always}]}]
    filters: [{type: RequestHeaderModifier, requestHeaderModifier: {set: [{name: x-shop, value: api}]}}]
    backendRefs: [{name: one, port: 80}]
  - backendRefs: [{name: one, port: 80}]
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {namespace: shop, name: empty}
spec:
  parentRefs: [{name: public, sectionName: http}]
  hostnames: [empty.example.com]
  rules:
  - backendRefs: [{name: empty, port: 80}]
---
apiVersion: gateway.networking.k8s.io/v1
kind: UDPRoute
metadata: {namespace: shop, name: udp}
spec:
  parentRefs: [{name: public, sectionName: udp}]
  rules:
  - backendRefs: [{name: one, port: 9001}]
";

/// In a file of its own, for it goes and comes back.
pub(crate) const TCP_ROUTE: &str = "apiVersion: gateway.networking.k8s.io/v1
kind: TCPRoute
metadata: {namespace: shop, name: tcp}
spec:
  parentRefs: [{name: public, sectionName: tcp}]
  rules:
  - backendRefs: [{name: one, port: 9000}]
";
