//! What fits through to the client and to the endpoints, as the kernel knows it: asked of a datagram socket that sends
//! nothing.
#![expect(unsafe_code, reason = "getsockopt(2) of IP_MTU, which no safe wrapper has")]

use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::os::fd::AsRawFd as _;

use libc::c_int;

use super::chain::{Endpoint, PathMtu};

pub(super) fn path(from: Option<IpAddr>, endpoints: &[Endpoint]) -> PathMtu {
    let to = |address: SocketAddr| Some((address, ask(address).ok()?));
    let deaf = std::fs::read_to_string("/proc/sys/net/ipv4/ip_no_pmtu_disc");
    PathMtu {
        client: from.and_then(|ip| Some((ip, ask(SocketAddr::new(ip, 9)).ok()?))),
        endpoints: endpoints.iter().filter_map(|endpoint| to(endpoint.address)).collect(),
        deaf: deaf.is_ok_and(|text| text.trim() != "0"),
    }
}

/// The path MTU towards an address (ip(7), ipv6(7)).
fn ask(to: SocketAddr) -> io::Result<u32> {
    let any: IpAddr = if to.is_ipv4() { [0; 4].into() } else { [0u16; 8].into() };
    let socket = UdpSocket::bind((any, 0))?;
    socket.connect(to)?;
    let (level, option) = match to {
        SocketAddr::V4(_) => (libc::IPPROTO_IP, libc::IP_MTU),
        SocketAddr::V6(_) => (libc::IPPROTO_IPV6, libc::IPV6_MTU),
    };
    let mut mtu: c_int = 0;
    let mut length = size_of::<c_int>() as libc::socklen_t;
    // SAFETY: both pointers name variables that live through the call, the length is the first one's.
    let result = unsafe {
        libc::getsockopt(socket.as_raw_fd(), level, option, (&raw mut mtu).cast(), &raw mut length)
    };
    if result != 0 {
        return Err(io::Error::last_os_error());
    }
    u32::try_from(mtu).map_err(io::Error::other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_carries_more_than_ethernet() {
        for to in ["127.0.0.1:9", "[::1]:9"] {
            assert!(ask(to.parse().unwrap()).unwrap() > 1500, "{to}");
        }
    }
}
