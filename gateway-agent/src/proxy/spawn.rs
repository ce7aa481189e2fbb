//! Starts `gateway-proxy` as an unprivileged process that outlives the agent.

use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, ExitStatus, Stdio};

use anyhow::Context;
use tokio::sync::mpsc;

/// How to start a proxy.
#[derive(Clone, Debug)]
pub struct Spawn {
    pub binary: PathBuf,
    pub uid: u32,
    pub gid: u32,
    pub args: Vec<OsString>,
}

#[derive(Debug)]
pub struct Exited {
    pub pid: u32,
    pub status: Option<ExitStatus>,
}

impl Spawn {
    /// Starts one; its end is told on `exits`.
    pub fn start(&self, exits: &mpsc::Sender<Exited>) -> anyhow::Result<u32> {
        let mut command = Command::new(&self.binary);
        // An own process group: a Ctrl-C or a service manager's signal for the agent is not for the proxy. With a uid
        // given, std also empties the supplementary groups, and the kernel takes all capabilities.
        command.args(&self.args).uid(self.uid).gid(self.gid).process_group(0).stdin(Stdio::null());
        let mut child = command.spawn().with_context(|| {
            format!(
                "starting the proxy {} as uid {}: is the binary there, and executable for that user? (--proxy-binary)",
                self.binary.display(),
                self.uid
            )
        })?;
        let pid = child.id();
        let exits = exits.clone();
        tokio::task::spawn_blocking(move || {
            let status = child.wait().ok();
            let _ = exits.blocking_send(Exited { pid, status });
        });
        Ok(pid)
    }
}
