//! The admin socket: what this proxy does and knows, over HTTP/1.1 on a Unix socket, on a thread of its own.
//!
//! It reads the snapshot and the counters and asks the workers; it never makes one wait. Its answers are
//! `gateway_common::admin`'s.

mod answer;
mod backends;
mod facts;
mod listeners;
mod question;
mod route_test;
mod routes;
mod server;

use std::sync::Arc;

use tokio::sync::mpsc::UnboundedSender;

pub use facts::Facts;
pub use question::Question;
pub use server::Server;

use crate::metrics::Metrics;
use crate::snapshot::Current;
use crate::worker::Command;

/// What answers are made of.
pub struct State {
    current: Current,
    metrics: Arc<Metrics>,
    facts: Arc<Facts>,
    workers: Vec<UnboundedSender<Command>>,
}

impl State {
    pub fn new(
        current: Current,
        metrics: Arc<Metrics>,
        facts: Arc<Facts>,
        workers: Vec<UnboundedSender<Command>>,
    ) -> Self {
        Self { current, metrics, facts, workers }
    }
}
