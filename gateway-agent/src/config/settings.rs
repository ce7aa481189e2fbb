//! The settings as they are written: every flag, environment variable and key of the file. One type for all three, so that
//! they cannot differ.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use serde::Deserialize;

#[derive(Args, Deserialize, Clone, PartialEq, Eq, Debug, Default)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Settings {
    /// Directory tree of YAML or JSON files with the objects to serve. It is watched.
    #[arg(long, value_name = "DIR", env = "GATEHOUSE_SOURCE", help_heading = "Objects")]
    pub source: Option<PathBuf>,
    /// Write the status of every object as YAML below this directory. [default: not written]
    #[arg(long, value_name = "DIR", env = "GATEHOUSE_STATUS_DIR", help_heading = "Objects")]
    pub status_dir: Option<PathBuf>,
    /// Serve GatewayClasses with this controllerName. [default: gatehouse.dev/gateway-controller]
    #[arg(long, value_name = "NAME", env = "GATEHOUSE_CONTROLLER_NAME", help_heading = "Objects")]
    pub controller_name: Option<String>,
    /// This node's name in logs and status. [default: the host name]
    #[arg(long, value_name = "NAME", env = "GATEHOUSE_NODE_NAME", help_heading = "Objects")]
    pub node_name: Option<String>,

    /// CIDR that Gateways without spec.addresses get theirs from; may be repeated, for both families. [default: none]
    #[arg(
        long,
        value_name = "CIDR",
        env = "GATEHOUSE_ADDRESS_POOL",
        value_delimiter = ',',
        help_heading = "Network"
    )]
    pub address_pool: Vec<String>,
    /// Glob of devices whose incoming traffic may be for a VIP; may be repeated. [default: those with the node's addresses
    /// or default routes]
    #[arg(
        long,
        value_name = "GLOB",
        env = "GATEHOUSE_DEVICE",
        value_delimiter = ',',
        help_heading = "Network"
    )]
    pub device: Vec<String>,
    /// Glob of devices to leave alone; may be repeated and wins over --device. [default: none]
    #[arg(
        long,
        value_name = "GLOB",
        env = "GATEHOUSE_EXCLUDE_DEVICE",
        value_delimiter = ',',
        help_heading = "Network"
    )]
    pub exclude_device: Vec<String>,
    /// How to attach to TC ingress. [default: auto]
    #[arg(long, value_enum, env = "GATEHOUSE_TC", help_heading = "Network")]
    pub tc: Option<Tc>,
    /// Drop denied sources and unused VIP ports in XDP. [default: off]
    #[arg(long, value_enum, env = "GATEHOUSE_XDP", help_heading = "Network")]
    pub xdp: Option<Xdp>,
    /// CIDR whose packets to VIPs XDP drops; may be repeated; needs --xdp. [default: none]
    #[arg(
        long,
        value_name = "CIDR",
        env = "GATEHOUSE_DENY",
        value_delimiter = ',',
        help_heading = "Network"
    )]
    pub deny: Vec<String>,

    /// Who starts the proxy. [default: spawn]
    #[arg(long, value_enum, env = "GATEHOUSE_PROXY", help_heading = "Proxy")]
    pub proxy: Option<ProxyMode>,
    /// The proxy to spawn. [default: gateway-proxy beside this program]
    #[arg(long, value_name = "FILE", env = "GATEHOUSE_PROXY_BINARY", help_heading = "Proxy")]
    pub proxy_binary: Option<PathBuf>,
    /// Whom the proxy runs as: a name of /etc/passwd, UID or UID:GID. [default: 65532]
    #[arg(long, value_name = "USER", env = "GATEHOUSE_PROXY_USER", help_heading = "Proxy")]
    pub proxy_user: Option<String>,
    /// Worker threads of the proxy, 1 to 256; each has a listening socket per Gateway and family. [default: the cores]
    #[arg(long, value_name = "N", env = "GATEHOUSE_WORKERS", help_heading = "Proxy")]
    pub workers: Option<u32>,
    /// Time that connections get to finish when a proxy is replaced or stops, as 60s. [default: 60s]
    #[arg(long, value_name = "DURATION", env = "GATEHOUSE_DRAIN_DEADLINE", help_heading = "Proxy")]
    pub drain_deadline: Option<String>,

    /// Where a spawned proxy writes the access log of Gateways that ask for one: an absolute path, or - for standard output.
    /// [default: -]
    #[arg(long, value_name = "FILE", env = "GATEHOUSE_ACCESS_LOG", help_heading = "Proxy")]
    pub access_log: Option<String>,
    /// TCP address on which a spawned proxy also answers /metrics and /ready. [default: none]
    #[arg(long, value_name = "ADDR:PORT", env = "GATEHOUSE_METRICS_LISTEN", help_heading = "Proxy")]
    pub metrics_listen: Option<String>,

    /// Directory of the sockets between agent, proxy and gatectl. [default: /run/gatehouse]
    #[arg(long, value_name = "DIR", env = "GATEHOUSE_RUNTIME_DIR", help_heading = "Paths")]
    pub runtime_dir: Option<PathBuf>,
    /// Directory of what must outlive a reboot, such as assigned addresses. [default: /var/lib/gatehouse]
    #[arg(long, value_name = "DIR", env = "GATEHOUSE_STATE_DIR", help_heading = "Paths")]
    pub state_dir: Option<PathBuf>,
    /// Directory in a BPF file system for pinned maps, programs and links. [default: /sys/fs/bpf/gatehouse]
    #[arg(long, value_name = "DIR", env = "GATEHOUSE_PIN_DIR", help_heading = "Paths")]
    pub pin_dir: Option<PathBuf>,
    /// Mount a BPF file system at the parent of --pin-dir when there is none. [default: false]
    #[arg(long, env = "GATEHOUSE_MOUNT_BPFFS", num_args = 0..=1, default_missing_value = "true", help_heading = "Paths")]
    pub mount_bpffs: Option<bool>,

    /// What is logged: a level, or levels by module as gateway_agent::source=debug,info. [default: info]
    #[arg(long, value_name = "FILTER", env = "GATEHOUSE_LOG", help_heading = "Log")]
    pub log: Option<String>,
    /// How the log is written. [default: text]
    #[arg(long, value_enum, env = "GATEHOUSE_LOG_FORMAT", help_heading = "Log")]
    pub log_format: Option<LogFormat>,
    /// What the eBPF programs log, per packet: for debugging on a quiet node. [default: off]
    #[arg(long, value_enum, env = "GATEHOUSE_EBPF_LOG", help_heading = "Log")]
    pub ebpf_log: Option<EbpfLog>,
}

#[derive(ValueEnum, Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
#[serde(rename_all = "kebab-case")]
pub enum Tc {
    /// TCX where the kernel has it (6.6), else netlink.
    Auto,
    /// TCX, or fail.
    Tcx,
    /// A filter of the clsact qdisc.
    Netlink,
}

#[derive(ValueEnum, Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
#[serde(rename_all = "kebab-case")]
pub enum Xdp {
    /// No XDP program.
    Off,
    /// In the driver, where it can.
    Native,
    /// In the stack before TC, on any device; slower.
    Generic,
}

#[derive(ValueEnum, Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
#[serde(rename_all = "kebab-case")]
pub enum ProxyMode {
    /// The agent starts and supervises it.
    Spawn,
    /// It is a unit or container of its own and connects to the agent.
    Connect,
}

#[derive(ValueEnum, Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
#[serde(rename_all = "kebab-case")]
pub enum LogFormat {
    /// Lines for people.
    Text,
    /// One JSON object per line.
    Json,
}

#[derive(ValueEnum, Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
#[serde(rename_all = "kebab-case")]
pub enum EbpfLog {
    /// Nothing; the verifier removes the code.
    Off,
    /// Decisions.
    Debug,
    /// Every packet of a VIP.
    Trace,
}

impl Settings {
    /// What is said here, and where nothing is said, what the other says.
    pub fn or(self, other: Self) -> Self {
        let list = |mine: Vec<String>, other: Vec<String>| if mine.is_empty() { other } else { mine };
        Self {
            source: self.source.or(other.source),
            status_dir: self.status_dir.or(other.status_dir),
            controller_name: self.controller_name.or(other.controller_name),
            node_name: self.node_name.or(other.node_name),
            address_pool: list(self.address_pool, other.address_pool),
            device: list(self.device, other.device),
            exclude_device: list(self.exclude_device, other.exclude_device),
            tc: self.tc.or(other.tc),
            xdp: self.xdp.or(other.xdp),
            deny: list(self.deny, other.deny),
            proxy: self.proxy.or(other.proxy),
            proxy_binary: self.proxy_binary.or(other.proxy_binary),
            proxy_user: self.proxy_user.or(other.proxy_user),
            workers: self.workers.or(other.workers),
            drain_deadline: self.drain_deadline.or(other.drain_deadline),
            runtime_dir: self.runtime_dir.or(other.runtime_dir),
            state_dir: self.state_dir.or(other.state_dir),
            pin_dir: self.pin_dir.or(other.pin_dir),
            mount_bpffs: self.mount_bpffs.or(other.mount_bpffs),
            log: self.log.or(other.log),
            access_log: self.access_log.or(other.access_log),
            metrics_listen: self.metrics_listen.or(other.metrics_listen),
            log_format: self.log_format.or(other.log_format),
            ebpf_log: self.ebpf_log.or(other.ebpf_log),
        }
    }
}

/// As flag and file write it.
pub(super) fn name_of(value: &impl ValueEnum) -> String {
    value.to_possible_value().map(|v| v.get_name().to_owned()).unwrap_or_default()
}
