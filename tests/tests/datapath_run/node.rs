//! A node with the programs attached, the agent's routes, and sockets where the proxy's would be.

use std::io::{self, Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use gatehouse_tests::datapath::{Datapath, Options};
use gatehouse_tests::netns::Netns;
use gatehouse_tests::serving::{receive, uninterrupted};
use gatehouse_tests::topology::{Topology, Uplink, vip_v4, vip_v6};
use gateway_common::abi::{NoListener, Port, PortCounters, Proto};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use socket2::{Domain, Protocol, Socket, Type};

/// Reject without listener.
pub(crate) const VIPS: [IpAddr; 2] = [vip_v4(10), vip_v6(0x10)];
/// Drop without listener.
pub(crate) const SILENT: [IpAddr; 2] = [vip_v4(11), vip_v6(0x11)];
pub(crate) const HTTPS: u16 = 443;
pub(crate) const DNS: u16 = 5353;
pub(crate) const CLOSED: u16 = 444;

/// Long enough for anything that happens at all.
const PATIENCE: Duration = Duration::from_secs(30);
/// Long enough for a refusal to arrive.
const SILENCE: Duration = Duration::from_millis(300);

/// A reuseport group, of which `SOCKS` knows the first member.
pub(crate) struct Group<T> {
    pub(crate) slot: u32,
    pub(crate) sockets: Vec<T>,
}

pub(crate) struct Node {
    pub(crate) topology: Topology,
    pub(crate) datapath: Datapath,
    pub(crate) tcp: Vec<Group<TcpListener>>,
    pub(crate) udp: Vec<Group<UdpSocket>>,
}

impl Node {
    /// As the kernel likes it best.
    pub(crate) fn new(uplink: Uplink) -> Result<Self> {
        let options = Options::of_this_kernel();
        let mut node = Self::unattached(uplink, options)?;
        node.attach(&[node.topology.device()], options.assign)?;
        Ok(node)
    }

    /// With maps and sockets in place, but no program attached.
    pub(crate) fn unattached(uplink: Uplink, options: Options) -> Result<Self> {
        let topology = Topology::new(uplink)?;
        let mut datapath = Datapath::load(options)?;
        let (mut tcp, mut udp) = (Vec::new(), Vec::new());
        for (index, vip) in (0..).zip(VIPS.into_iter().chain(SILENT)) {
            let no_listener = if SILENT.contains(&vip) { NoListener::Drop } else { NoListener::Reject };
            topology.node.ip(&format!("route add local {vip} dev lo proto 99"))?;
            datapath.set_vip(vip, no_listener)?;
            let slot = 2 * index;
            let group = listeners(&topology.node, slot, vip.is_ipv4())?;
            datapath.set_socket(slot, &group.sockets[0])?;
            datapath.set_port(vip, HTTPS, Proto::Tcp, Port { slot, counter: slot })?;
            tcp.push(group);
            let slot = 2 * index + 1;
            let group = receivers(&topology.node, slot, SocketAddr::new(vip, DNS))?;
            datapath.set_socket(slot, &group.sockets[0])?;
            datapath.set_port(vip, DNS, Proto::Udp, Port { slot, counter: slot })?;
            udp.push(group);
        }
        Ok(Self { topology, datapath, tcp, udp })
    }

    pub(crate) fn attach(&mut self, devices: &[&str], tcx: bool) -> Result<()> {
        let datapath = &mut self.datapath;
        self.topology.node.run(move || {
            for device in devices {
                datapath.attach_ingress(device, tcx)?;
            }
            datapath.attach_lookup(std::fs::File::open("/proc/thread-self/ns/net")?)
        })
    }

    pub(crate) fn tcp_counters(&mut self, vip: usize) -> PortCounters {
        self.datapath.counters(self.tcp[vip].slot).unwrap()
    }

    pub(crate) fn udp_counters(&mut self, vip: usize) -> PortCounters {
        self.datapath.counters(self.udp[vip].slot).unwrap()
    }
}

/// The proxy's TCP sockets of one family.
fn listeners(node: &Netns, slot: u32, v4: bool) -> Result<Group<TcpListener>> {
    let loopback = if v4 { "127.0.0.1:0" } else { "[::1]:0" };
    let mut address: SocketAddr = loopback.parse()?;
    let mut sockets = Vec::new();
    for _ in 0..2 {
        let socket = node.run(|| Socket::new(Domain::for_address(address), Type::STREAM, None))?;
        socket.set_reuse_port(true)?;
        socket.bind(&address.into())?;
        socket.listen(64)?;
        let listener = TcpListener::from(socket);
        address = listener.local_addr()?;
        sockets.push(listener);
    }
    Ok(Group { slot, sockets })
}

/// The proxy's UDP sockets of one VIP port.
fn receivers(node: &Netns, slot: u32, address: SocketAddr) -> Result<Group<UdpSocket>> {
    let mut sockets = Vec::new();
    for _ in 0..2 {
        let socket = node.run(|| Socket::new(Domain::for_address(address), Type::DGRAM, None))?;
        socket.set_reuse_port(true)?;
        if address.is_ipv4() {
            socket.set_freebind_v4(true)?
        } else {
            socket.set_freebind_v6(true)?
        };
        socket.bind(&address.into())?;
        sockets.push(UdpSocket::from(socket));
    }
    Ok(Group { slot, sockets })
}

impl Group<TcpListener> {
    /// The next connection, whichever member gets it; and the member.
    pub(crate) fn accept(&self) -> Result<(TcpStream, SocketAddr, usize)> {
        let mut polled: Vec<_> =
            self.sockets.iter().map(|socket| PollFd::new(socket, PollFlags::IN)).collect();
        ensure!(poll(&mut polled, Some(&timespec()))? > 0, "no connection arrives");
        let member = polled.iter().position(|fd| fd.revents().contains(PollFlags::IN));
        let member = member.context("a listener failed")?;
        let (stream, peer) = self.sockets[member].accept()?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok((stream, peer, member))
    }
}

impl Group<UdpSocket> {
    /// The next datagram, whichever member gets it; and the member.
    pub(crate) fn receive(&self) -> Result<(Vec<u8>, SocketAddr, usize)> {
        let mut polled: Vec<_> =
            self.sockets.iter().map(|socket| PollFd::new(socket, PollFlags::IN)).collect();
        ensure!(poll(&mut polled, Some(&timespec()))? > 0, "no datagram arrives");
        let member = polled.iter().position(|fd| fd.revents().contains(PollFlags::IN));
        let member = member.context("a socket failed")?;
        let mut bytes = vec![0; 65_536];
        let (length, peer) = self.sockets[member].recv_from(&mut bytes)?;
        bytes.truncate(length);
        Ok((bytes, peer, member))
    }
}

fn timespec() -> Timespec {
    Timespec { tv_sec: 10, tv_nsec: 0 }
}

/// A connection from a namespace.
pub(crate) fn connect(from: &Netns, to: SocketAddr) -> io::Result<TcpStream> {
    let stream = from.run(|| TcpStream::connect_timeout(&to, PATIENCE))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    Ok(stream)
}

/// A connection that is expected to fail, and how it does: `TimedOut` stands for silence.
pub(crate) fn refusal(from: &Netns, to: SocketAddr) -> Option<io::ErrorKind> {
    from.run(|| TcpStream::connect_timeout(&to, SILENCE)).err().map(|error| error.kind())
}

/// A datagram that is expected to come back as an error, and how: `WouldBlock` stands for silence.
pub(crate) fn udp_refusal(from: &Netns, to: SocketAddr) -> Option<io::ErrorKind> {
    let socket = client_udp(from, to).unwrap();
    socket.set_read_timeout(Some(SILENCE)).unwrap();
    socket.send(b"x").unwrap();
    receive(&socket, &mut [0; 16]).err().map(|error| error.kind())
}

/// A connected UDP socket of a namespace.
pub(crate) fn client_udp(from: &Netns, to: SocketAddr) -> io::Result<UdpSocket> {
    let any = if to.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let socket = from.run(|| UdpSocket::bind(any))?;
    socket.connect(to)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    Ok(socket)
}

/// Sends `length` bytes and takes them back from the other end.
pub(crate) fn exchange(one: &mut TcpStream, other: &mut TcpStream, length: usize) -> Result<()> {
    let sent: Vec<u8> = (0..=250).cycle().take(length).collect();
    let (mut reader, expected) = (other.try_clone()?, sent.clone());
    std::thread::scope(|scope| {
        let reading = scope.spawn(move || {
            let mut received = vec![0; length];
            reader.read_exact(&mut received)?;
            ensure!(received == expected, "other bytes arrived than were sent");
            Ok(())
        });
        one.write_all(&sent)?;
        reading.join().unwrap_or_else(|panicked| std::panic::resume_unwind(panicked))
    })
}

/// A raw ICMP socket of a namespace, for an echo request.
pub(crate) fn ping(from: &Netns, to: IpAddr) -> Result<()> {
    let (domain, protocol, kind) = match to {
        IpAddr::V4(_) => (Domain::IPV4, Protocol::ICMPV4, 8),
        IpAddr::V6(_) => (Domain::IPV6, Protocol::ICMPV6, 128),
    };
    let socket = from.run(|| Socket::new(domain, Type::RAW, Some(protocol)))?;
    socket.connect(&SocketAddr::new(to, 0).into())?;
    socket.set_read_timeout(Some(PATIENCE))?;
    // Identifier 7, sequence 1. The kernel fills in the checksum of ICMPv6 only.
    let checksum = if to.is_ipv4() { !0x0808_u16 } else { 0 };
    let [high, low] = checksum.to_be_bytes();
    socket.send(&[kind, 0, high, low, 0, 7, 0, 1])?;
    let mut answer = [0; 128];
    loop {
        let read = uninterrupted(Some(PATIENCE), || (&socket).read(&mut answer));
        let length = read.context("no echo")?;
        // IPv4 shows its header to raw sockets.
        let at = if to.is_ipv4() { 20 } else { 0 };
        let reply = if to.is_ipv4() { 0 } else { 129 };
        if length >= at + 8 && answer[at] == reply {
            return Ok(());
        }
    }
}
