//! The process: prepared once, then workers on their threads and everything else here.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use arc_swap::ArcSwap;
use rustix::process::{Resource, Rlimit};

use crate::access_log::Writer;
use crate::admin::{self, Facts};
use crate::config::Config;
use crate::control::Control;
use crate::metrics::Metrics;
use crate::snapshot::Snapshot;
use crate::worker;

/// What the access log's writer gets to write its last lines.
const LAST_LINES: Duration = Duration::from_secs(2);

/// Serves until drained by a signal or the agent.
pub fn run(config: &Config) -> anyhow::Result<()> {
    prepare()?;
    let (log, writer) = Writer::start(config.access_log.clone(), config.access_log_query)
        .context("start the thread of the access log")?;
    let metrics = Arc::new(Metrics::new(config.worker_count()));
    let current = Arc::new(ArcSwap::from_pointee(Snapshot::empty(metrics.clone())));
    let workers = worker::Handle::start(config.worker_count(), &current, &log, config.drain_deadline)?;
    let facts = Arc::new(Facts::new(log.counts()));
    drop(log);
    let asked = workers.iter().map(|worker| worker.commands.clone()).collect();
    let admin = admin::State::new(current.clone(), metrics, facts.clone(), asked);
    let _admin = admin::Server::start(config, admin)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("start the runtime of the control thread")?;
    runtime.block_on(Control::new(config, current, workers, facts).run())?;
    writer.finish(LAST_LINES);
    Ok(())
}

/// What the whole process has to be before it serves: without a way to more privileges, with all descriptors it may have.
fn prepare() -> anyhow::Result<()> {
    rustix::thread::set_no_new_privs(true).context("set no_new_privs")?;
    let limit = rustix::process::getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    rustix::process::setrlimit(Resource::Nofile, raised).context("raise RLIMIT_NOFILE to its hard limit")
}
