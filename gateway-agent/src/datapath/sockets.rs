//! The listening sockets: opened by the agent, or taken back from a proxy that outlived the agent's predecessor.
//!
//! Adopt before opening: a second group for a UDP address would join the first one's reuseport group, and a proxy that
//! holds only one of them would answer only a part of the datagrams.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use gateway_common::ir::{Family, SocketId};
use rustix::net::sockopt;
use socket2::{Domain, Protocol, SockAddr, Socket, Type};

pub mod holder;
mod option;

/// The groups that the agent holds.
pub type Sockets = BTreeMap<SocketId, Group>;

/// One reuseport group: a socket per proxy worker, all bound to the same address.
#[derive(Debug)]
pub struct Group {
    members: Vec<OwnedFd>,
    address: SocketAddr,
    cookie: u64,
}

#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    #[error("{call} for {id}: {source}")]
    Call { id: SocketId, call: &'static str, source: io::Error },
    #[error(
        "bind {address} for {id}: the port is taken{holder}; stop that process or give the listener another port"
    )]
    Taken { id: SocketId, address: SocketAddr, holder: holder::Holders },
    #[error("a group of sockets for {id} needs at least one member")]
    Empty { id: SocketId },
    #[error("descriptor {index} handed over for {id} is not usable: {problem}")]
    Unfit { id: SocketId, index: usize, problem: Unfit },
}

/// Why a descriptor from a proxy is not what it is said to be.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Unfit {
    #[error("it is no socket ({0})")]
    NoSocket(String),
    #[error("its type or family is another one")]
    Kind,
    #[error("it does not listen")]
    NotListening,
    #[error("SO_REUSEPORT is not set")]
    NoReuseport,
    #[error("it is bound to {bound}, expected {expected}")]
    Address { bound: String, expected: String },
}

impl Group {
    /// Opens `workers` sockets for this id.
    pub fn open(id: &SocketId, workers: usize) -> Result<Self, SocketError> {
        let mut members = Vec::with_capacity(workers);
        let mut address = bind_address(id);
        for _ in 0..workers {
            let socket = open_one(id, address)?;
            address = local_address(&socket).map_err(|source| call(id, "getsockname", source))?;
            members.push(OwnedFd::from(socket));
        }
        Self::of(id, members, address)
    }

    /// Takes over sockets that a proxy says are this group. The proxy is unprivileged: what it hands over is checked before
    /// traffic is sent there.
    pub fn adopt(id: &SocketId, members: Vec<OwnedFd>) -> Result<Self, SocketError> {
        let mut address = None;
        for (index, member) in members.iter().enumerate() {
            let bound = verify(id, member.as_fd(), address).map_err(|problem| SocketError::Unfit {
                id: id.clone(),
                index,
                problem,
            })?;
            address = Some(bound);
        }
        let address = address.ok_or_else(|| SocketError::Empty { id: id.clone() })?;
        Self::of(id, members, address)
    }

    fn of(id: &SocketId, members: Vec<OwnedFd>, address: SocketAddr) -> Result<Self, SocketError> {
        let first = members.first().ok_or_else(|| SocketError::Empty { id: id.clone() })?;
        let cookie = sockopt::socket_cookie(first).map_err(|source| call(id, "SO_COOKIE", source.into()))?;
        Ok(Self { members, address, cookie })
    }

    /// The sockets in the order of the workers that use them.
    pub fn members(&self) -> impl ExactSizeIterator<Item = BorrowedFd<'_>> {
        self.members.iter().map(AsFd::as_fd)
    }

    /// The member that stands for the group in `SOCKS`; the kernel spreads over the others.
    pub(super) fn first(&self) -> BorrowedFd<'_> {
        self.members[0].as_fd()
    }

    /// What all members are bound to.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// The kernel's name for the first member (`ss -e` shows it as `sk`).
    pub const fn cookie(&self) -> u64 {
        self.cookie
    }
}

/// The cookies of all groups, as the plan wants them.
pub fn cookies(sockets: &Sockets) -> BTreeMap<SocketId, u64> {
    sockets.iter().map(|(id, group)| (id.clone(), group.cookie())).collect()
}

const fn bind_address(id: &SocketId) -> SocketAddr {
    match id {
        SocketId::Tcp { family: Family::V4, .. } => SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0),
        SocketId::Tcp { family: Family::V6, .. } => SocketAddr::new(IpAddr::V6(Ipv6Addr::LOCALHOST), 0),
        SocketId::Udp { address, .. } => *address,
    }
}

const fn is_tcp(id: &SocketId) -> bool {
    matches!(id, SocketId::Tcp { .. })
}

fn call(id: &SocketId, call: &'static str, source: io::Error) -> SocketError {
    SocketError::Call { id: id.clone(), call, source }
}

fn open_one(id: &SocketId, address: SocketAddr) -> Result<Socket, SocketError> {
    let step = |name| move |source| call(id, name, source);
    let (kind, protocol) =
        if is_tcp(id) { (Type::STREAM, Protocol::TCP) } else { (Type::DGRAM, Protocol::UDP) };
    let domain = Domain::for_address(address);
    let socket = Socket::new(domain, kind.nonblocking().cloexec(), Some(protocol)).map_err(step("socket"))?;
    socket.set_reuse_port(true).map_err(step("SO_REUSEPORT"))?;
    if domain == Domain::IPV6 {
        socket.set_only_v6(true).map_err(step("IPV6_V6ONLY"))?;
    }
    if !is_tcp(id) {
        // The VIP is no address of any device, and the answer must leave from it.
        option::prepare_udp(&socket, domain == Domain::IPV6)
            .map_err(|(name, source)| call(id, name, source))?;
    }
    match socket.bind(&SockAddr::from(address)) {
        Err(e) if e.kind() == io::ErrorKind::AddrInUse => {
            let holder = holder::Holders::find(address, is_tcp(id));
            return Err(SocketError::Taken { id: id.clone(), address, holder });
        }
        bound => bound.map_err(step("bind"))?,
    }
    if is_tcp(id) {
        // Connections inherit it. Without it a server of the node could not bind its wildcard port while a VIP has a
        // connection on the same one. Not before bind, which would let the kernel choose a port that is shared already.
        socket.set_reuse_address(true).map_err(step("SO_REUSEADDR"))?;
        // The kernel cuts it to net.core.somaxconn.
        socket.listen(i32::from(u16::MAX)).map_err(step("listen"))?;
    }
    Ok(socket)
}

fn local_address(socket: &Socket) -> io::Result<SocketAddr> {
    socket.local_addr()?.as_socket().ok_or_else(|| io::Error::other("no IP address"))
}

/// Checks one descriptor; `group`: what the members before it are bound to.
fn verify(id: &SocketId, fd: BorrowedFd<'_>, group: Option<SocketAddr>) -> Result<SocketAddr, Unfit> {
    let no_socket = |e: rustix::io::Errno| Unfit::NoSocket(e.to_string());
    let expected = bind_address(id);
    let (kind, protocol) = if is_tcp(id) {
        (rustix::net::SocketType::STREAM, rustix::net::ipproto::TCP)
    } else {
        (rustix::net::SocketType::DGRAM, rustix::net::ipproto::UDP)
    };
    let family =
        if expected.is_ipv4() { rustix::net::AddressFamily::INET } else { rustix::net::AddressFamily::INET6 };
    if sockopt::socket_type(fd).map_err(no_socket)? != kind
        || sockopt::socket_protocol(fd).map_err(no_socket)? != Some(protocol)
        || sockopt::socket_domain(fd).map_err(no_socket)? != family
    {
        return Err(Unfit::Kind);
    }
    if is_tcp(id) && !sockopt::socket_acceptconn(fd).map_err(no_socket)? {
        return Err(Unfit::NotListening);
    }
    if !sockopt::socket_reuseport(fd).map_err(no_socket)? {
        return Err(Unfit::NoReuseport);
    }
    let bound: SocketAddr =
        rustix::net::getsockname(fd).map_err(no_socket)?.try_into().map_err(|_| Unfit::Kind)?;
    let fits = match group {
        Some(address) => bound == address,
        // TCP groups take whatever port the kernel gave them.
        None => bound.ip() == expected.ip() && (is_tcp(id) && bound.port() != 0 || bound == expected),
    };
    if fits {
        Ok(bound)
    } else {
        let expected = group.unwrap_or(expected).to_string();
        Err(Unfit::Address { bound: bound.to_string(), expected })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use gateway_common::ir::GatewayId;
    use std::net::{TcpListener, TcpStream, UdpSocket};

    fn tcp(family: Family) -> SocketId {
        SocketId::Tcp { gateway: GatewayId::new("ns/web"), family }
    }

    fn udp(address: &str) -> SocketId {
        SocketId::Udp { gateway: GatewayId::new("ns/dns"), address: address.parse().unwrap() }
    }

    #[test]
    fn a_tcp_group_shares_one_loopback_port_and_accepts() {
        for family in [Family::V4, Family::V6] {
            let group = Group::open(&tcp(family), 3).unwrap();
            assert!(group.address().ip().is_loopback());
            assert_ne!(group.address().port(), 0);
            let names: Vec<_> = group.members().map(|fd| rustix::net::getsockname(fd).unwrap()).collect();
            assert!(names.windows(2).all(|pair| pair[0] == pair[1]), "{names:?}");
            TcpStream::connect(group.address()).unwrap();
        }
    }

    #[test]
    fn a_udp_group_is_bound_to_an_address_that_no_device_has() {
        for address in ["203.0.113.77:5353", "[2001:db8::77]:5353"] {
            let group = Group::open(&udp(address), 2).unwrap();
            assert_eq!(group.address(), address.parse().unwrap());
            assert_eq!(group.members().len(), 2);
        }
    }

    #[test]
    fn its_own_groups_are_adopted_with_the_same_cookie() {
        for id in [tcp(Family::V4), tcp(Family::V6), udp("203.0.113.78:5353")] {
            let group = Group::open(&id, 2).unwrap();
            let passed = group.members().map(|fd| fd.try_clone_to_owned().unwrap()).collect();
            let adopted = Group::adopt(&id, passed).unwrap();
            assert_eq!((adopted.cookie(), adopted.address()), (group.cookie(), group.address()));
        }
    }

    fn refused(id: &SocketId, fds: Vec<OwnedFd>) -> Unfit {
        match Group::adopt(id, fds).unwrap_err() {
            SocketError::Unfit { problem, .. } => problem,
            other @ (SocketError::Call { .. } | SocketError::Taken { .. } | SocketError::Empty { .. }) => {
                panic!("{other}")
            }
        }
    }

    #[test]
    fn what_is_no_such_group_is_refused() {
        let id = tcp(Family::V4);
        let plain = |listener: TcpListener| vec![OwnedFd::from(listener)];
        assert_eq!(refused(&id, plain(TcpListener::bind("127.0.0.1:0").unwrap())), Unfit::NoReuseport);
        assert_eq!(refused(&id, plain(TcpListener::bind("[::1]:0").unwrap())), Unfit::Kind);
        assert_eq!(refused(&id, vec![UdpSocket::bind("127.0.0.1:0").unwrap().into()]), Unfit::Kind);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        assert_eq!(refused(&id, vec![stream.into()]), Unfit::NotListening);
        let file = std::fs::File::open("/dev/null").unwrap();
        assert!(matches!(refused(&id, vec![file.into()]), Unfit::NoSocket(_)));
        assert!(matches!(Group::adopt(&id, vec![]), Err(SocketError::Empty { .. })));

        let a = Group::open(&id, 1).unwrap();
        let b = Group::open(&id, 1).unwrap();
        let mixed = [&a, &b].map(|group| group.first().try_clone_to_owned().unwrap());
        assert!(matches!(refused(&id, mixed.into()), Unfit::Address { .. }));

        let other = Group::open(&udp("203.0.113.79:5353"), 1).unwrap();
        let passed = vec![other.first().try_clone_to_owned().unwrap()];
        assert!(matches!(refused(&udp("203.0.113.80:5353"), passed), Unfit::Address { .. }));
    }

    #[test]
    fn a_taken_port_names_its_holder() {
        let foreign = UdpSocket::bind("127.0.0.1:0").unwrap();
        let id = udp(&foreign.local_addr().unwrap().to_string());
        let error = Group::open(&id, 1).unwrap_err();
        assert!(matches!(error, SocketError::Taken { .. }), "{error}");
        assert!(error.to_string().contains(&format!("pid {}", std::process::id())), "{error}");
    }
}
