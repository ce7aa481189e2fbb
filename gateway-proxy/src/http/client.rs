//! A client connection as its requests see it.

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

use super::flood::TakenBack;
use super::stream::Flow;
use super::timing::{Phase, Timing};
use super::upgrade::Pending;
use crate::connections::Handle;
use crate::drain::Drain;
use crate::identity::{ConnectionIdentity, well_known_port};
use crate::metrics;
use crate::snapshot::{Gateway, Port};
use crate::worker::{View, Worker};

pub struct Client {
    pub worker: Rc<Worker>,
    /// The peer, or what a trusted PROXY header said.
    pub address: SocketAddr,
    /// Who connected.
    pub peer: SocketAddr,
    pub vip: SocketAddr,
    /// None: no TLS.
    pub tls: Option<Tls>,
    secure: bool,
    pub timing: Rc<Timing>,
    pub drain: Drain,
    pub entry: Handle,
    /// A request that was answered 101, for the connection to take over.
    pub upgrade: Cell<Option<Pending>>,
    /// Of the HTTP/2 stream that is worked on in this moment.
    pub flow: Cell<Flow>,
    taken_back: RefCell<TakenBack>,
    held: RefCell<Rc<Held>>,
}

/// What the handshake settled.
pub struct Tls {
    /// Lower case.
    pub sni: Option<String>,
    pub listener: Arc<str>,
}

/// What a request is served by, from its first to its last byte.
pub struct Held {
    pub view: View,
    pub gateway: Arc<Gateway>,
    pub port: Arc<Port>,
    pub identity: Rc<ConnectionIdentity>,
}

/// What is known of a connection when it begins.
pub struct Opening {
    pub address: SocketAddr,
    pub peer: SocketAddr,
    pub vip: SocketAddr,
    pub tls: Option<Tls>,
    /// The client speaks TLS, with us or with who said so before us.
    pub secure: bool,
    pub timing: Rc<Timing>,
    pub drain: Drain,
    pub entry: Handle,
    /// The snapshot that the next two are of.
    pub view: View,
    pub gateway: Arc<Gateway>,
    pub port: Arc<Port>,
}

impl Client {
    pub fn new(worker: Rc<Worker>, opening: Opening) -> Rc<Self> {
        let identity =
            identify(opening.address, opening.vip, opening.tls.as_ref(), opening.secure, &opening.gateway);
        let held = Held { view: opening.view, gateway: opening.gateway, port: opening.port, identity };
        let taken_back = RefCell::new(TakenBack::new(opening.timing.now_ms()));
        Rc::new(Self {
            worker,
            address: opening.address,
            peer: opening.peer,
            vip: opening.vip,
            tls: opening.tls,
            secure: opening.secure,
            timing: opening.timing,
            drain: opening.drain,
            entry: opening.entry,
            upgrade: Cell::new(None),
            flow: Cell::default(),
            taken_back,
            held: RefCell::new(Rc::new(held)),
        })
    }

    /// A request of an HTTP/2 connection ended. `taken_back`: by the client, as soon as it had made it.
    pub fn stream_ended(&self, taken_back: bool) {
        let mut budget = self.taken_back.borrow_mut();
        if !taken_back {
            budget.completed();
        } else if !budget.count(self.timing.now_ms()) {
            self.timing.enter(Phase::Flooded);
        }
    }

    /// The configuration of this moment. A connection whose port is gone is served as before until it has drained.
    pub fn held(&self) -> Rc<Held> {
        let view = self.worker.view();
        let mut held = self.held.borrow_mut();
        if !Rc::ptr_eq(&held.view, &view) {
            let gateway = view.gateway(&held.gateway.id).cloned();
            let port = gateway.as_ref().and_then(|gateway| gateway.stream_port(self.vip.port()).cloned());
            if let Some((gateway, port)) =
                gateway.zip(port).filter(|(_, port)| port.protocol == held.port.protocol)
            {
                let identity = if Arc::ptr_eq(&gateway.settings, &held.gateway.settings) {
                    held.identity.clone()
                } else {
                    identify(self.address, self.vip, self.tls.as_ref(), self.secure, &gateway)
                };
                *held = Rc::new(Held { view, gateway, port, identity });
            }
        }
        held.clone()
    }
}

impl Held {
    /// Where a request of `client` counts. `listener`: index of the listener that wants its host. Without one it counts for
    /// the listener that the handshake spoke for, or for none.
    pub fn counters(&self, client: &Client, listener: Option<usize>) -> &metrics::Listener {
        let listener = listener.and_then(|index| self.port.listeners.get(index));
        let of_tls = || self.port.listener(&client.tls.as_ref()?.listener);
        listener.or_else(of_tls).map_or(&self.gateway.unmatched, |listener| &listener.metrics)
    }
}

/// `secure`: the client speaks TLS, with us or with who said so before us.
fn identify(
    address: SocketAddr,
    vip: SocketAddr,
    tls: Option<&Tls>,
    secure: bool,
    gateway: &Gateway,
) -> Rc<ConnectionIdentity> {
    let port = if secure && tls.is_none() { well_known_port("https") } else { vip.port() };
    Rc::new(ConnectionIdentity::new(address, port, secure, &gateway.settings.trusted_proxies))
}
