//! The live connections and UDP sessions of one worker. Never shared: the admin thread asks the worker for a list.

mod tcp_info;

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::ops::Deref;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use gateway_common::admin;

pub use tcp_info::TcpInfo;

use crate::access_log::Reason;
use crate::metrics;

/// What `gatectl conn list` shows as protocol.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Protocol {
    Http1,
    Http2,
    Tls,
    Tcp,
    Udp,
}

/// One worker's connections.
#[derive(Debug)]
pub struct Connections {
    worker: usize,
    slots: RefCell<Slots>,
}

#[derive(Default, Debug)]
struct Slots {
    entries: Vec<Option<Rc<Entry>>>,
    free: Vec<usize>,
}

/// What is known of one connection. Counting costs an increment without a lock.
#[derive(Debug)]
pub struct Entry {
    pub port: Arc<metrics::Port>,
    pub vip: SocketAddr,
    pub opened: Instant,
    pub protocol: Cell<Protocol>,
    /// The peer, or what its PROXY header said.
    pub client: Cell<SocketAddr>,
    /// The endpoint used last.
    pub backend: Cell<Option<SocketAddr>>,
    pub requests: Cell<u64>,
    /// Counted here for UDP; the kernel counts for TCP.
    pub bytes_in: Cell<u64>,
    pub bytes_out: Cell<u64>,
    socket: Option<RawFd>,
}

/// Keeps the entry listed; drop it before the socket or together with it.
#[derive(Debug)]
pub struct Handle {
    connections: Rc<Connections>,
    slot: usize,
    entry: Rc<Entry>,
}

/// Entries written down before other tasks get their turn.
const BATCH: usize = 256;

impl Connections {
    pub fn new(worker: usize) -> Rc<Self> {
        Rc::new(Self { worker, slots: RefCell::default() })
    }

    /// Lists and counts a connection that was accepted on `vip`. `socket` is the client's, for TCP.
    pub fn open(
        self: &Rc<Self>,
        port: Arc<metrics::Port>,
        protocol: Protocol,
        client: SocketAddr,
        vip: SocketAddr,
        socket: Option<BorrowedFd<'_>>,
    ) -> Handle {
        port.of(self.worker).opened.increment();
        let entry = Rc::new(Entry {
            port,
            vip,
            opened: Instant::now(),
            protocol: Cell::new(protocol),
            client: Cell::new(client),
            backend: Cell::new(None),
            requests: Cell::new(0),
            bytes_in: Cell::new(0),
            bytes_out: Cell::new(0),
            socket: socket.map(|fd| fd.as_raw_fd()),
        });
        let mut slots = self.slots.borrow_mut();
        let slot = slots.free.pop().unwrap_or_else(|| {
            slots.entries.push(None);
            slots.entries.len() - 1
        });
        slots.entries[slot] = Some(entry.clone());
        Handle { connections: self.clone(), slot, entry }
    }

    pub fn count(&self) -> usize {
        let slots = self.slots.borrow();
        slots.entries.len() - slots.free.len()
    }

    /// Lists in batches, so that tens of thousands do not hold up the worker.
    pub async fn list(&self) -> Vec<admin::Connection> {
        let mut list = Vec::with_capacity(self.count());
        let mut from = 0;
        while self.list_batch(from, &mut list) {
            from += BATCH;
            tokio::task::yield_now().await;
        }
        list
    }

    /// False when there is nothing after this batch.
    fn list_batch(&self, from: usize, list: &mut Vec<admin::Connection>) -> bool {
        let slots = self.slots.borrow();
        let rest = slots.entries.get(from..).unwrap_or_default();
        list.extend(rest.iter().take(BATCH).flatten().map(|entry| entry.describe()));
        rest.len() > BATCH
    }
}

impl Entry {
    pub fn count_request(&self) {
        self.requests.set(self.requests.get() + 1);
    }

    /// The peer reset the connection, or the kernel gave it up. Costs a system call.
    pub fn is_gone(&self) -> bool {
        self.socket.and_then(TcpInfo::of_number).is_some_and(|info| info.closed)
    }

    pub fn describe(&self) -> admin::Connection {
        let info = self.socket.and_then(TcpInfo::of_number);
        admin::Connection {
            gateway: self.port.gateway.clone(),
            protocol: self.protocol.get().as_str().to_owned(),
            client: self.client.get(),
            vip: self.vip,
            backend: self.backend.get(),
            rtt_us: info.map(|info| info.rtt_us),
            age_ms: u64::try_from(self.opened.elapsed().as_millis()).unwrap_or(u64::MAX),
            bytes_in: info.map_or(self.bytes_in.get(), |info| info.bytes_received),
            bytes_out: info.map_or(self.bytes_out.get(), |info| info.bytes_sent),
            requests: self.requests.get(),
        }
    }
}

impl Handle {
    /// Counts why the connection ended; at most once per connection.
    pub fn end(&self, reason: Reason) {
        self.counters().end(reason);
    }

    /// This worker's counters of the connection's port.
    pub fn counters(&self) -> &metrics::PortShard {
        self.entry.port.of(self.connections.worker)
    }

    /// For tasks that outlive the handle's owner; the connection stays listed as long as the handle alone.
    pub fn entry(&self) -> Rc<Entry> {
        self.entry.clone()
    }
}

impl Deref for Handle {
    type Target = Entry;

    fn deref(&self) -> &Entry {
        &self.entry
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.counters().closed.increment();
        let mut slots = self.connections.slots.borrow_mut();
        slots.entries[self.slot] = None;
        slots.free.push(self.slot);
    }
}

impl Protocol {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http1 => "HTTP/1.1",
            Self::Http2 => "HTTP/2",
            Self::Tls => "TLS",
            Self::Tcp => "TCP",
            Self::Udp => "UDP",
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use gateway_common::ir::{GatewayId, PortProtocol};

    use super::*;
    use crate::metrics::Metrics;

    #[tokio::test]
    async fn a_connection_is_listed_while_its_handle_lives() {
        let metrics = Metrics::new(2);
        let port = metrics.port(&GatewayId::new("default/web"), 80, PortProtocol::Tcp);
        let connections = Connections::new(1);
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let vip = listener.local_addr().unwrap();
        let (client, server) = tokio::join!(tokio::net::TcpStream::connect(vip), listener.accept());
        let (client, (server, peer)) = (client.unwrap(), server.unwrap());
        let open = || connections.open(port.clone(), Protocol::Http1, peer, vip, Some(server.as_fd()));

        let handles: Vec<_> = (0..BATCH + 1).map(|_| open()).collect();
        handles[0].count_request();
        handles[0].backend.set(Some(vip));
        let list = connections.list().await;
        assert_eq!((list.len(), connections.count(), port.open()), (BATCH + 1, BATCH + 1, BATCH as u64 + 1));
        assert_eq!(
            (list[0].requests, list[0].client, list[0].backend),
            (1, client.local_addr().unwrap(), Some(vip))
        );
        assert!(list[0].rtt_us.is_some());

        drop(handles);
        assert_eq!((connections.list().await, port.open()), (Vec::new(), 0));
        let _again = open();
        assert_eq!(connections.slots.borrow().entries.len(), BATCH + 1);
    }
}
