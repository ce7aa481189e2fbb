//! A node that serves VIPs without a proxy: the agent's datapath and routes, and threads that tell each client by which
//! addresses it came.

use std::collections::BTreeSet;
use std::io::{self, Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use gateway_agent::announce::Announcer;
use gateway_agent::datapath::sockets::{Group, Sockets};
use gateway_agent::datapath::{Config, Datapath};
use gateway_agent::desired::{self, VipPort};
use gateway_agent::device::Globs;
use gateway_common::abi::{NoListener, Proto};
use gateway_common::ir::{Family, GatewayId, SocketId};
use rustix::net::{Shutdown, shutdown};

use crate::netns::Netns;

/// Members of each group of sockets.
const WORKERS: usize = 2;
/// Long enough for a loaded machine; a connection that is lost costs it once.
pub const PATIENCE: Duration = Duration::from_secs(5);

/// Who a connection or datagram came from and went to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Seen {
    /// As the client's own socket has it.
    pub client: SocketAddr,
    /// As the accepting side sees it.
    pub peer: SocketAddr,
    /// The local address on the accepting side.
    pub local: SocketAddr,
}

/// One Gateway with VIPs of both families, each with a TCP and a UDP port.
#[derive(Clone, Debug)]
pub struct Vips {
    pub gateway: &'static str,
    pub addresses: Vec<IpAddr>,
    pub tcp: Vec<u16>,
    pub udp: Vec<u16>,
}

impl Vips {
    pub fn desired(&self) -> desired::Datapath {
        let mut desired = desired::Datapath::default();
        let gateway = GatewayId::new(self.gateway);
        for address in &self.addresses {
            let vip = desired::Vip { gateway: gateway.clone(), no_listener: NoListener::Reject };
            desired.vips.insert(*address, vip);
            let family = if address.is_ipv4() { Family::V4 } else { Family::V6 };
            for port in &self.tcp {
                let key = VipPort { address: *address, port: *port, proto: Proto::Tcp };
                desired.ports.insert(key, SocketId::Tcp { gateway: gateway.clone(), family });
            }
            for port in &self.udp {
                let key = VipPort { address: *address, port: *port, proto: Proto::Udp };
                let address = SocketAddr::new(*address, *port);
                desired.ports.insert(key, SocketId::Udp { gateway: gateway.clone(), address });
            }
        }
        desired
    }
}

/// Sockets of a node, and the threads that answer on them.
pub struct Answering {
    pub sockets: Sockets,
    threads: Vec<JoinHandle<()>>,
}

impl Answering {
    /// Opens what `desired` needs, inside `node`.
    pub fn start(node: &Netns, desired: &desired::Datapath) -> Result<Self> {
        let ids = desired.sockets();
        let open = || ids.into_iter().map(|id| Group::open(&id, WORKERS).map(|group| (id, group)));
        let sockets: Sockets = node.run(|| open().collect::<Result<_, _>>())?;
        let mut threads = Vec::new();
        for (id, group) in &sockets {
            for member in group.members() {
                let fd = member.try_clone_to_owned()?;
                // The descriptors of the group share this flag; only these threads use them.
                rustix::io::ioctl_fionbio(&fd, false)?;
                threads.push(match id {
                    SocketId::Tcp { .. } => thread::spawn(|| answer_tcp(&TcpListener::from(fd))),
                    SocketId::Udp { address, .. } => {
                        let local = *address;
                        thread::spawn(move || answer_udp(&UdpSocket::from(fd), local))
                    }
                });
            }
        }
        Ok(Self { sockets, threads })
    }
}

impl Drop for Answering {
    fn drop(&mut self) {
        for member in self.sockets.values().flat_map(Group::members) {
            // Wakes the thread; a datagram socket says it is not connected and wakes all the same.
            let _unused = shutdown(member, Shutdown::Both);
        }
        for thread in self.threads.drain(..) {
            let _unused = thread.join();
        }
    }
}

fn answer_tcp(listener: &TcpListener) {
    while let Ok((mut stream, peer)) = listener.accept() {
        if let Ok(local) = stream.local_addr() {
            // The client may have gone.
            let _unused = write!(stream, "{peer} {local}");
        }
    }
}

fn answer_udp(socket: &UdpSocket, local: SocketAddr) {
    let mut buffer = [0; 64];
    while let Ok((length, peer)) = socket.recv_from(&mut buffer) {
        if length == 0 {
            return;
        }
        let _unused = socket.send_to(format!("{peer} {local}").as_bytes(), peer);
    }
}

/// Opens the datapath in `node` over whatever pins are there.
pub fn open(node: &Netns, config: &Config) -> Result<Datapath> {
    let config = Config { pin_root: node.bpffs().join("gatehouse"), ..config.clone() };
    Ok(node.run(|| Datapath::open(&config))?)
}

/// Makes kernel and routes of `node` what `desired` says; the devices are chosen as the agent chooses them.
pub fn apply(
    node: &Netns,
    datapath: &mut Datapath,
    desired: &desired::Datapath,
    sockets: &Sockets,
    globs: &Globs,
) -> Result<Vec<String>> {
    let vips: BTreeSet<IpAddr> = desired.vips.keys().copied().collect();
    node.block_on(async || {
        let announcer = Announcer::open()?;
        let devices = announcer.devices().await?;
        let chosen = globs.select(&devices);
        datapath.repair()?;
        let problems = datapath.set_devices(chosen.iter().copied());
        ensure!(problems.is_empty(), "devices: {problems:?}");
        let withdrawn = announcer.withdraw(&vips).await?;
        let outcome = datapath.reconcile(desired, sockets)?;
        ensure!(
            outcome.vips.is_empty() && outcome.ports.is_empty() && outcome.sockets.is_empty(),
            "maps: {outcome:?}"
        );
        let installed = announcer.install(&vips).await?;
        ensure!(withdrawn.problems.is_empty() && installed.problems.is_empty(), "routes: {installed:?}");
        Ok(chosen.iter().map(|device| device.name.clone()).collect())
    })
}

/// One connection from where the thread is; what both sides saw of it.
pub fn connect(vip: SocketAddr) -> Result<Seen> {
    let mut stream = TcpStream::connect_timeout(&vip, PATIENCE).context("connect")?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let client = stream.local_addr()?;
    let mut text = String::new();
    stream.read_to_string(&mut text).context("read the answer")?;
    parse(&text, client)
}

/// One datagram and its answer.
pub fn exchange(vip: SocketAddr) -> Result<Seen> {
    let (client, answer) = datagram(vip)?;
    parse(std::str::from_utf8(&answer)?, client)
}

/// One datagram: the address that it was sent from, and its answer.
pub fn datagram(vip: SocketAddr) -> Result<(SocketAddr, Vec<u8>)> {
    let any: IpAddr = if vip.is_ipv4() { [0; 4].into() } else { [0u16; 8].into() };
    let socket = UdpSocket::bind((any, 0))?;
    // Connected: an answer from another address than the VIP would not arrive.
    socket.connect(vip).context("connect")?;
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.send(b"?").context("send")?;
    let mut buffer = vec![0; 256];
    let length = receive(&socket, &mut buffer).context("receive the answer")?;
    buffer.truncate(length);
    Ok((socket.local_addr()?, buffer))
}

/// Receives from a socket with a timeout.
pub fn receive(socket: &UdpSocket, buffer: &mut [u8]) -> io::Result<usize> {
    uninterrupted(socket.read_timeout()?, || socket.recv(buffer))
}

/// Goes on reading from a socket with this timeout. Such a wait ends with EINTR when the process was stopped or frozen,
/// without any signal handler: signal(7).
pub fn uninterrupted(
    limit: Option<Duration>,
    mut read: impl FnMut() -> io::Result<usize>,
) -> io::Result<usize> {
    let begun = Instant::now();
    loop {
        match read() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {
                if limit.is_some_and(|limit| begun.elapsed() >= limit) {
                    return Err(io::ErrorKind::WouldBlock.into());
                }
            }
            read => return read,
        }
    }
}

fn parse(text: &str, client: SocketAddr) -> Result<Seen> {
    let (peer, local) = text.split_once(' ').with_context(|| format!("answered by a stranger: {text:?}"))?;
    Ok(Seen { client, peer: peer.parse()?, local: local.parse()? })
}
