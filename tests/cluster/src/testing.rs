//! For tests that need a real cluster. Like tests, it panics when something does not work.
//!
//! All tests of a run use one cluster, named `shared`: the first that asks makes it, also from another process, and the
//! others find it. It stays when the last test ends, so that the next run begins at once; `cargo xtask test` takes it down,
//! and by hand it is `cargo xtask cluster --name shared down`.

mod condition;
mod failure;
mod namespace;

use std::fs::{self, File};
use std::os::unix::fs::MetadataExt as _;
use std::process::{Command, Output, Stdio};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};

pub use condition::Condition;
pub use namespace::Namespace;

use crate::cluster::{Kubectl, Name, Options, Running, Status, down};
use crate::wait::poll;

/// The name of the cluster that tests share.
pub const SHARED: &str = "shared";

/// The longest that a test waits for others to leave the shared cluster.
const TURN: Duration = Duration::from_secs(900);
/// The longest that a busy machine takes to have the cluster well again by itself.
const RECOVERY: Duration = Duration::from_secs(60);
/// Seconds that a command on a host or in a Pod may take.
const COMMAND: u32 = 60;

/// A test's hold on a cluster. When the test fails, everything that may tell why goes to a folder, whose path is printed.
#[derive(Debug)]
pub struct Cluster {
    running: Running,
    hold: Hold,
    /// Names of the namespaces that were handed out.
    namespaces: Mutex<Vec<String>>,
}

#[derive(Debug)]
enum Hold {
    /// With others; nobody breaks it meanwhile.
    Shared { _turn: File },
    /// Nobody else uses it; it is mended at the end.
    Alone { _turn: File },
    /// It goes away with this value.
    Own,
}

impl Cluster {
    /// The cluster of all tests, with three nodes and default options, to use and to leave as it was found.
    #[expect(clippy::panic, reason = "a test fails by panicking")]
    pub fn shared() -> Self {
        turn(false).unwrap_or_else(|error| panic!("no shared cluster: {error:#}"))
    }

    /// The same cluster with nobody else on it, to break; what a cable, a power switch or a signal broke is mended at the end.
    #[expect(clippy::panic, reason = "a test fails by panicking")]
    pub fn alone() -> Self {
        turn(true).unwrap_or_else(|error| panic!("no cluster: {error:#}"))
    }

    /// A cluster of the test's own; what an earlier run left under that name is removed.
    #[expect(clippy::panic, reason = "a test fails by panicking")]
    pub fn own(name: &str, options: &Options) -> Self {
        let make = || {
            let name: Name = name.parse()?;
            down(&name, &say)?;
            let made = made(&name, || Running::up(&name, options, &say));
            if made.is_err() {
                down(&name, &say)?;
            }
            Ok::<_, anyhow::Error>(Self::hold(made?, Hold::Own))
        };
        make().unwrap_or_else(|error| panic!("no cluster: {error:#}"))
    }

    fn hold(running: Running, hold: Hold) -> Self {
        Self { running, hold, namespaces: Mutex::default() }
    }

    /// What happens to machines, and where things are.
    pub fn running(&self) -> &Running {
        &self.running
    }

    pub fn kubectl(&self) -> Kubectl {
        self.running.kubectl()
    }

    /// Makes the objects be as `yaml` says.
    pub fn apply(&self, yaml: &str) -> Result<()> {
        self.kubectl().apply(yaml)
    }

    /// Waits until the condition holds; the error says what the object said last.
    pub fn wait_for(&self, condition: &Condition, bound: Duration) -> Result<()> {
        let mut last = String::from("it was never asked");
        let held = poll(bound, || match condition.look(&self.kubectl()) {
            Ok(None) => Some(()),
            Ok(Some(instead)) => {
                last = instead;
                None
            }
            Err(error) => {
                last = format!("{error:#}");
                None
            }
        });
        held.with_context(|| format!("{condition} is not so after {bound:?}: {last}"))
    }

    /// A namespace that nobody else has, which goes away with the value.
    pub fn namespace(&self, label: &str) -> Result<Namespace> {
        let namespace = Namespace::create(self.kubectl(), label)?;
        let mut names = self.namespaces.lock().unwrap_or_else(PoisonError::into_inner);
        names.push(namespace.name().to_owned());
        Ok(namespace)
    }

    /// What a command prints on a node, or on `control`, `router`, `client` or `far-client`; its failure is an error.
    pub fn exec(&self, host: &str, command: &[&str]) -> Result<String> {
        let mut bounded = self.running.command(host, "timeout")?;
        bounded.arg(COMMAND.to_string()).args(command);
        said(&mut bounded).with_context(|| format!("on {host}: {}", command.join(" ")))
    }

    /// What a command prints in a Pod's first container.
    pub fn exec_pod(&self, namespace: &str, pod: &str, command: &[&str]) -> Result<String> {
        let mut bounded = self.kubectl().bounded(COMMAND);
        bounded.args(["-n", namespace, "exec", pod, "--"]).args(command);
        said(&mut bounded).with_context(|| format!("in Pod {pod}: {}", command.join(" ")))
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if thread::panicking() {
            failure::keep(&self.running);
        }
        let left = match self.hold {
            Hold::Shared { .. } => Ok(()),
            Hold::Alone { .. } => self.running.mend(),
            Hold::Own => down(self.running.name(), &say),
        };
        // Of a test that failed they are still there.
        if thread::panicking() && !matches!(self.hold, Hold::Own) {
            let names = self.namespaces.get_mut().unwrap_or_else(PoisonError::into_inner);
            names.iter().for_each(|name| namespace::delete(&self.running.kubectl(), name));
        }
        if let Err(error) = left {
            say(&format!("cluster `{}` is left behind damaged: {error:#}", self.running.name()));
            // A test that passed so far fails by this.
            assert!(thread::panicking(), "the cluster is damaged: {error:#}");
        }
    }
}

/// The cluster that `make` makes; when it fails, what there is of it tells why.
fn made(name: &Name, make: impl FnOnce() -> Result<Running>) -> Result<Running> {
    let made = make();
    if let (Err(_), Ok(part)) = (&made, Running::find(name)) {
        failure::keep(&part);
    }
    made
}

/// Waits for a turn on the shared cluster, and makes or mends the cluster if need be.
fn turn(alone: bool) -> Result<Cluster> {
    let name: Name = SHARED.parse()?;
    for _ in 0..5 {
        let running = made(&name, || Running::find_or_up(&name, &Options::default(), &say))?;
        let path = name.folder().join("turn");
        let Ok(file) = File::options().create(true).append(true).open(&path) else { continue };
        let taken = poll(TURN, || if alone { file.try_lock() } else { file.try_lock_shared() }.ok());
        taken.with_context(|| format!("others did not leave the cluster within {TURN:?}"))?;
        // Somebody may have taken the cluster down meanwhile.
        if !fs::metadata(&path).is_ok_and(|now| file.metadata().is_ok_and(|held| held.ino() == now.ino())) {
            continue;
        }
        if becomes_healthy(&running) {
            let hold = if alone { Hold::Alone { _turn: file } } else { Hold::Shared { _turn: file } };
            return Ok(Cluster::hold(running, hold));
        }
        // Who broke it died before it could mend it.
        file.unlock()?;
        if file.try_lock().is_ok() && !(running.mend().is_ok() && becomes_healthy(&running)) {
            failure::keep(&running);
            down(&name, &say)?;
        }
    }
    bail!("the shared cluster is never found healthy")
}

fn becomes_healthy(cluster: &Running) -> bool {
    let healthy = poll(RECOVERY, || {
        let healthy = Status::of(cluster).is_healthy();
        if !healthy {
            thread::sleep(Duration::from_secs(1));
        }
        healthy.then_some(())
    });
    healthy.is_some()
}

fn said(command: &mut Command) -> Result<String> {
    let Output { status, stdout, stderr } = command.stdin(Stdio::null()).output().context("start it")?;
    let stderr = String::from_utf8_lossy(&stderr);
    ensure!(status.success(), "{status}: {}", stderr.trim());
    Ok(String::from_utf8_lossy(&stdout).into_owned())
}

#[expect(clippy::print_stderr, reason = "a test's output is shown when it fails")]
fn say(line: &str) {
    eprintln!("  {line}");
}
