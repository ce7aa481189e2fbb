//! `gateway-agent cleanup`: takes the node back to how it was before Gatehouse.

use std::collections::BTreeSet;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process, test_kill_process};

use super::lock;
use crate::announce::Announcer;
use crate::config::Config;
use crate::datapath;
use crate::source::LAST_GOOD;

/// Proxies get this time beyond their drain deadline.
const GRACE: Duration = Duration::from_secs(5);

/// Removes routes, programs and maps, and ends the proxies after they have drained.
pub async fn cleanup(config: &Config) -> anyhow::Result<()> {
    let runtime_dir = Some(&*config.runtime_dir).filter(|dir| dir.is_dir());
    let lock = lock::take(runtime_dir).await?;
    let announcer = Announcer::open()?;
    let routes = announcer.withdraw(&BTreeSet::new()).await?;
    tracing::info!(removed = routes.changes, "routes");
    datapath::uninstall(&config.pin_dir, &announcer.devices().await?)?;
    tracing::info!(pins = %config.pin_dir.display(), "programs and maps removed");
    let proxies = living(config);
    for pid in &proxies {
        tracing::info!(pid = pid.as_raw_nonzero(), "draining the proxy");
        let _ = kill_process(*pid, Signal::TERM);
    }
    let end = tokio::time::Instant::now() + config.drain_deadline + GRACE;
    while proxies.iter().any(|pid| test_kill_process(*pid).is_ok()) && tokio::time::Instant::now() < end {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    for pid in proxies.iter().filter(|pid| test_kill_process(**pid).is_ok()) {
        tracing::warn!(pid = pid.as_raw_nonzero(), "the proxy did not end by itself");
        let _ = kill_process(*pid, Signal::KILL);
    }
    drop(lock);
    if config.runtime_dir.is_dir() {
        std::fs::remove_dir_all(&config.runtime_dir)?;
    }
    // Secrets may be among them, and nobody serves on with them now.
    let copies = config.state_dir.join(LAST_GOOD);
    if copies.is_dir() {
        std::fs::remove_dir_all(&copies)?;
    }
    Ok(())
}

/// Proxies whose admin socket answers; its peer credentials say which process it is.
fn living(config: &Config) -> Vec<Pid> {
    let entries = std::fs::read_dir(config.proxy_dir()).into_iter().flatten().filter_map(Result::ok);
    let streams = entries.filter_map(|entry| UnixStream::connect(entry.path()).ok());
    streams
        .filter_map(|stream| rustix::net::sockopt::socket_peercred(stream).ok())
        .map(|credentials| credentials.pid)
        .collect()
}
