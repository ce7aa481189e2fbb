//! `TCP_INFO`: what the kernel knows of a connection, so that the proxy need not count it.
#![expect(unsafe_code, reason = "getsockopt(TCP_INFO) has no safe wrapper")]

use std::mem::{MaybeUninit, size_of};
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TcpInfo {
    pub rtt_us: u32,
    pub bytes_received: u64,
    /// Acknowledged by the peer.
    pub bytes_sent: u64,
    /// Something that was sent is not acknowledged yet.
    pub undelivered: bool,
    /// Reset by the peer, or given up.
    pub closed: bool,
}

/// `TCP_CLOSE` of the kernel's `tcp_states.h`.
const CLOSED: u8 = 7;

impl TcpInfo {
    pub fn of(socket: BorrowedFd<'_>) -> Option<Self> {
        Self::of_number(socket.as_raw_fd())
    }

    /// By number: a closed descriptor gives None, one that was reused gives another connection's figures.
    pub(super) fn of_number(socket: RawFd) -> Option<Self> {
        let mut info = MaybeUninit::<libc::tcp_info>::zeroed();
        let mut length = size_of::<libc::tcp_info>() as libc::socklen_t;
        // SAFETY: the kernel writes at most `length` bytes to `info`, which is that long.
        let result = unsafe {
            libc::getsockopt(
                socket,
                libc::IPPROTO_TCP,
                libc::TCP_INFO,
                info.as_mut_ptr().cast(),
                &raw mut length,
            )
        };
        if result != 0 {
            return None;
        }
        // SAFETY: all fields are integers, and what an older kernel did not write is zero.
        let info = unsafe { info.assume_init() };
        Some(Self {
            rtt_us: info.tcpi_rtt,
            bytes_received: info.tcpi_bytes_received,
            bytes_sent: info.tcpi_bytes_acked,
            undelivered: info.tcpi_unacked > 0 || info.tcpi_notsent_bytes > 0,
            closed: info.tcpi_state == CLOSED,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};
    use std::os::fd::AsFd;

    use super::*;

    #[test]
    fn a_reset_closes_and_the_end_of_one_side_does_not() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let is_closed = |client: TcpStream, linger: Option<std::time::Duration>| {
            let (mut server, _) = listener.accept().unwrap();
            server.set_read_timeout(Some(std::time::Duration::from_secs(10))).unwrap();
            socket2::SockRef::from(&client).set_linger(linger).unwrap();
            drop(client);
            let mut rest = Vec::new();
            let _end = server.read_to_end(&mut rest);
            TcpInfo::of(server.as_fd()).unwrap().closed
        };
        let connect = || TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        assert!(is_closed(connect(), Some(std::time::Duration::ZERO)));
        assert!(!is_closed(connect(), None));
    }

    #[test]
    fn the_kernel_counts_the_bytes() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (mut server, _) = listener.accept().unwrap();
        client.write_all(b"hello").unwrap();
        server.read_exact(&mut [0; 5]).unwrap();
        assert_eq!(TcpInfo::of(server.as_fd()).unwrap().bytes_received, 5);
        assert_eq!(TcpInfo::of(std::io::stdin().as_fd()), None);
    }
}
