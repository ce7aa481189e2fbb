//! HTTP connections to one endpoint, of one worker.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use hyper::client::conn::http2;
use tokio::sync::Notify;

use super::body::RequestBody;
use super::http1::Http1;

/// An HTTP/2 connection, shared by requests.
pub struct Http2 {
    sender: http2::SendRequest<RequestBody>,
    /// Streams that the backend allows.
    room: Rc<Cell<usize>>,
    active: Cell<usize>,
    expires: Cell<u64>,
}

/// One request on an HTTP/2 connection.
pub struct Stream {
    connection: Rc<Http2>,
}

#[derive(Default)]
pub struct Pool {
    /// The one used last is taken first, so that the rest grows old and goes.
    idle: RefCell<Vec<(u64, Box<Http1>)>>,
    multiplexed: RefCell<Vec<Rc<Http2>>>,
    connecting: Connecting,
}

/// An HTTP/2 connect that others wait for instead of connecting too.
#[derive(Default)]
pub struct Connecting {
    running: Cell<bool>,
    failures: Cell<u64>,
    done: Notify,
}

/// The one who connects. However it ends, the others look again.
pub struct Turn<'a>(&'a Connecting);

/// What waiting for a turn came to.
pub enum Waited<'a> {
    Turn(Turn<'a>),
    /// Somebody else's turn ended well.
    Connected,
    /// Somebody else's turn ended badly; one's own would too.
    Failed,
}

impl Pool {
    /// An idle HTTP/1.1 connection that is still good.
    pub fn take(&self, now: u64) -> Option<Box<Http1>> {
        let mut idle = self.idle.borrow_mut();
        while let Some((expires, connection)) = idle.pop() {
            if expires > now && connection.is_idle() {
                return Some(connection);
            }
        }
        None
    }

    /// Keeps an HTTP/1.1 connection for the next request.
    pub fn put(&self, connection: Box<Http1>, expires: u64) {
        self.idle.borrow_mut().push((expires, connection));
    }

    /// A stream on an HTTP/2 connection that has room.
    pub fn stream(&self) -> Option<Stream> {
        let connections = self.multiplexed.borrow();
        connections
            .iter()
            .find(|connection| connection.has_room())
            .map(|connection| Stream::new(connection.clone()))
    }

    /// Adds an HTTP/2 connection and takes its first stream.
    pub fn add(&self, connection: Http2) -> Stream {
        let stream = Stream::alone(connection);
        self.multiplexed.borrow_mut().push(stream.connection.clone());
        stream
    }

    pub fn connecting(&self) -> &Connecting {
        &self.connecting
    }

    /// Drops what was idle for too long and what the backend closed.
    pub fn sweep(&self, now: u64) {
        self.idle.borrow_mut().retain(|(expires, connection)| *expires > now && connection.is_idle());
        self.multiplexed.borrow_mut().retain(|connection| {
            !connection.sender.is_closed() && (connection.active.get() > 0 || connection.expires.get() > now)
        });
    }

    /// Connections open, busy HTTP/1.1 ones excepted.
    pub fn len(&self) -> usize {
        self.idle.borrow().len() + self.multiplexed.borrow().len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Http2 {
    pub fn new(sender: http2::SendRequest<RequestBody>, room: Rc<Cell<usize>>) -> Self {
        Self { sender, room, active: Cell::new(0), expires: Cell::new(u64::MAX) }
    }

    fn has_room(&self) -> bool {
        !self.sender.is_closed() && self.active.get() < self.room.get()
    }
}

impl Stream {
    fn new(connection: Rc<Http2>) -> Self {
        connection.active.set(connection.active.get() + 1);
        Self { connection }
    }

    /// The only stream of a connection that no other request gets to.
    pub fn alone(connection: Http2) -> Self {
        Self::new(Rc::new(connection))
    }

    /// A handle to send one request with.
    pub fn sender(&self) -> http2::SendRequest<RequestBody> {
        self.connection.sender.clone()
    }

    /// The connection may go when this was its last stream and none follows until then.
    pub fn keep_until(&self, expires: u64) {
        self.connection.expires.set(expires);
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.connection.active.set(self.connection.active.get() - 1);
    }
}

impl Connecting {
    pub async fn turn(&self) -> Waited<'_> {
        if !self.running.replace(true) {
            return Waited::Turn(Turn(self));
        }
        let failures = self.failures.get();
        self.done.notified().await;
        if self.failures.get() > failures { Waited::Failed } else { Waited::Connected }
    }
}

impl Turn<'_> {
    pub fn failed(self) {
        self.0.failures.set(self.0.failures.get() + 1);
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.0.running.set(false);
        self.0.done.notify_waiters();
    }
}
