//! Backends as one worker sees them: which endpoints they have, how busy and how healthy each is, and the connections
//! held open to them.

pub mod answer;
pub mod balance;
pub mod body;
pub mod connect;
pub mod copy;
pub mod endpoint;
pub mod exchange;
pub mod handshake;
pub mod http1;
pub mod http2;
pub mod pool;

use std::cell::RefCell;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

use gateway_common::ir::{BackendId, EndpointState};

use crate::deadline::Deadlines;
use crate::error::ConnectError;
use crate::snapshot::{Backend, Snapshot};

pub use endpoint::{Endpoint, Lease, Open};

/// All backends that this worker used.
pub struct Upstreams {
    clock: Rc<Deadlines>,
    backends: RefCell<HashMap<BackendId, Rc<Upstream>, foldhash::fast::RandomState>>,
}

/// A backend as a worker's requests hold it: counted without touching memory of other cores.
pub type Shared = Rc<Arc<Backend>>;

/// One backend. Its endpoints keep what is known of them while their address stays.
pub struct Upstream {
    backend: RefCell<Shared>,
    /// The ready ones, or the draining ones when none is ready.
    endpoints: RefCell<Vec<Rc<Endpoint>>>,
}

impl Upstreams {
    pub fn new(clock: Rc<Deadlines>) -> Self {
        Self { clock, backends: RefCell::default() }
    }

    /// The backend with its endpoints as `snapshot` has them.
    pub fn upstream(&self, snapshot: &Snapshot, id: &BackendId) -> Option<Rc<Upstream>> {
        let backend = snapshot.backend(id)?;
        let mut backends = self.backends.borrow_mut();
        if let Some(held) = backends.get(id) {
            held.refresh(backend);
            return Some(held.clone());
        }
        let upstream = Rc::new(Upstream {
            backend: RefCell::new(Rc::new(backend.clone())),
            endpoints: RefCell::new(endpoints(backend, &[])),
        });
        backends.insert(id.clone(), upstream.clone());
        Some(upstream)
    }

    /// An endpoint of the backend for one request, stream or session, none of `tried`.
    pub fn lease(
        &self,
        snapshot: &Snapshot,
        id: &BackendId,
        tried: &[SocketAddr],
    ) -> Result<Lease, ConnectError> {
        let upstream = self.upstream(snapshot, id).ok_or(ConnectError::Unresolved)?;
        upstream.lease(self.clock.now_ms(), tried).ok_or_else(|| ConnectError::NoEndpoint(id.clone()))
    }

    /// Milliseconds of the worker's clock, which ejections are counted by.
    pub fn now_ms(&self) -> u64 {
        self.clock.now_ms()
    }

    /// Forgets the backends that the snapshot no longer has.
    pub fn retain(&self, snapshot: &Snapshot) {
        self.backends.borrow_mut().retain(|id, upstream| match snapshot.backend(id) {
            Some(backend) => {
                upstream.refresh(backend);
                true
            }
            None => false,
        });
    }

    /// Every backend that was used, with its endpoints.
    pub fn list(&self) -> Vec<Rc<Upstream>> {
        self.backends.borrow().values().cloned().collect()
    }

    /// Closes connections that are idle for too long.
    pub fn sweep(&self) {
        let now = self.clock.now_ms();
        for upstream in self.backends.borrow().values() {
            for endpoint in upstream.endpoints.borrow().iter() {
                endpoint.pool.sweep(now);
            }
        }
    }
}

impl Upstream {
    pub fn backend(&self) -> Shared {
        self.backend.borrow().clone()
    }

    /// The less busy of two endpoints drawn at random, ejected ones only when there is no other.
    pub fn lease(&self, now: u64, tried: &[SocketAddr]) -> Option<Lease> {
        let endpoints = self.endpoints.borrow();
        balance::least_of_two(&endpoints, now, tried).map(|endpoint| Lease::new(endpoint.clone()))
    }

    /// Requests, streams and sessions on all its endpoints.
    pub fn active(&self) -> u32 {
        self.endpoints.borrow().iter().map(|endpoint| endpoint.active()).sum()
    }

    pub fn endpoints(&self) -> Vec<Rc<Endpoint>> {
        self.endpoints.borrow().clone()
    }

    fn refresh(&self, backend: &Arc<Backend>) {
        if Arc::ptr_eq(&self.backend.borrow(), backend) {
            return;
        }
        let new = endpoints(backend, &self.endpoints.borrow());
        *self.endpoints.borrow_mut() = new;
        *self.backend.borrow_mut() = Rc::new(backend.clone());
    }
}

fn endpoints(backend: &Backend, held: &[Rc<Endpoint>]) -> Vec<Rc<Endpoint>> {
    let any_ready = backend.endpoints.iter().any(|endpoint| endpoint.state == EndpointState::Ready);
    let state = if any_ready { EndpointState::Ready } else { EndpointState::Draining };
    let used = backend.endpoints.iter().filter(|endpoint| endpoint.state == state);
    let held: HashMap<_, _> = held.iter().map(|endpoint| (endpoint.address, endpoint)).collect();
    used.map(|endpoint| {
        let known = held.get(&endpoint.address).copied();
        known.cloned().unwrap_or_else(|| Rc::new(Endpoint::new(endpoint.address)))
    })
    .collect()
}
