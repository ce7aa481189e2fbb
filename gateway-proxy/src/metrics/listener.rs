//! Counters of one listener: its requests.

use std::time::Duration;

use gateway_common::ir::GatewayId;
use http::StatusCode;

use super::counter::{BUCKETS_US, Counter, Histogram, Sharded};
use crate::access_log::Reason;

/// The values of the label `code`, in the order of the counters.
pub(super) const CLASSES: [&str; 6] = ["none", "1xx", "2xx", "3xx", "4xx", "5xx"];

#[derive(Debug)]
pub struct Listener {
    pub gateway: GatewayId,
    /// Empty: requests that no listener of the Gateway wants.
    pub name: String,
    shards: Sharded<ListenerShard>,
}

/// One worker's part.
#[derive(Default, Debug)]
pub struct ListenerShard {
    classes: [Counter; CLASSES.len()],
    ended: [Counter; Reason::ALL.len()],
    duration: Histogram,
}

impl Listener {
    pub(super) fn new(gateway: GatewayId, name: String, workers: usize) -> Self {
        Self { gateway, name, shards: Sharded::new(workers) }
    }

    pub fn of(&self, worker: usize) -> &ListenerShard {
        self.shards.of(worker)
    }

    pub fn requests(&self, class: usize) -> u64 {
        self.shards.sum(|shard| shard.classes[class].get())
    }

    pub fn ended(&self, reason: Reason) -> u64 {
        self.shards.sum(|shard| shard.ended[reason as usize].get())
    }

    /// Observations per bucket (not cumulated), `+Inf` last, and their sum in microseconds.
    pub fn durations(&self) -> ([u64; BUCKETS_US.len() + 1], u64) {
        let buckets = std::array::from_fn(|index| self.shards.sum(|shard| shard.duration.bucket(index)));
        (buckets, self.shards.sum(|shard| shard.duration.sum_us()))
    }
}

impl ListenerShard {
    /// Counts one finished request; `status` is None when the client was gone before it could be told.
    pub fn request(&self, status: Option<StatusCode>, reason: Reason, duration: Duration) {
        let class = status.map_or(0, |status| usize::from(status.as_u16() / 100).min(CLASSES.len() - 1));
        self.classes[class].increment();
        self.duration.observe(duration);
        if reason != Reason::Ok {
            self.ended[reason as usize].increment();
        }
    }
}
