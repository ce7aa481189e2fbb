//! UDP listeners that go and come back.

use std::net::SocketAddr;

use gatehouse_tests::backend::{self, Backend};
use gatehouse_tests::node::Node;
use gatehouse_tests::objects::{Port, service};
use gatehouse_tests::serving;
use gatehouse_tests::topology::{Topology, Uplink};

const ROUTE: &str = "
apiVersion: gateway.networking.k8s.io/v1
kind: GatewayClass
metadata: {name: gatehouse}
spec: {controllerName: gatehouse.dev/gateway-controller}
---
apiVersion: gateway.networking.k8s.io/v1
kind: UDPRoute
metadata: {namespace: dns, name: dns}
spec: {parentRefs: [{name: dns}], rules: [{backendRefs: [{name: echo, port: 53}]}]}
";

fn gateway(udp: bool) -> String {
    let udp = if udp { ", {name: udp, protocol: UDP, port: 53}" } else { "" };
    format!(
        "apiVersion: gateway.networking.k8s.io/v1\nkind: Gateway\nmetadata: {{namespace: dns, name: dns}}\n\
         spec: {{gatewayClassName: gatehouse, listeners: [{{name: http, protocol: HTTP, port: 80}}{udp}]}}\n"
    )
}

/// The sockets of before drain their sessions, and take no share of what comes to the new ones.
#[test]
fn a_listener_that_comes_back_at_once_answers_everybody() {
    let topology = Topology::new(Uplink::Plain).unwrap();
    let pod = Backend::start(&topology.pods, 2, "echo", None).unwrap();
    let mut node = Node::new(&topology.node).unwrap();
    node.write("service.yaml", &service("dns", "echo", &[Port::udp("udp", 53, backend::UDP)], &[&pod]))
        .unwrap();
    node.write("route.yaml", ROUTE).unwrap();
    node.write("gateway.yaml", &gateway(true)).unwrap();
    node.start().unwrap();
    let (v4, _) = node.wait_addresses("dns", "dns").unwrap();
    let vip = SocketAddr::new(v4.unwrap(), 53);
    for _ in 0..3 {
        node.wait("an answer", |_| asked(&topology, vip).then_some(())).unwrap();
        // Of several clients, so that each worker has sessions.
        for _ in 0..16 {
            assert!(asked(&topology, vip), "{}", node.log());
        }
        node.write("gateway.yaml", &gateway(false)).unwrap();
        node.wait("the listener to go", |node| (!listed(node)).then_some(())).unwrap();
        node.write("gateway.yaml", &gateway(true)).unwrap();
        node.wait("the listener to be back", |node| listed(node).then_some(())).unwrap();
        node.wait("an answer", |_| asked(&topology, vip).then_some(())).unwrap();
        let lost = (0..32).filter(|_| !asked(&topology, vip)).count();
        assert_eq!(lost, 0, "of 32: {}", node.log());
    }
}

/// One datagram of a client of its own.
fn asked(topology: &Topology, vip: SocketAddr) -> bool {
    topology.client.run(|| serving::datagram(vip)).is_ok()
}

fn listed(node: &Node<'_>) -> bool {
    node.gatectl(&["listener", "list"])
        .is_ok_and(|said| String::from_utf8_lossy(&said.stdout).contains("udp"))
}
