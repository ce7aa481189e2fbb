//! Where the node's sockets and pins are.

use std::path::PathBuf;

use clap::Args;

use crate::objects_file;

#[derive(Args, Clone, Debug)]
pub struct Paths {
    /// Directory of the admin sockets.
    #[arg(long, env = "GATEHOUSE_RUNTIME_DIR", default_value = "/run/gatehouse", global = true)]
    pub runtime_dir: PathBuf,
    /// Directory of the pinned maps and links, without its version.
    #[arg(long, env = "GATEHOUSE_PIN_DIR", default_value = "/sys/fs/bpf/gatehouse", global = true)]
    pub pin_dir: PathBuf,
}

impl Paths {
    pub fn agent_socket(&self) -> PathBuf {
        self.runtime_dir.join("agent.sock")
    }

    /// What `/objects` answered last, left by the agent for the time when it is dead.
    pub fn objects_file(&self) -> PathBuf {
        self.runtime_dir.join(objects_file::NAME)
    }

    pub fn proxy_dir(&self) -> PathBuf {
        self.runtime_dir.join("proxy")
    }
}
