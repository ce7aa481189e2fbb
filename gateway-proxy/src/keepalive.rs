//! When a peer that went without a word, because its machine or the network did, is given up.

use std::io;
use std::os::fd::AsFd;
use std::time::Duration;

use gateway_common::ir::BackendProtocol;
use socket2::{SockRef, TcpKeepalive};

/// Without a byte from the peer until it is asked.
const QUIET: Duration = Duration::from_secs(60);
const INTERVAL: Duration = Duration::from_secs(15);
const PROBES: u32 = 4;
/// For the acknowledgement of what was sent on an HTTP/2 connection to a backend. New requests go to such a connection as
/// long as nobody knows that it is dead, and the kernel alone would try for 15 minutes (`tcp_retries2`). Elsewhere it would
/// end connections whose peer pauses: the limit counts while the peer's window is closed, too (tcp(7)).
const UNACKNOWLEDGED: Duration = Duration::from_secs(30);

/// Sets what the connections that `socket` accepts are born with, so that none costs a system call.
pub fn listener(socket: &impl AsFd) -> io::Result<()> {
    let socket = SockRef::from(socket);
    socket.set_tcp_keepalive(&probing())?;
    socket.set_tcp_nodelay(true)
}

/// Sets up a connection to a backend.
pub fn backend(socket: &impl AsFd, protocol: BackendProtocol) -> io::Result<()> {
    let socket = SockRef::from(socket);
    socket.set_tcp_nodelay(true)?;
    socket.set_tcp_keepalive(&probing())?;
    match protocol {
        BackendProtocol::Http1 => Ok(()),
        BackendProtocol::H2c => socket.set_tcp_user_timeout(Some(UNACKNOWLEDGED)),
    }
}

fn probing() -> TcpKeepalive {
    TcpKeepalive::new().with_time(QUIET).with_interval(INTERVAL).with_retries(PROBES)
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn accepted_connections_are_born_with_it() {
        let bound = TcpListener::bind("127.0.0.1:0").unwrap();
        listener(&bound).unwrap();
        let client = TcpStream::connect(bound.local_addr().unwrap()).unwrap();
        let (server, _) = bound.accept().unwrap();
        let socket = SockRef::from(&server);
        assert!(socket.keepalive().unwrap() && socket.tcp_nodelay().unwrap());
        assert_eq!(socket.tcp_keepalive_time().unwrap(), QUIET);
        assert!(!SockRef::from(&client).keepalive().unwrap());
    }

    #[test]
    fn only_shared_connections_are_given_up_for_want_of_an_acknowledgement() {
        let bound = TcpListener::bind("127.0.0.1:0").unwrap();
        for (protocol, want) in [(BackendProtocol::Http1, None), (BackendProtocol::H2c, Some(UNACKNOWLEDGED))]
        {
            let stream = TcpStream::connect(bound.local_addr().unwrap()).unwrap();
            backend(&stream, protocol).unwrap();
            let socket = SockRef::from(&stream);
            assert!(socket.keepalive().unwrap());
            assert_eq!(socket.tcp_user_timeout().unwrap(), want);
        }
    }
}
