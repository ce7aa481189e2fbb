//! What the control thread tells the admin thread.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use gateway_common::ir::Problem;

use crate::access_log::Counts;

#[derive(Debug)]
pub struct Facts {
    pub agent_connected: AtomicBool,
    pub draining: AtomicBool,
    pub log: Arc<Counts>,
    problems: Mutex<Vec<Problem>>,
    started: Instant,
    started_at: Duration,
}

impl Facts {
    pub fn new(log: Arc<Counts>) -> Self {
        Self {
            agent_connected: AtomicBool::new(false),
            draining: AtomicBool::new(false),
            log,
            problems: Mutex::default(),
            started: Instant::now(),
            started_at: SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default(),
        }
    }

    /// The resources of the configuration served that cannot be used.
    pub fn problems(&self) -> Vec<Problem> {
        self.problems.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub fn set_problems(&self, problems: Vec<Problem>) {
        *self.problems.lock().unwrap_or_else(PoisonError::into_inner) = problems;
    }

    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    pub fn is_agent_connected(&self) -> bool {
        self.agent_connected.load(Ordering::Relaxed)
    }

    pub fn uptime(&self) -> Duration {
        self.started.elapsed()
    }

    /// Seconds since the epoch.
    pub fn started_at(&self) -> u64 {
        self.started_at.as_secs()
    }
}
