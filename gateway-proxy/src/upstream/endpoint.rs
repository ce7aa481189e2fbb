//! One endpoint: how busy it is, and whether it is ejected because connections to it failed.

use std::cell::Cell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

use super::pool::Pool;
use crate::metrics;

/// Consecutive connect failures that eject an endpoint.
const FAILURES: u32 = 3;
/// The first ejection; each further one lasts twice as long, up to [`LONGEST_MS`].
const FIRST_MS: u64 = 1_000;
const LONGEST_MS: u64 = 30_000;

pub struct Endpoint {
    pub address: SocketAddr,
    active: Cell<u32>,
    failures: Cell<u32>,
    ejected_until: Cell<u64>,
    /// Since this worker knows the endpoint.
    pub requests: Cell<u64>,
    pub connect_failures: Cell<u64>,
    connections: Cell<u32>,
    pub pool: Pool,
}

/// One open connection to an endpoint, counted until it is dropped.
pub struct Open {
    endpoint: Rc<Endpoint>,
    backend: Arc<metrics::Backend>,
    worker: usize,
}

/// One request, stream or session on an endpoint, from its choice to its end.
pub struct Lease {
    endpoint: Rc<Endpoint>,
}

impl Endpoint {
    pub fn new(address: SocketAddr) -> Self {
        Self {
            address,
            active: Cell::new(0),
            failures: Cell::new(0),
            ejected_until: Cell::new(0),
            requests: Cell::new(0),
            connect_failures: Cell::new(0),
            connections: Cell::new(0),
            pool: Pool::default(),
        }
    }

    pub fn active(&self) -> u32 {
        self.active.get()
    }

    pub fn connections(&self) -> u32 {
        self.connections.get()
    }

    pub fn is_ejected(&self, now: u64) -> bool {
        self.ejected_until.get() > now
    }

    pub fn connected(&self) {
        self.failures.set(0);
        self.ejected_until.set(0);
    }

    /// Counts a failed connect; ejects once they are too many in a row, and says so.
    pub fn failed(&self, now: u64) -> bool {
        self.connect_failures.set(self.connect_failures.get() + 1);
        // Those that were under way with the one that ejected it say nothing new.
        if self.is_ejected(now) {
            return false;
        }
        let failures = self.failures.get().saturating_add(1);
        self.failures.set(failures);
        let eject = failures >= FAILURES;
        if eject {
            let doubled = FIRST_MS << (failures - FAILURES).min(16);
            self.ejected_until.set(now + doubled.min(LONGEST_MS));
        }
        eject
    }
}

impl Lease {
    pub fn new(endpoint: Rc<Endpoint>) -> Self {
        endpoint.active.set(endpoint.active.get() + 1);
        endpoint.requests.set(endpoint.requests.get() + 1);
        Self { endpoint }
    }

    pub fn endpoint(&self) -> &Rc<Endpoint> {
        &self.endpoint
    }

    pub fn address(&self) -> SocketAddr {
        self.endpoint.address
    }
}

impl Open {
    pub fn new(endpoint: Rc<Endpoint>, backend: Arc<metrics::Backend>, worker: usize) -> Self {
        endpoint.connections.set(endpoint.connections.get() + 1);
        backend.of(worker).connections.increment();
        Self { endpoint, backend, worker }
    }

    /// This worker's counters of the endpoint's backend.
    pub fn backend(&self) -> &metrics::BackendShard {
        self.backend.of(self.worker)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.endpoint.connections.set(self.endpoint.connections.get() - 1);
        self.backend.of(self.worker).connections.decrement();
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.endpoint.active.set(self.endpoint.active.get() - 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint() -> Endpoint {
        Endpoint::new(SocketAddr::from(([192, 0, 2, 1], 80)))
    }

    #[test]
    fn failures_in_a_row_eject_longer_each_time() {
        let endpoint = endpoint();
        endpoint.failed(0);
        endpoint.failed(0);
        assert!(!endpoint.is_ejected(0));
        endpoint.failed(0);
        assert!(endpoint.is_ejected(999) && !endpoint.is_ejected(1_000));
        endpoint.failed(1_000);
        assert!(endpoint.is_ejected(2_999) && !endpoint.is_ejected(3_000));
        // At once, as when it restarts under load: not longer than once more.
        for _ in 0..100 {
            endpoint.failed(3_000);
        }
        assert!(endpoint.is_ejected(6_999) && !endpoint.is_ejected(7_000));
        let mut now = 7_000;
        for _ in 0..20 {
            endpoint.failed(now);
            now += LONGEST_MS;
            assert!(!endpoint.is_ejected(now));
        }
        assert!(endpoint.is_ejected(now - 1));
        endpoint.connected();
        endpoint.failed(0);
        assert!(!endpoint.is_ejected(0));
    }

    #[test]
    fn a_lease_counts_until_it_is_dropped() {
        let endpoint = Rc::new(endpoint());
        let (one, two) = (Lease::new(endpoint.clone()), Lease::new(endpoint.clone()));
        assert_eq!(endpoint.active(), 2);
        drop((one, two));
        assert_eq!(endpoint.active(), 0);
    }
}
