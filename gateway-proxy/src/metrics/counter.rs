//! Numbers that one worker writes and the admin thread reads: plain loads and stores, no locked instruction.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// Written by one thread only; a second writer would lose counts.
#[derive(Default, Debug)]
pub struct Counter(AtomicU64);

impl Counter {
    pub fn add(&self, n: u64) {
        self.0.store(self.0.load(Relaxed).wrapping_add(n), Relaxed);
    }

    pub fn increment(&self) {
        self.add(1);
    }

    /// For a gauge: what was added before.
    pub fn decrement(&self) {
        self.0.store(self.0.load(Relaxed).wrapping_sub(1), Relaxed);
    }

    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// One `T` per worker, each on cache lines of its own.
#[derive(Debug)]
pub struct Sharded<T>(Box<[Shard<T>]>);

#[derive(Default, Debug)]
#[repr(align(128))]
struct Shard<T>(T);

impl<T: Default> Sharded<T> {
    pub fn new(workers: usize) -> Self {
        Self((0..workers.max(1)).map(|_| Shard::default()).collect())
    }

    /// The shard that this worker alone writes.
    pub fn of(&self, worker: usize) -> &T {
        &self.0[worker].0
    }

    pub fn sum(&self, part: impl Fn(&T) -> u64) -> u64 {
        self.0.iter().fold(0, |sum, shard| sum.wrapping_add(part(&shard.0)))
    }
}

/// Upper bounds in microseconds; what is slower falls in `+Inf`.
pub const BUCKETS_US: [u64; 14] = [
    500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 2_500_000,
    10_000_000, 60_000_000,
];

#[derive(Default, Debug)]
pub struct Histogram {
    buckets: [Counter; BUCKETS_US.len() + 1],
    sum_us: Counter,
}

impl Histogram {
    pub fn observe(&self, duration: Duration) {
        let us = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        let bucket = BUCKETS_US.partition_point(|bound| *bound < us);
        self.buckets[bucket].increment();
        self.sum_us.add(us);
    }

    /// Observations in bucket `index` alone; the last is `+Inf`.
    pub fn bucket(&self, index: usize) -> u64 {
        self.buckets[index].get()
    }

    pub fn sum_us(&self) -> u64 {
        self.sum_us.get()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_observation_falls_in_the_first_bucket_that_holds_it() {
        let histogram = Histogram::default();
        for us in [0, 500, 501, 60_000_000, 60_000_001] {
            histogram.observe(Duration::from_micros(us));
        }
        assert_eq!(histogram.bucket(0), 2);
        assert_eq!(histogram.bucket(1), 1);
        assert_eq!(histogram.bucket(13), 1);
        assert_eq!(histogram.bucket(14), 1);
        assert_eq!(histogram.sum_us(), 120_001_002);
    }

    #[test]
    fn shards_add_up() {
        let sharded = Sharded::<Counter>::new(3);
        sharded.of(0).add(2);
        sharded.of(2).increment();
        sharded.of(1).increment();
        sharded.of(1).decrement();
        assert_eq!(sharded.sum(Counter::get), 3);
    }
}
