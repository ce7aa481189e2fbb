//! One agent per runtime directory: two would fight over maps and sockets.

use std::fs::File;
use std::io::{Read, Seek, Write};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, bail};
use rustix::fs::{FlockOperation, flock};

/// A former agent that is ending gets this time.
const PATIENCE: Duration = Duration::from_secs(10);

/// Holds the lock until it is dropped or the process dies.
pub(super) async fn take(runtime_dir: &Path) -> anyhow::Result<File> {
    let path = runtime_dir.join("agent.lock");
    let open = || File::options().read(true).write(true).create(true).truncate(false).open(&path);
    let mut file = open().with_context(|| format!("open {}", path.display()))?;
    let end = tokio::time::Instant::now() + PATIENCE;
    let mut told = false;
    while flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
        let mut pid = String::new();
        file.rewind()?;
        file.read_to_string(&mut pid)?;
        if tokio::time::Instant::now() >= end {
            bail!(
                "another gateway-agent (pid {}) holds {}; stop it, or give this one another --runtime-dir",
                pid.trim(),
                path.display()
            );
        }
        if !std::mem::replace(&mut told, true) {
            tracing::info!(pid = pid.trim(), "waiting for the former agent to end");
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    file.set_len(0)?;
    file.rewind()?;
    writeln!(file, "{}", std::process::id())?;
    Ok(file)
}
