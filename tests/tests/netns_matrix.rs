//! Whoever asks, over whatever device, under whatever sysctls: a backend behind the real agent and proxy is told the
//! client's own address.
#![expect(clippy::unwrap_used, reason = "a step that fails ends its test")]

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{IpAddr, SocketAddr, TcpStream};

use anyhow::{Context as _, Result};
use gatehouse_tests::backend::{self, Backend};
use gatehouse_tests::matrix::{self, Asked};
use gatehouse_tests::node::Node;
use gatehouse_tests::objects::{Port, service};
use gatehouse_tests::serving::{self, PATIENCE, Seen};
use gatehouse_tests::topology::{Topology, Uplink};

const BRIDGE_NETFILTER: &str = "net.bridge.bridge-nf-call-";

/// The backend hears by the PROXY protocol who the client is, and sends back what it hears.
const OBJECTS: &str = "
apiVersion: gateway.networking.k8s.io/v1
kind: GatewayClass
metadata: {name: gatehouse}
spec: {controllerName: gatehouse.dev/gateway-controller}
---
apiVersion: gatehouse.dev/v1alpha1
kind: GatewayParameters
metadata: {namespace: matrix, name: matrix}
spec:
  backends:
  - {service: {name: echo, port: 9000}, proxyProtocol: V1}
  - {service: {name: echo, port: 9001}, proxyProtocol: V2}
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {namespace: matrix, name: matrix}
spec:
  gatewayClassName: gatehouse
  infrastructure: {parametersRef: {group: gatehouse.dev, kind: GatewayParameters, name: matrix}}
  listeners:
  - {name: tcp, protocol: TCP, port: 443}
  - {name: udp, protocol: UDP, port: 53}
---
apiVersion: gateway.networking.k8s.io/v1
kind: TCPRoute
metadata: {namespace: matrix, name: tcp}
spec: {parentRefs: [{name: matrix}], rules: [{backendRefs: [{name: echo, port: 9000}]}]}
---
apiVersion: gateway.networking.k8s.io/v1
kind: UDPRoute
metadata: {namespace: matrix, name: udp}
spec: {parentRefs: [{name: matrix}], rules: [{backendRefs: [{name: echo, port: 9001}]}]}
";

/// All cells of one uplink.
fn run(uplink: Uplink) {
    run_with(uplink, false);
}

fn run_with(uplink: Uplink, bridge_netfilter: bool) {
    let topology = Topology::new(uplink).unwrap();
    for protocol in ["iptables", "ip6tables"] {
        let key = format!("{BRIDGE_NETFILTER}{protocol}");
        if bridge_netfilter {
            topology.node.sysctl(&key, "1").expect("does this kernel have br_netfilter?");
        } else {
            // Absent where the kernel does not have it.
            let _unused = topology.node.sysctl(&key, "0");
        }
    }
    let pod = Backend::start(&topology.pods, 2, "echo", None).unwrap();
    let mut node = Node::new(&topology.node).unwrap();
    let ports = [Port::tcp("tcp", 9000, backend::TCP), Port::udp("udp", 9001, backend::UDP)];
    node.write("service.yaml", &service("matrix", "echo", &ports, &[&pod])).unwrap();
    node.write("objects.yaml", OBJECTS).unwrap();
    node.start().unwrap();
    let (v4, v6) = node.wait_addresses("matrix", "matrix").unwrap();
    let asked = Asked { vips: [v4.unwrap(), v6.unwrap()], connect, exchange };
    let ready = || matrix_answers(&topology, &asked).then_some(());
    node.wait("the routes", |_| ready()).unwrap();
    if let Err(error) = matrix::run(&topology, &asked) {
        panic!("{uplink:?}: {error:#}\n{}", node.log());
    }
}

fn matrix_answers(topology: &Topology, asked: &Asked) -> bool {
    let [v4, _] = asked.vips;
    let both = || connect(SocketAddr::new(v4, matrix::TCP)).and(exchange(SocketAddr::new(v4, matrix::UDP)));
    topology.client.run(both).is_ok()
}

/// One connection, and what the backend heard of it.
fn connect(vip: SocketAddr) -> Result<Seen> {
    let mut stream = TcpStream::connect_timeout(&vip, PATIENCE).context("connect")?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(b"?")?;
    let client = stream.local_addr()?;
    let mut lines = BufReader::new(stream).lines();
    lines.next().context("no greeting")?.context("the greeting")?;
    let header = lines.next().context("no PROXY header")?.context("the PROXY header")?;
    let fields: Vec<&str> = header.split(' ').collect();
    let ["PROXY", _, from, to, from_port, to_port] = fields[..] else {
        anyhow::bail!("answered by a stranger: {header:?}")
    };
    let at = |ip: &str, port: &str| Ok::<_, anyhow::Error>(SocketAddr::new(ip.parse()?, port.parse()?));
    Ok(Seen { client, peer: at(from, from_port)?, local: at(to, to_port)? })
}

/// One datagram, and what the backend heard of it.
fn exchange(vip: SocketAddr) -> Result<Seen> {
    let (client, answer) = serving::datagram(vip)?;
    let (peer, local) = addresses(&answer).with_context(|| format!("{answer:?}"))?;
    Ok(Seen { client, peer, local })
}

/// Source and destination of the version 2 header in an answer.
fn addresses(answer: &[u8]) -> Result<(SocketAddr, SocketAddr)> {
    const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
    let at = answer.windows(SIGNATURE.len()).position(|bytes| bytes == SIGNATURE);
    let rest = &answer[at.context("answered by a stranger")? + SIGNATURE.len()..];
    let length = match rest.get(1) {
        Some(0x12) => 4,
        Some(0x22) => 16,
        other => anyhow::bail!("address family {other:?}"),
    };
    let fields = rest.get(4..4 + 2 * length + 4).context("cut short")?;
    let (ips, ports) = fields.split_at(2 * length);
    let at = |n: usize| {
        let port = u16::from_be_bytes([ports[2 * n], ports[2 * n + 1]]);
        Ok::<_, anyhow::Error>(SocketAddr::new(ip(&ips[n * length..][..length])?, port))
    };
    Ok((at(0)?, at(1)?))
}

fn ip(bytes: &[u8]) -> Result<IpAddr> {
    match <[u8; 4]>::try_from(bytes) {
        Ok(v4) => Ok(v4.into()),
        Err(_) => Ok(<[u8; 16]>::try_from(bytes)?.into()),
    }
}

#[test]
fn plain() {
    run(Uplink::Plain);
}

#[test]
fn bridge() {
    run(Uplink::Bridge);
}

/// By module that not every kernel has: `cargo xtask test` asks the kernel, and runs them where it can. On a kernel without
/// 802.1Q or bonding the same cells are asked in virtual machines (`cargo xtask verify --kernel`).
mod needs_8021q {
    use super::*;

    #[test]
    #[ignore = "needs a kernel with 8021q"]
    fn vlan() {
        run(Uplink::Vlan);
    }
}

mod needs_bonding {
    use super::*;

    #[test]
    #[ignore = "needs a kernel with bonding"]
    fn bond() {
        run(Uplink::Bond);
    }
}

mod needs_br_netfilter {
    use super::*;

    #[test]
    #[ignore = "needs a kernel with br_netfilter"]
    fn bridge() {
        run_with(Uplink::Bridge, true);
    }
}
