//! What the operator said about this node: flags, environment and file, checked as a whole before anything is done.

mod file;
mod host;
#[cfg(test)]
mod reference;
mod resolve;
mod settings;

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use ipnet::IpNet;

pub use host::Host;
pub use settings::{EbpfLog, LogFormat, ProxyMode, Settings, Tc, Xdp};

pub const EXAMPLES: &str = "Examples:
  gateway-agent run --source /etc/gatehouse/objects --address-pool 203.0.113.0/28
      serve the Gateways in that directory, addresses out of the pool
  gateway-agent run --config /etc/gatehouse/agent.yaml --log debug
      settings from a file; flags win over the environment, which wins over the file
  gateway-agent run --source ./objects --proxy connect --xdp native --deny 192.0.2.0/24
      the proxy is a unit of its own; XDP drops what is denied

Durations are written as 10s, 1m30s or 250ms. Keys of the file are the flags' names without the dashes.";

/// The flags of `gateway-agent run`.
#[derive(Args, Clone, Debug, Default)]
pub struct Flags {
    /// Read settings from this YAML file.
    #[arg(long, value_name = "FILE", env = "GATEHOUSE_CONFIG")]
    pub config: Option<PathBuf>,
    #[command(flatten)]
    pub settings: Settings,
}

/// What settings are needed for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Purpose {
    Run,
    /// Reads no objects: their directory may be gone already.
    Cleanup,
}

/// Checked settings.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Config {
    pub source: PathBuf,
    pub status_dir: Option<PathBuf>,
    pub state_dir: PathBuf,
    pub runtime_dir: PathBuf,
    pub pin_dir: PathBuf,
    pub mount_bpffs: bool,
    pub node_name: String,
    pub controller_name: String,
    pub address_pools: Vec<IpNet>,
    pub devices: Vec<String>,
    pub exclude_devices: Vec<String>,
    pub tc: Tc,
    pub xdp: Xdp,
    pub deny: Vec<IpNet>,
    pub proxy: ProxyMode,
    pub proxy_binary: PathBuf,
    pub proxy_user: ProxyUser,
    pub workers: u16,
    pub drain_deadline: Duration,
    /// A path, or `-`.
    pub access_log: String,
    pub metrics_listen: Option<SocketAddr>,
    pub log: String,
    pub log_format: LogFormat,
    pub ebpf_log: EbpfLog,
}

/// Whom the proxy runs as.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ProxyUser {
    pub uid: u32,
    pub gid: u32,
}

/// A setting that cannot be used, and what to do.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Problem {
    /// Its flag's name without dashes; `config` is the file.
    pub setting: &'static str,
    pub message: String,
}

/// Everything that is wrong with the settings.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub struct Problems(pub Vec<Problem>);

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.0.iter().enumerate() {
            let separator = if index == 0 { "" } else { "\n" };
            write!(f, "{separator}--{}: {}", problem.setting, problem.message)?;
        }
        Ok(())
    }
}

impl Config {
    /// Reads the file, if there is one, and checks everything against this host. Changes nothing.
    pub fn load(flags: Flags, purpose: Purpose) -> Result<Self, Problems> {
        let from_file = match &flags.config {
            None => Settings::default(),
            Some(path) => file::read(path).map_err(|messages| {
                Problems(messages.into_iter().map(|message| Problem { setting: "config", message }).collect())
            })?,
        };
        resolve::resolve(flags.settings.or(from_file), &Host::observe(), purpose)
    }

    /// The agent's admin socket.
    pub fn agent_socket(&self) -> PathBuf {
        self.runtime_dir.join("agent.sock")
    }

    /// Where proxies connect.
    pub fn control_socket(&self) -> PathBuf {
        self.runtime_dir.join("control.sock")
    }

    /// Where proxies put their admin sockets.
    pub fn proxy_dir(&self) -> PathBuf {
        self.runtime_dir.join("proxy")
    }

    /// Each setting as the log shows it at start.
    pub fn entries(&self) -> Vec<(&'static str, String)> {
        let path = |path: &PathBuf| path.display().to_string();
        let nets = |nets: &[IpNet]| nets.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
        vec![
            ("source", path(&self.source)),
            ("status-dir", self.status_dir.as_ref().map(path).unwrap_or_default()),
            ("state-dir", path(&self.state_dir)),
            ("runtime-dir", path(&self.runtime_dir)),
            ("pin-dir", path(&self.pin_dir)),
            ("mount-bpffs", self.mount_bpffs.to_string()),
            ("node-name", self.node_name.clone()),
            ("controller-name", self.controller_name.clone()),
            ("address-pool", nets(&self.address_pools)),
            ("device", self.devices.join(",")),
            ("exclude-device", self.exclude_devices.join(",")),
            ("tc", settings::name_of(&self.tc)),
            ("xdp", settings::name_of(&self.xdp)),
            ("deny", format!("{} prefixes", self.deny.len())),
            ("proxy", settings::name_of(&self.proxy)),
            ("proxy-binary", path(&self.proxy_binary)),
            ("proxy-user", format!("{}:{}", self.proxy_user.uid, self.proxy_user.gid)),
            ("workers", self.workers.to_string()),
            ("drain-deadline", crate::crds::duration::format(self.drain_deadline)),
            ("access-log", self.access_log.clone()),
            ("metrics-listen", self.metrics_listen.map(|address| address.to_string()).unwrap_or_default()),
            ("log", self.log.clone()),
            ("log-format", settings::name_of(&self.log_format)),
            ("ebpf-log", settings::name_of(&self.ebpf_log)),
        ]
    }

    /// True if a pool holds the address.
    pub fn has_in_pool(&self, address: IpAddr) -> bool {
        self.address_pools.iter().any(|net| net.contains(&address))
    }
}

impl fmt::Display for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (name, value)) in self.entries().into_iter().enumerate() {
            let separator = if index == 0 { "" } else { " " };
            let value = if value.is_empty() { "-" } else { value.as_str() };
            write!(f, "{separator}{name}={value}")?;
        }
        Ok(())
    }
}
