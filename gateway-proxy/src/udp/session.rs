//! One UDP session: a client's datagrams to one VIP and port, and a connected socket to one endpoint.

use std::cell::Cell;
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::rc::{Rc, Weak};

use gateway_common::ir::{BackendId, RouteId};
use rustix::io::Errno;
use rustix::net::{SendAncillaryBuffer, SendFlags};
use tokio::net::UdpSocket;
use tokio::sync::Notify;

use super::Vip;
use crate::access_log::Reason;
use crate::connections::Handle;
use crate::upstream::{Lease, Open};

pub(super) struct Session {
    pub(super) client: SocketAddr,
    pub(super) route: RouteId,
    pub(super) backend: BackendId,
    pub(super) handle: Handle,
    vip: Weak<Vip>,
    socket: UdpSocket,
    lease: Lease,
    open: Open,
    /// Goes before each datagram: a PROXY header, or nothing.
    header: Vec<u8>,
    used: Cell<u64>,
    answered: Cell<bool>,
    ended: Cell<Option<Reason>>,
    end: Notify,
}

/// What a session begins with.
pub(super) struct Beginning {
    pub(super) client: SocketAddr,
    pub(super) route: RouteId,
    pub(super) backend: BackendId,
    pub(super) handle: Handle,
    pub(super) lease: Lease,
    pub(super) header: Vec<u8>,
    pub(super) open: Open,
    pub(super) now: u64,
}

/// What became of a datagram.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Sent {
    Passed,
    /// The socket is full or the datagram too long: lost, as in any network.
    Lost,
    /// The endpoint's host said that nobody is there.
    Unreachable,
}

impl Session {
    pub(super) fn connect(vip: &Rc<Vip>, from: Beginning) -> io::Result<Rc<Self>> {
        let address = from.lease.address();
        let domain = socket2::Domain::for_address(address);
        let kind = socket2::Type::DGRAM.nonblocking().cloexec();
        let socket = socket2::Socket::new(domain, kind, Some(socket2::Protocol::UDP))?;
        socket.connect(&address.into())?;
        from.handle.backend.set(Some(address));
        Ok(Rc::new(Self {
            client: from.client,
            route: from.route,
            backend: from.backend,
            handle: from.handle,
            vip: Rc::downgrade(vip),
            socket: UdpSocket::from_std(socket.into())?,
            open: from.open,
            lease: from.lease,
            header: from.header,
            used: Cell::new(from.now),
            answered: Cell::new(false),
            ended: Cell::new(None),
            end: Notify::new(),
        }))
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.lease.address()
    }

    /// When a datagram passed in either direction, in milliseconds of the worker's clock.
    pub(super) fn used(&self) -> u64 {
        self.used.get()
    }

    pub(super) fn is_answered(&self) -> bool {
        self.answered.get()
    }

    pub(super) fn is_ended(&self) -> bool {
        self.ended.get().is_some()
    }

    /// Takes the session out of the tables at once; its task does the rest.
    pub(super) fn end(&self, reason: Reason) {
        if self.ended.get().is_some() {
            return;
        }
        self.ended.set(Some(reason));
        if let Some(vip) = self.vip.upgrade() {
            vip.forget(self.client);
        }
        self.end.notify_one();
    }

    /// Waits for the end.
    pub(super) async fn ended(&self) -> Reason {
        loop {
            if let Some(reason) = self.ended.get() {
                return reason;
            }
            self.end.notified().await;
        }
    }

    pub(super) fn send(&self, datagram: &[u8], now: u64) -> Sent {
        self.used.set(now);
        // Not by the reactor, which does not know yet that a new socket can be written.
        let slices = [IoSlice::new(&self.header), IoSlice::new(datagram)];
        let parts = if self.header.is_empty() { &slices[1..] } else { &slices[..] };
        let mut none = SendAncillaryBuffer::new(&mut []);
        match rustix::net::sendmsg(self.socket.as_fd(), parts, &mut none, SendFlags::DONTWAIT) {
            Ok(_) => {
                self.handle.bytes_in.set(self.handle.bytes_in.get() + datagram.len() as u64);
                Sent::Passed
            }
            Err(error) if is_unreachable(error) => {
                self.failed(now);
                Sent::Unreachable
            }
            Err(_) => Sent::Lost,
        }
    }

    fn failed(&self, now: u64) {
        if self.lease.endpoint().failed(now) {
            self.open.backend().ejections.increment();
        }
    }

    pub(super) async fn readable(&self) {
        // An error shows when it is read.
        let _ = self.socket.readable().await;
    }

    /// The next answer, None when there is none now, or an error when nobody is there.
    pub(super) fn receive(&self, buffer: &mut [u8], now: u64) -> Result<Option<usize>, Sent> {
        match self.socket.try_recv(buffer) {
            Ok(count) => {
                self.used.set(now);
                if !self.answered.replace(true) {
                    self.lease.endpoint().connected();
                }
                self.handle.bytes_out.set(self.handle.bytes_out.get() + count as u64);
                Ok(Some(count))
            }
            Err(error) if Errno::from_io_error(&error).is_some_and(is_unreachable) => {
                self.failed(now);
                Err(Sent::Unreachable)
            }
            // Anything else concerns one datagram; its readiness is cleared or its error is read.
            Err(_) => Ok(None),
        }
    }
}

/// ICMP errors of a connected socket.
fn is_unreachable(error: Errno) -> bool {
    matches!(error, Errno::CONNREFUSED | Errno::HOSTUNREACH | Errno::NETUNREACH)
}
