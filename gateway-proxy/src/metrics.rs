//! Counters of the proxy. Each worker writes a shard of its own; the admin thread adds the shards up when asked.
//!
//! Labels are names out of the configuration, never anything that a client sent. Series live as long as something
//! holds their counters: the snapshots that name them and the connections begun under those.

pub mod backend;
pub mod counter;
pub mod exposition;
pub mod family;
pub mod listener;
pub mod port;
pub mod process;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use gateway_common::ir::{BackendId, GatewayId, PortProtocol};

pub use backend::{Backend, BackendShard};
pub use listener::{Listener, ListenerShard};
pub use port::{Port, PortShard};

/// Every family's counters, found by label. Asked when a snapshot is built and when `/metrics` is read; the lock is
/// never taken by a worker.
#[derive(Debug)]
pub struct Metrics {
    workers: usize,
    live: Mutex<Live>,
}

#[derive(Default, Debug)]
struct Live {
    ports: BTreeMap<(GatewayId, u16, PortProtocol), Weak<Port>>,
    listeners: BTreeMap<(GatewayId, String), Weak<Listener>>,
    backends: BTreeMap<BackendId, Weak<Backend>>,
    other_backends: Weak<Backend>,
}

/// What is counted now, in label order.
#[derive(Debug)]
pub struct Counted {
    pub ports: Vec<Arc<Port>>,
    pub listeners: Vec<Arc<Listener>>,
    pub backends: Vec<Arc<Backend>>,
}

impl Metrics {
    pub fn new(workers: usize) -> Self {
        Self { workers, live: Mutex::default() }
    }

    pub fn workers(&self) -> usize {
        self.workers
    }

    pub fn port(&self, gateway: &GatewayId, port: u16, protocol: PortProtocol) -> Arc<Port> {
        let key = (gateway.clone(), port, protocol);
        let new = || Port::new(gateway.clone(), port, protocol, self.workers);
        shared(self.live().ports.entry(key).or_default(), new)
    }

    pub fn listener(&self, gateway: &GatewayId, name: &str) -> Arc<Listener> {
        let key = (gateway.clone(), name.to_owned());
        let new = || Listener::new(gateway.clone(), name.to_owned(), self.workers);
        shared(self.live().listeners.entry(key).or_default(), new)
    }

    pub fn backend(&self, id: &BackendId) -> Arc<Backend> {
        let mut live = self.live();
        if let Some(backend) = live.backends.get(id).and_then(Weak::upgrade) {
            return backend;
        }
        if live.backends.len() >= backend::MAX_BACKENDS {
            live.backends.retain(|_, backend| backend.strong_count() > 0);
        }
        if live.backends.len() >= backend::MAX_BACKENDS {
            let other = || Backend::new(backend::OTHER.to_owned(), self.workers);
            return shared(&mut live.other_backends, other);
        }
        let new = || Backend::new(id.as_str().to_owned(), self.workers);
        shared(live.backends.entry(id.clone()).or_default(), new)
    }

    /// Forgets what nothing holds any more, and gives the rest.
    pub fn counted(&self) -> Counted {
        let mut live = self.live();
        let mut backends = held(&mut live.backends);
        backends.extend(live.other_backends.upgrade());
        Counted { ports: held(&mut live.ports), listeners: held(&mut live.listeners), backends }
    }

    fn live(&self) -> std::sync::MutexGuard<'_, Live> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn shared<T>(slot: &mut Weak<T>, new: impl FnOnce() -> T) -> Arc<T> {
    slot.upgrade().unwrap_or_else(|| {
        let made = Arc::new(new());
        *slot = Arc::downgrade(&made);
        made
    })
}

fn held<K: Ord, T>(map: &mut BTreeMap<K, Weak<T>>) -> Vec<Arc<T>> {
    let mut held = Vec::with_capacity(map.len());
    map.retain(|_, weak| {
        let strong = weak.upgrade();
        let keep = strong.is_some();
        held.extend(strong);
        keep
    });
    held
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gateway() -> GatewayId {
        GatewayId::new("default/web")
    }

    #[test]
    fn the_same_labels_share_counters_until_nothing_holds_them() {
        let metrics = Metrics::new(2);
        let first = metrics.listener(&gateway(), "http");
        let second = metrics.listener(&gateway(), "http");
        assert!(Arc::ptr_eq(&first, &second));
        assert_eq!(metrics.counted().listeners.len(), 1);
        drop((first, second));
        assert!(metrics.counted().listeners.is_empty());
    }

    #[test]
    fn backends_beyond_the_bound_are_counted_together() {
        let metrics = Metrics::new(1);
        let many = backend::MAX_BACKENDS + 2;
        let held: Vec<_> =
            (0..many).map(|n| metrics.backend(&BackendId::new(format!("default/s{n}:80")))).collect();
        for backend in &held {
            backend.of(0).requests.increment();
        }
        let counted = metrics.counted().backends;
        assert_eq!(counted.len(), backend::MAX_BACKENDS + 1);
        assert_eq!(
            counted.last().map(|b| (b.id.as_str(), b.sum(|s| &s.requests))),
            Some((backend::OTHER, 2))
        );
        drop((held, counted));
        assert_ne!(metrics.backend(&BackendId::new("default/new:80")).id, backend::OTHER);
    }
}
