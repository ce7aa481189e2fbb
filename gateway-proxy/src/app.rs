//! The process: prepared once, then workers on their threads and everything else here.

use std::sync::Arc;

use anyhow::Context;
use arc_swap::ArcSwap;
use rustix::process::{Resource, Rlimit};

use crate::config::Config;
use crate::control::Control;
use crate::snapshot::Snapshot;
use crate::worker;

/// Serves until drained by a signal or the agent.
pub fn run(config: &Config) -> anyhow::Result<()> {
    prepare()?;
    let current = Arc::new(ArcSwap::from_pointee(Snapshot::default()));
    let workers = (0..config.worker_count())
        .map(|index| worker::Handle::start(index, current.clone()))
        .collect::<anyhow::Result<Vec<_>>>()?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("start the runtime of the control thread")?;
    runtime.block_on(Control::new(config, current, workers).run())
}

/// What the whole process has to be before it serves: without a way to more privileges, with all descriptors it may have.
fn prepare() -> anyhow::Result<()> {
    rustix::thread::set_no_new_privs(true).context("set no_new_privs")?;
    let limit = rustix::process::getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    rustix::process::setrlimit(Resource::Nofile, raised).context("raise RLIMIT_NOFILE to its hard limit")
}
