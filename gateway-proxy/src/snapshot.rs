//! What is served: one immutable value, replaced whole at every commit. A new one shares with the old one whatever did
//! not change, so that a change costs what changed and everything else keeps its identity (`Arc::ptr_eq`).

pub mod apply;
pub mod build;
pub mod l4;

use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;

use arc_swap::ArcSwap;
use gateway_common::ir::{
    self, BackendId, CertificateId, GatewayId, Key, ListenerProtocol, PortProtocol, RouteId, Settings,
};
use imbl::shared_ptr::DefaultSharedPtr;
use imbl::{GenericHashMap, OrdMap};

pub use apply::Pending;
pub use l4::L4;

use crate::metrics::{self, Metrics};
use crate::path;
use crate::route::{HostMap, HttpRoute, Router};
use crate::tls;

/// Where the workers look for the snapshot.
pub type Current = Arc<ArcSwap<Snapshot>>;
pub type Backends = GenericHashMap<BackendId, Arc<Backend>, foldhash::fast::RandomState, DefaultSharedPtr>;

#[derive(Clone)]
pub struct Snapshot {
    /// 0: nothing was committed yet.
    pub generation: u64,
    pub gateways: OrdMap<GatewayId, Arc<Gateway>>,
    pub routes: OrdMap<RouteId, Arc<Route>>,
    pub backends: Backends,
    pub certificates: OrdMap<CertificateId, Arc<Certificate>>,
    /// What cannot be used of all that is held, whichever commit brought it.
    pub problems: OrdMap<Key, Vec<String>>,
    /// Where the counters of what is served come from.
    pub metrics: Arc<Metrics>,
}

/// A Gateway, ready to serve.
pub struct Gateway {
    pub id: GatewayId,
    pub settings: Arc<Settings>,
    pub path_policy: path::Policy,
    /// TCP-based and UDP ports, ordered as the Gateway has them.
    pub ports: Vec<Arc<Port>>,
    /// Client connections open, all workers; lives as long as the Gateway, whatever changes in it.
    pub open: Arc<AtomicU32>,
    /// Counts the requests that no listener wants. Its name is empty.
    pub unmatched: Arc<metrics::Listener>,
    ir: Arc<ir::Gateway>,
}

/// Everything that listens on one port number.
pub struct Port {
    pub number: u16,
    pub protocol: PortProtocol,
    pub proxy_protocol: Option<ir::ProxyProtocolIn>,
    pub listeners: Vec<Listener>,
    /// Index of the listener for a host name or SNI.
    pub hosts: HostMap<usize>,
    /// Of ports that terminate TLS.
    pub tls: Option<Arc<tls::Server>>,
    /// Routes of TLS passthrough, TCP and UDP listeners.
    pub l4: L4,
    pub metrics: Arc<metrics::Port>,
    /// As the agent sent it.
    pub ir: Arc<ir::Port>,
}

#[derive(Clone)]
pub struct Listener {
    pub name: Arc<str>,
    pub protocol: ListenerProtocol,
    /// Routes of an HTTP or HTTPS listener.
    pub router: Router,
    pub metrics: Arc<metrics::Listener>,
}

pub struct Route {
    pub ir: Arc<ir::Route>,
    /// Of an HTTP route.
    pub http: Option<HttpRoute>,
}

pub struct Backend {
    pub ir: ir::Backend,
    pub metrics: Arc<metrics::Backend>,
}

pub struct Certificate {
    pub ir: ir::Certificate,
    /// None: it could not be used.
    pub key: Option<Arc<rustls::sign::CertifiedKey>>,
}

impl Snapshot {
    /// Nothing yet, counted by `metrics` from now on.
    pub fn empty(metrics: Arc<Metrics>) -> Self {
        Self {
            generation: 0,
            gateways: OrdMap::new(),
            routes: OrdMap::new(),
            backends: Backends::default(),
            certificates: OrdMap::new(),
            problems: OrdMap::new(),
            metrics,
        }
    }

    pub fn gateway(&self, id: &GatewayId) -> Option<&Arc<Gateway>> {
        self.gateways.get(id)
    }

    pub fn backend(&self, id: &BackendId) -> Option<&Arc<Backend>> {
        self.backends.get(id)
    }
}

impl Gateway {
    /// The port that TCP connections to this number belong to.
    pub fn stream_port(&self, number: u16) -> Option<&Arc<Port>> {
        self.ports.iter().find(|port| port.number == number && port.protocol != PortProtocol::Udp)
    }

    pub fn udp_port(&self, number: u16) -> Option<&Arc<Port>> {
        self.ports.iter().find(|port| port.number == number && port.protocol == PortProtocol::Udp)
    }

    /// As the agent sent it.
    pub fn ir(&self) -> &ir::Gateway {
        &self.ir
    }
}

impl Port {
    pub fn listener(&self, name: &str) -> Option<&Listener> {
        self.listeners.iter().find(|listener| &*listener.name == name)
    }

    /// The listener with the most specific host name for this one, which is as [`crate::route::host::Name`] gives it.
    pub fn listener_for(&self, name: &str) -> Option<&Listener> {
        self.listeners.get(*self.hosts.find(name)?)
    }

    /// Whether some TLS connections are forwarded unopened.
    pub fn has_passthrough(&self) -> bool {
        self.listeners.iter().any(|listener| listener.protocol == ListenerProtocol::TlsPassthrough)
    }
}

impl Deref for Backend {
    type Target = ir::Backend;

    fn deref(&self) -> &ir::Backend {
        &self.ir
    }
}

impl Deref for Route {
    type Target = ir::Route;

    fn deref(&self) -> &ir::Route {
        &self.ir
    }
}

#[cfg(test)]
mod tests;
