//! Draining: what is open may finish, nothing new begins. Each client connection of a worker is registered here, so that
//! a removed listener or the end of the process reaches it.

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use gateway_common::ir::GatewayId;

/// The client connections of one worker.
#[derive(Default)]
pub struct Drains {
    entries: RefCell<Vec<Rc<Entry>>>,
    draining: Cell<bool>,
}

/// A client connection's ear for draining; dropping it is the end of the connection.
pub struct Drain {
    entry: Rc<Entry>,
}

/// What a connection hangs on: it drains when this is gone from the configuration.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Anchor {
    pub gateway: GatewayId,
    /// UDP sessions and TCP-based connections have separate port numbers.
    pub udp: bool,
    pub vip: SocketAddr,
    /// The listener, for connections that belong to one (by SNI); others hang on the port.
    pub listener: Option<String>,
}

struct Entry {
    anchor: RefCell<Anchor>,
    draining: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

impl Drains {
    /// Registers a connection; one that comes when everything drains is told so at once.
    pub fn register(&self, anchor: Anchor) -> Drain {
        let entry = Rc::new(Entry {
            anchor: RefCell::new(anchor),
            draining: Cell::new(self.draining.get()),
            waker: RefCell::default(),
        });
        self.entries.borrow_mut().push(entry.clone());
        Drain { entry }
    }

    /// Connections that are open now.
    pub fn open(&self) -> usize {
        let mut entries = self.entries.borrow_mut();
        entries.retain(|entry| Rc::strong_count(entry) > 1);
        entries.len()
    }

    /// Drains everything, also what is still to come.
    pub fn drain_all(&self) {
        self.draining.set(true);
        self.drain_if(|_| true);
    }

    pub fn is_draining(&self) -> bool {
        self.draining.get()
    }

    /// Drains the connections whose anchor is gone.
    pub fn drain_if(&self, mut gone: impl FnMut(&Anchor) -> bool) {
        let mut wakers = Vec::new();
        self.entries.borrow_mut().retain(|entry| {
            if !entry.draining.get() && gone(&entry.anchor.borrow()) {
                entry.draining.set(true);
                wakers.extend(entry.waker.borrow_mut().take());
            }
            Rc::strong_count(entry) > 1
        });
        for waker in wakers {
            waker.wake();
        }
    }
}

impl Drain {
    pub fn is_draining(&self) -> bool {
        self.entry.draining.get()
    }

    /// Hangs the connection on one listener, known after its SNI.
    pub fn bind_listener(&self, listener: &str) {
        self.entry.anchor.borrow_mut().listener = Some(listener.to_owned());
    }

    /// Ready once the connection is to drain. The last task that polled is woken.
    pub fn poll_draining(&self, cx: &mut Context<'_>) -> Poll<()> {
        if self.is_draining() {
            return Poll::Ready(());
        }
        let mut waker = self.entry.waker.borrow_mut();
        match &*waker {
            Some(held) if held.will_wake(cx.waker()) => {}
            Some(_) | None => *waker = Some(cx.waker().clone()),
        }
        Poll::Pending
    }

    /// Waits until the connection is to drain.
    pub async fn draining(&self) {
        std::future::poll_fn(|cx| self.poll_draining(cx)).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn anchor(port: u16) -> Anchor {
        Anchor {
            gateway: GatewayId::new("default/web"),
            udp: false,
            vip: SocketAddr::from(([192, 0, 2, 1], port)),
            listener: None,
        }
    }

    #[test]
    fn only_what_lost_its_anchor_drains() {
        let drains = Drains::default();
        let (kept, gone) = (drains.register(anchor(80)), drains.register(anchor(81)));
        drains.drain_if(|anchor| anchor.vip.port() == 81);
        assert!(!kept.is_draining());
        assert!(gone.is_draining());
        assert_eq!(drains.open(), 2);
        drop(gone);
        assert_eq!(drains.open(), 1);
    }

    #[test]
    fn a_late_connection_drains_at_once() {
        let drains = Drains::default();
        drains.drain_all();
        assert!(drains.register(anchor(80)).is_draining());
    }
}
