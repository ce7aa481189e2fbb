//! Counters of one backend, whatever routes use it.

use super::counter::{Counter, Sharded};

#[derive(Debug)]
pub struct Backend {
    /// The id, or [`OTHER`].
    pub id: String,
    shards: Sharded<BackendShard>,
}

/// The label of all backends beyond [`MAX_BACKENDS`] together.
pub const OTHER: &str = "other";
/// Backends with series of their own; more would make each scrape cost more than they tell.
pub const MAX_BACKENDS: usize = 1_000;

/// One worker's part.
#[derive(Default, Debug)]
pub struct BackendShard {
    pub connects: Counter,
    pub connect_failures: Counter,
    pub ejections: Counter,
    /// Gauge.
    pub connections: Counter,
    pub requests: Counter,
}

impl Backend {
    pub(super) fn new(id: String, workers: usize) -> Self {
        Self { id, shards: Sharded::new(workers) }
    }

    pub fn of(&self, worker: usize) -> &BackendShard {
        self.shards.of(worker)
    }

    pub fn sum(&self, part: impl Fn(&BackendShard) -> &Counter) -> u64 {
        self.shards.sum(|shard| part(shard).get())
    }
}
