//! What is served: one immutable value, replaced whole at every commit. A new one shares with the old one whatever did
//! not change, so that a change costs what changed and everything else keeps its identity (`Arc::ptr_eq`).

pub mod apply;
pub mod l4;

use std::sync::Arc;
use std::sync::atomic::AtomicU32;

use arc_swap::ArcSwap;
use gateway_common::ir::{
    Backend, BackendId, Certificate, CertificateId, Gateway as GatewayIr, GatewayId, Listener,
    Port as PortIr, PortProtocol, Route, RouteId, Settings,
};
use imbl::{GenericHashMap, OrdMap};

use crate::metrics::{self, Metrics};

pub use apply::Pending;
pub use l4::L4;

/// Where the workers look for the snapshot.
pub type Current = Arc<ArcSwap<Snapshot>>;
pub type Backends =
    GenericHashMap<BackendId, Arc<Backend>, foldhash::fast::RandomState, imbl::shared_ptr::DefaultSharedPtr>;

#[derive(Clone)]
pub struct Snapshot {
    /// 0: nothing was committed yet.
    pub generation: u64,
    pub gateways: OrdMap<GatewayId, Arc<Gateway>>,
    pub routes: OrdMap<RouteId, Arc<Route>>,
    pub backends: Backends,
    pub certificates: OrdMap<CertificateId, Arc<Certificate>>,
    /// Where the counters of what is served come from.
    pub metrics: Arc<Metrics>,
}

/// A Gateway, ready to serve.
pub struct Gateway {
    pub id: GatewayId,
    pub settings: Arc<Settings>,
    /// TCP-based and UDP ports, ordered as the Gateway has them.
    pub ports: Vec<Arc<Port>>,
    /// Client connections open, all workers; lives as long as the Gateway, whatever changes in it.
    pub open: Arc<AtomicU32>,
    ir: Arc<GatewayIr>,
}

/// Everything that listens on one port number.
pub struct Port {
    pub ir: PortIr,
    /// Routes of TLS passthrough, TCP and UDP listeners.
    pub l4: L4,
    pub metrics: Arc<metrics::Port>,
    /// Of `ir.listeners`, in that order.
    pub listener_metrics: Vec<Arc<metrics::Listener>>,
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
    pub fn stream_port(&self, port: u16) -> Option<&Arc<Port>> {
        self.ports.iter().find(|p| p.ir.port == port && p.ir.protocol != PortProtocol::Udp)
    }

    pub fn udp_port(&self, port: u16) -> Option<&Arc<Port>> {
        self.ports.iter().find(|p| p.ir.port == port && p.ir.protocol == PortProtocol::Udp)
    }
}

impl Port {
    pub fn listener(&self, name: &str) -> Option<&Listener> {
        self.ir.listeners.iter().find(|listener| listener.name == name)
    }
}
