//! One agent per runtime directory and per network namespace: two would fight over maps, routes and sockets.

use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, bail};
use rustix::fs::{FlockOperation, flock};
use rustix::net::sockopt::socket_peercred;
use rustix::process::geteuid;

/// A former agent that is ending gets this time.
const PATIENCE: Duration = Duration::from_secs(10);
/// In the abstract namespace, which is the network namespace's own (unix(7)).
const NAME: &str = "gatehouse-agent";

/// Holds until it is dropped or the process dies.
pub(super) struct Lock {
    _file: Option<File>,
    _name: Option<UnixListener>,
}

/// Without a runtime directory, such as when there is nothing to clean up in it, the namespace alone.
pub(super) async fn take(runtime_dir: Option<&Path>) -> anyhow::Result<Lock> {
    take_within(runtime_dir, PATIENCE).await
}

async fn take_within(runtime_dir: Option<&Path>, patience: Duration) -> anyhow::Result<Lock> {
    let end = tokio::time::Instant::now() + patience;
    let mut told = false;
    let file = runtime_dir.map(|dir| open(&dir.join("agent.lock"))).transpose()?;
    loop {
        let holder = match try_take(file.as_ref())? {
            Ok(name) => {
                if let Some(mut file) = file.as_ref() {
                    file.set_len(0)?;
                    file.rewind()?;
                    writeln!(file, "{}", std::process::id())?;
                }
                return Ok(Lock { _file: file, _name: name });
            }
            Err(holder) => holder,
        };
        if tokio::time::Instant::now() >= end {
            bail!(
                "another gateway-agent (pid {holder}) runs in this network namespace or with this --runtime-dir; stop it first: \
                 two would take each other's routes and VIPs away"
            );
        }
        if !std::mem::replace(&mut told, true) {
            tracing::info!(pid = holder, "waiting for the former agent to end");
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn open(path: &Path) -> anyhow::Result<File> {
    let open = File::options().read(true).write(true).create(true).truncate(false).open(path);
    open.with_context(|| format!("open {}", path.display()))
}

/// The inner error: who has it.
fn try_take(file: Option<&File>) -> anyhow::Result<Result<Option<UnixListener>, String>> {
    if let Some(mut file) = file
        && flock(file, FlockOperation::NonBlockingLockExclusive).is_err()
    {
        let mut pid = String::new();
        file.rewind()?;
        file.read_to_string(&mut pid)?;
        return Ok(Err(pid.trim().to_owned()));
    }
    let name = SocketAddr::from_abstract_name(NAME)?;
    match UnixListener::bind_addr(&name) {
        Ok(listener) => Ok(Ok(Some(listener))),
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
            // Gone meanwhile, or ending: the next try tells.
            let Ok(stream) = UnixStream::connect_addr(&name) else { return Ok(Err("unknown".to_owned())) };
            let holder = socket_peercred(&stream)?;
            if holder.uid == geteuid() {
                return Ok(Err(holder.pid.as_raw_nonzero().to_string()));
            }
            // Anybody may bind the name; who is not us must not keep us from running.
            tracing::warn!(pid = %holder.pid.as_raw_nonzero(), uid = holder.uid.as_raw(), name = NAME,
                "somebody else's process has the name by which agents of a network namespace know each other");
            Ok(Ok(None))
        }
        Err(error) => Err(error).context("bind an abstract Unix socket"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The name is the whole network namespace's, so one test does all.
    #[tokio::test]
    async fn one_agent_at_a_time() {
        let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let lock = take(Some(one.path())).await.unwrap();
        for dir in [Some(one.path()), Some(two.path()), None] {
            let error = take_within(dir, Duration::from_millis(60)).await.err().unwrap().to_string();
            assert!(error.contains(&format!("pid {}", std::process::id())), "{error}");
        }
        drop(lock);
        take(Some(two.path())).await.unwrap();
        take(None).await.unwrap();
    }
}
