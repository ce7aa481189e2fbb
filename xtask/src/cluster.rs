//! `cargo xtask cluster`: a real Kubernetes in network namespaces of this machine.
#![expect(clippy::print_stdout, reason = "a task talks to its user")]

use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;

use anyhow::{Context as _, Result, ensure};
use clap::Subcommand;
use gatehouse_cluster::artifacts::{Artifacts, Channel, Component, Suite};
use gatehouse_cluster::cluster::{self, Cni, KubeProxy, Name, Options, Running};
use gatehouse_cluster::progress::telling;

use crate::setup::{Purpose, ensure_packages};

mod logs;
mod node;
mod show;

#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  cargo xtask cluster up                                  # three nodes, both IP families
  cargo xtask cluster up --name b --cni flannel           # another beside it
  cargo xtask cluster kubectl get pods -A -o wide
  cargo xtask cluster exec n1 -- ip route
  cargo xtask cluster node freeze n2
  cargo xtask cluster down")]
pub(crate) struct Args {
    /// Which cluster
    #[arg(long, global = true, default_value = "default")]
    name: Name,
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Compiles what the user's cache lacks: control plane, node programs, images and conformance suites
    Build {
        /// Only these; all if none is named
        components: Vec<Component>,
    },
    /// Makes a cluster and waits until its nodes are Ready
    Up(Up),
    /// Shows what runs, where and how it fares
    #[command(after_help = "Example: cargo xtask cluster status -o json | jq '.nodes[].ready'")]
    Status(show::Args),
    /// Runs kubectl as the administrator
    #[command(after_help = "Example: cargo xtask cluster --name b kubectl get nodes -o wide")]
    Kubectl {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "ARGUMENT")]
        arguments: Vec<String>,
    },
    /// Runs a command on a node, or on `control`, `router`, `client` or `far-client`
    #[command(after_help = "\
Examples:
  cargo xtask cluster exec n1 -- ls /sys/fs/bpf
  cargo xtask cluster exec client -- curl -sk https://172.30.0.2:6443/version")]
    Exec {
        host: String,
        #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true, value_name = "COMMAND")]
        command: Vec<String>,
    },
    /// Loads an OCI archive into every node
    #[command(after_help = "Example: cargo xtask cluster load-image target/image/gatehouse.tar")]
    LoadImage { file: PathBuf },
    /// Shows what the cluster's programs print
    Logs(logs::Args),
    /// Power, time, cables and Pods of a node
    #[command(subcommand)]
    Node(node::Action),
    /// Stops or starts the API server
    #[command(subcommand)]
    Apiserver(ApiServer),
    /// Removes the cluster with everything that it made; fine when there is none
    Down {
        /// All clusters of this machine
        #[arg(long)]
        all: bool,
    },
}

#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  cargo xtask cluster up --nodes 1 --dual-stack=false
  cargo xtask cluster up --kube-proxy none --gateway-api v1.6.3 --channel standard")]
struct Up {
    #[arg(long, default_value_t = 3)]
    nodes: u8,
    /// How Pods get their network: `ptp` (routes between nodes) or `flannel` (VXLAN)
    #[arg(long, default_value = "ptp")]
    cni: Cni,
    /// Whether Pods and Services have IPv6 beside IPv4; nodes always have both
    #[arg(long, num_args = 0..=1, require_equals = true, default_value_t = true, default_missing_value = "true",
          action = clap::ArgAction::Set)]
    dual_stack: bool,
    /// `nftables`, `iptables`, or `none` for a cluster without ClusterIPs
    #[arg(long, default_value = "nftables")]
    kube_proxy: KubeProxy,
    /// Whose CRDs are installed: `v1.7.0` or `v1.6.3`
    #[arg(long, default_value = "v1.7.0")]
    gateway_api: Suite,
    /// `standard` or `experimental`
    #[arg(long, default_value = "experimental")]
    channel: Channel,
}

#[derive(Subcommand)]
enum ApiServer {
    /// Ends it, gracefully for three seconds
    Stop,
    /// Starts it again and waits until it is ready
    Start,
}

pub(crate) fn run(args: Args) -> Result<()> {
    let Args { name, action } = args;
    let find = || Running::find(&name);
    match action {
        Action::Build { components } => build(&components),
        Action::Up(up) => up.run(&name),
        Action::Status(args) => show::run(&args, &find()?),
        Action::Kubectl { arguments } => {
            Err(find()?.kubectl().command().args(arguments).exec()).context("start kubectl")
        }
        Action::Exec { host, command } => {
            let error = find()?.command(&host, &command[0])?.args(&command[1..]).exec();
            Err(error).context("start nsenter")
        }
        Action::LoadImage { file } => load_image(&find()?, &file),
        Action::Logs(args) => logs::run(&args, &find()?),
        Action::Node(action) => action.run(&find()?),
        Action::Apiserver(action) => action.run(&find()?),
        Action::Down { all: false } => cluster::down(&name, &say),
        Action::Down { all: true } => down_all(),
    }
}

impl ApiServer {
    fn run(self, cluster: &Running) -> Result<()> {
        match self {
            Self::Stop => telling(&say, "API server: stop", || cluster.stop_api_server()),
            Self::Start => telling(&say, "API server: start", || cluster.restart_api_server()),
        }
    }
}

/// Goes on after a failure.
fn down_all() -> Result<()> {
    let mut errors = Vec::new();
    for name in cluster::all()? {
        println!("down: {name}");
        errors.extend(cluster::down(&name, &say).err().map(|error| format!("{error:#}")));
    }
    ensure!(errors.is_empty(), "{}", errors.join("\n"));
    Ok(())
}

impl Up {
    fn run(self, name: &Name) -> Result<()> {
        ensure_packages(&[Purpose::Cluster])?;
        let Self { nodes, cni, dual_stack, kube_proxy, gateway_api, channel } = self;
        let options = Options { nodes, cni, dual_stack, kube_proxy, gateway_api, channel };
        let cluster = Running::up(name, &options, &say)?;
        println!("\ncluster `{name}` is up. To use it:\n");
        let own = if name.as_str() == "default" { String::new() } else { format!(" --name {name}") };
        for example in ["kubectl get pods -A", "exec n1 -- ip route", "status", "down"] {
            println!("  cargo xtask cluster{own} {example}");
        }
        println!("\nkubeconfig: {} (works in the cluster's namespaces)", cluster.kubeconfig().display());
        Ok(())
    }
}

fn build(components: &[Component]) -> Result<()> {
    ensure_packages(&[Purpose::Cluster])?;
    let wanted = if components.is_empty() { &Component::ALL[..] } else { components };
    let artifacts = Artifacts::ensure(wanted, &say)?;
    let megabytes = artifacts.bytes()? / 1_000_000;
    println!("cluster: {} components are in the cache, {megabytes} MB", wanted.len());
    Ok(())
}

fn load_image(cluster: &Running, file: &std::path::Path) -> Result<()> {
    cluster.nodes().iter().try_for_each(|node| {
        telling(&say, &node.name, || cluster.load_image(&node.name, file))?;
        println!("{}: {} loaded", node.name, file.display());
        Ok(())
    })
}

fn say(line: &str) {
    println!("  {line}");
}
