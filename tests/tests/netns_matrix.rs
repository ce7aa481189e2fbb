//! Whoever asks, over whatever device, under whatever sysctls: the accepting side sees the client's own address.
//!
//! {outside, on the node, routed through the node} × {IPv4, IPv6} × rp_filter {0, 1, 2} × src_valid_mark {0, 1} ×
//! tcp_syncookies {0, 1, 2} × {with, without a foreign wildcard listener}, and datagrams, on each kind of uplink.
#![expect(clippy::unwrap_used, reason = "a step that fails ends its test")]

use std::io::Write as _;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::thread::JoinHandle;

use gatehouse_tests::netns::Netns;
use gatehouse_tests::room::Room;
use gatehouse_tests::serving::{self, Answering, Seen, Vips, connect, exchange};
use gatehouse_tests::topology::{CLIENT_V4, CLIENT_V6, Topology, Uplink, vip_v4, vip_v6};
use gateway_agent::datapath::Config;
use gateway_agent::device::Globs;
use rustix::net::{Shutdown, shutdown};

const TCP: u16 = 443;
const UDP: u16 = 53;
const BRIDGE_NETFILTER: &str = "net.bridge.bridge-nf-call-";
/// Of each uplink.
const CELLS: usize = 216 + 36;

/// Where a client is, and what its address must be there. None: any of its namespace's, as its own socket says.
struct Client {
    place: &'static str,
    room: Room,
    address: [Option<IpAddr>; 2],
}

/// Sysctls of one column.
#[derive(Clone, Copy, Debug)]
struct Settings {
    rp_filter: u8,
    src_valid_mark: u8,
    syncookies: u8,
}

impl Settings {
    fn all() -> impl Iterator<Item = Self> {
        (0..3).flat_map(|rp_filter| {
            (0..2).flat_map(move |src_valid_mark| {
                (0..3).map(move |syncookies| Self { rp_filter, src_valid_mark, syncookies })
            })
        })
    }

    /// The kernel takes the greater of `all` and the device's.
    fn set(self, node: &Netns, device: &str) {
        let device = device.replace('.', "/");
        for scope in ["all", "default", &device, "eth0", "veth0"] {
            node.sysctl(&format!("net.ipv4.conf.{scope}.rp_filter"), &self.rp_filter.to_string()).unwrap();
            node.sysctl(&format!("net.ipv4.conf.{scope}.src_valid_mark"), &self.src_valid_mark.to_string())
                .unwrap();
        }
        node.sysctl("net.ipv4.tcp_syncookies", &self.syncookies.to_string()).unwrap();
    }
}

/// A process that listens on a port of every address, as sshd does.
struct Foreign {
    listeners: Vec<TcpListener>,
    threads: Vec<JoinHandle<()>>,
}

impl Foreign {
    fn start(node: &Netns) -> Self {
        let listeners = node.run(|| {
            ["0.0.0.0", "::"].map(|ip| {
                let socket = socket2::Socket::new(
                    if ip == "::" { socket2::Domain::IPV6 } else { socket2::Domain::IPV4 },
                    socket2::Type::STREAM,
                    None,
                )
                .unwrap();
                // Ended connections to the VIP hold the port for a minute, as they do for every server.
                socket.set_reuse_address(true).unwrap();
                if ip == "::" {
                    socket.set_only_v6(true).unwrap();
                }
                socket.bind(&SocketAddr::new(ip.parse().unwrap(), TCP).into()).unwrap();
                socket.listen(128).unwrap();
                TcpListener::from(socket)
            })
        });
        let threads = listeners.iter().map(|listener| {
            let listener = listener.try_clone().unwrap();
            std::thread::spawn(move || {
                while let Ok((mut stream, _)) = listener.accept() {
                    let _unused = stream.write_all(b"foreign");
                }
            })
        });
        Self { threads: threads.collect(), listeners: listeners.into() }
    }
}

impl Drop for Foreign {
    fn drop(&mut self) {
        for listener in &self.listeners {
            let _unused = shutdown(listener, Shutdown::Both);
        }
        for thread in self.threads.drain(..) {
            let _unused = thread.join();
        }
    }
}

fn cell(client: &Client, family: usize, vip: SocketAddr, tcp: bool) -> Result<(), String> {
    let ask = if tcp { connect } else { exchange };
    let Seen { client: own, peer, local } =
        client.room.run(move || ask(vip)).map_err(|e| format!("{e:#}"))?;
    if peer != own || local != vip {
        return Err(format!("client {own} was seen as {peer}, {vip} as {local}"));
    }
    match client.address[family] {
        Some(address) if address != peer.ip() => Err(format!("expected client {address}, seen {peer}")),
        _ => Ok(()),
    }
}

/// All cells of one uplink.
fn run(uplink: Uplink) {
    run_with(uplink, false);
}

fn run_with(uplink: Uplink, bridge_netfilter: bool) {
    let topology = Topology::new(uplink).unwrap();
    let node = &topology.node;
    let vips = [vip_v4(20), vip_v6(20)];
    let gateway = Vips { gateway: "default/matrix", addresses: vips.into(), tcp: vec![TCP], udp: vec![UDP] };
    let desired = gateway.desired();
    let answering = Answering::start(node, &desired).unwrap();
    let mut datapath = serving::open(node, &Config::default()).unwrap();
    let devices =
        serving::apply(node, &mut datapath, &desired, &answering.sockets, &Globs::default()).unwrap();
    assert_eq!(devices, [topology.device()]);

    for protocol in ["iptables", "ip6tables"] {
        let key = format!("{BRIDGE_NETFILTER}{protocol}");
        if bridge_netfilter {
            node.sysctl(&key, "1").expect("does this kernel have br_netfilter?");
        } else {
            // Absent where the kernel does not have it.
            let _unused = node.sysctl(&key, "0");
        }
    }
    let client = |place, netns, address| Client { place, room: Room::enter(netns).unwrap(), address };
    let clients = [
        client("outside", &topology.client, [Some(CLIENT_V4), Some(CLIENT_V6)]),
        client("on the node", node, [None; 2]),
        client("through the node", &topology.pods, [None; 2]),
    ];
    let mut cells = 0;
    let mut failures = Vec::new();
    for settings in Settings::all() {
        settings.set(node, topology.device());
        for foreign in [false, true] {
            let stranger = foreign.then(|| Foreign::start(node));
            for client in &clients {
                for (family, vip) in vips.into_iter().enumerate() {
                    let mut note = |port, tcp| {
                        cells += 1;
                        if let Err(error) = cell(client, family, SocketAddr::new(vip, port), tcp) {
                            let place = client.place;
                            failures.push(format!(
                                "{place} → {vip}:{port} {settings:?} foreign={foreign}: {error}"
                            ));
                        }
                    };
                    note(TCP, true);
                    if settings.syncookies == 1 && !foreign {
                        note(UDP, false);
                    }
                }
            }
            drop(stranger);
        }
    }
    assert!(failures.is_empty(), "{uplink:?}: {} of {cells} cells\n{}", failures.len(), failures.join("\n"));
    assert_eq!(cells, CELLS);
}

#[test]
fn plain() {
    run(Uplink::Plain);
}

#[test]
fn bridge() {
    run(Uplink::Bridge);
}

/// By module that not every kernel has: `cargo xtask test` asks the kernel, and runs them where it can.
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
