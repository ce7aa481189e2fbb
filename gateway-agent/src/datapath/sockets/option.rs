//! Socket options that neither socket2 nor rustix can set.
#![expect(unsafe_code, reason = "setsockopt(2) of options that no safe wrapper has")]

use std::io;
use std::os::fd::AsRawFd;

use libc::c_int;
use socket2::Socket;

/// Lets a datagram socket bind to a VIP and tell which address a datagram came for.
pub(super) fn prepare_udp(socket: &Socket, v6: bool) -> Result<(), (&'static str, io::Error)> {
    let options: &[(&str, c_int, c_int)] = if v6 {
        &[
            ("IPV6_FREEBIND", libc::IPPROTO_IPV6, libc::IPV6_FREEBIND),
            ("IPV6_RECVPKTINFO", libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO),
            ("IPV6_RECVORIGDSTADDR", libc::IPPROTO_IPV6, libc::IPV6_RECVORIGDSTADDR),
        ]
    } else {
        &[
            ("IP_FREEBIND", libc::IPPROTO_IP, libc::IP_FREEBIND),
            ("IP_PKTINFO", libc::IPPROTO_IP, libc::IP_PKTINFO),
            ("IP_RECVORIGDSTADDR", libc::IPPROTO_IP, libc::IP_RECVORIGDSTADDR),
        ]
    };
    for (name, level, option) in options {
        enable(socket, *level, *option).map_err(|e| (*name, e))?;
    }
    Ok(())
}

fn enable(socket: &Socket, level: c_int, option: c_int) -> io::Result<()> {
    let on: c_int = 1;
    let length = size_of::<c_int>() as libc::socklen_t;
    // SAFETY: the pointer and length name an integer that lives through the call.
    let result =
        unsafe { libc::setsockopt(socket.as_raw_fd(), level, option, (&raw const on).cast(), length) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
