//! Whoever asks, over whatever device, under whatever sysctls: the serving side sees the client's own address.
//!
//! {outside, on the node, routed through the node} × {IPv4, IPv6} × {TCP, UDP} × rp_filter {0, 1, 2} ×
//! src_valid_mark {0, 1} × tcp_syncookies {0, 1, 2} × {with, without a foreign wildcard socket}, on one uplink.

use std::io::Write as _;
use std::net::{IpAddr, SocketAddr, TcpListener, UdpSocket};
use std::thread::JoinHandle;

use anyhow::{Context as _, Result, ensure};
use rustix::net::{Shutdown, shutdown};
use socket2::{Domain, Socket, Type};

use crate::netns::Netns;
use crate::room::Room;
use crate::serving::Seen;
use crate::topology::{CLIENT_V4, CLIENT_V6, Topology};

pub const TCP: u16 = 443;
pub const UDP: u16 = 53;
/// Of each uplink.
const CELLS: usize = 3 * 2 * 2 * 3 * 2 * 3 * 2;

/// What is asked in each cell.
#[derive(Clone, Copy, Debug)]
pub struct Asked {
    /// Of both families.
    pub vips: [IpAddr; 2],
    /// One connection to [`TCP`] of a VIP.
    pub connect: fn(SocketAddr) -> Result<Seen>,
    /// One datagram to [`UDP`] of a VIP.
    pub exchange: fn(SocketAddr) -> Result<Seen>,
}

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
    fn set(self, node: &Netns, device: &str) -> Result<()> {
        let device = device.replace('.', "/");
        for scope in ["all", "default", &device, "eth0", "veth0"] {
            node.sysctl(&format!("net.ipv4.conf.{scope}.rp_filter"), &self.rp_filter.to_string())?;
            node.sysctl(&format!("net.ipv4.conf.{scope}.src_valid_mark"), &self.src_valid_mark.to_string())?;
        }
        node.sysctl("net.ipv4.tcp_syncookies", &self.syncookies.to_string())
    }
}

/// A process that listens on the ports of every address, as sshd does.
struct Foreign {
    listeners: Vec<TcpListener>,
    datagrams: Vec<UdpSocket>,
    threads: Vec<JoinHandle<()>>,
}

impl Foreign {
    fn start(node: &Netns) -> Result<Self> {
        let both = |kind, port| {
            let open = move |ip: &str| wildcard(ip.parse()?, kind, port);
            node.run(|| Ok::<_, anyhow::Error>([open("0.0.0.0")?, open("::")?]))
        };
        let mut foreign = Self { listeners: Vec::new(), datagrams: Vec::new(), threads: Vec::new() };
        for socket in both(Type::STREAM, TCP)? {
            socket.listen(128)?;
            let listener = TcpListener::from(socket);
            let accepting = listener.try_clone()?;
            foreign.threads.push(std::thread::spawn(move || {
                while let Ok((mut stream, _)) = accepting.accept() {
                    let _unused = stream.write_all(b"foreign");
                }
            }));
            foreign.listeners.push(listener);
        }
        for socket in both(Type::DGRAM, UDP)? {
            let socket = UdpSocket::from(socket);
            let receiving = socket.try_clone()?;
            foreign.threads.push(std::thread::spawn(move || {
                while let Ok((1.., peer)) = receiving.recv_from(&mut [0; 64]) {
                    let _unused = receiving.send_to(b"foreign", peer);
                }
            }));
            foreign.datagrams.push(socket);
        }
        Ok(foreign)
    }
}

fn wildcard(ip: IpAddr, kind: Type, port: u16) -> Result<Socket> {
    let socket = Socket::new(if ip.is_ipv6() { Domain::IPV6 } else { Domain::IPV4 }, kind, None)?;
    if kind == Type::STREAM {
        // Ended connections to the VIP hold the port for a minute, as they do for every server.
        socket.set_reuse_address(true)?;
    } else {
        // Beside a socket of a VIP's own address.
        socket.set_reuse_port(true)?;
    }
    if ip.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.bind(&SocketAddr::new(ip, port).into()).with_context(|| format!("bind {ip} port {port}"))?;
    Ok(socket)
}

impl Drop for Foreign {
    fn drop(&mut self) {
        for listener in &self.listeners {
            let _unused = shutdown(listener, Shutdown::Both);
        }
        for socket in &self.datagrams {
            // Wakes the thread; a datagram socket says it is not connected and wakes all the same.
            let _unused = shutdown(socket, Shutdown::Both);
        }
        for thread in self.threads.drain(..) {
            let _unused = thread.join();
        }
    }
}

/// One question.
#[derive(Clone, Copy)]
struct Cell {
    family: usize,
    datagram: bool,
}

impl Cell {
    const ALL: [Self; 4] = [
        Self { family: 0, datagram: false },
        Self { family: 0, datagram: true },
        Self { family: 1, datagram: false },
        Self { family: 1, datagram: true },
    ];

    fn vip(self, asked: &Asked) -> SocketAddr {
        SocketAddr::new(asked.vips[self.family], if self.datagram { UDP } else { TCP })
    }

    fn ask(self, asked: &Asked, client: &Client) -> Result<()> {
        let vip = self.vip(asked);
        let ask = if self.datagram { asked.exchange } else { asked.connect };
        let Seen { client: own, peer, local } = client.room.run(move || ask(vip))?;
        ensure!(peer == own && local == vip, "client {own} was seen as {peer}, {vip} as {local}");
        let address = client.address[self.family].unwrap_or(peer.ip());
        ensure!(address == peer.ip(), "expected client {address}, seen {peer}");
        Ok(())
    }
}

/// Asks in every cell; an error names those that fail.
pub fn run(topology: &Topology, asked: &Asked) -> Result<()> {
    let node = &topology.node;
    let client =
        |place, netns, address| Ok::<_, anyhow::Error>(Client { place, room: Room::enter(netns)?, address });
    let clients = [
        client("outside", &topology.client, [Some(CLIENT_V4), Some(CLIENT_V6)])?,
        client("on the node", node, [None; 2])?,
        client("through the node", &topology.pods, [None; 2])?,
    ];
    let mut cells = 0;
    let mut failures = Vec::new();
    for settings in Settings::all() {
        settings.set(node, topology.device())?;
        for foreign in [false, true] {
            let _stranger = foreign.then(|| Foreign::start(node)).transpose()?;
            for client in &clients {
                for cell in Cell::ALL {
                    cells += 1;
                    if let Err(error) = cell.ask(asked, client) {
                        let (place, vip) = (client.place, cell.vip(asked));
                        failures.push(format!("{place} → {vip} {settings:?} foreign={foreign}: {error:#}"));
                    }
                }
            }
        }
    }
    ensure!(failures.is_empty(), "{} of {cells} cells\n{}", failures.len(), failures.join("\n"));
    ensure!(cells == CELLS, "{cells} cells instead of {CELLS}");
    Ok(())
}
