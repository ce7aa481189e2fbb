//! `cargo xtask cluster node`: what happens to machines.

use anyhow::Result;
use clap::{Subcommand, ValueEnum};
use gatehouse_cluster::cluster::Running;
use gatehouse_cluster::progress::telling;

use super::say;

#[derive(Subcommand)]
#[command(after_help = "\
Each returns when the change is made; Kubernetes notices about ten seconds later.
A node's clock cannot be skewed: Linux has no namespace for the time of day, and Go programs read it past libfaketime.

Examples:
  cargo xtask cluster node stop n2 && cargo xtask cluster node start n2
  cargo xtask cluster node carrier n1 down")]
pub(super) enum Action {
    /// Cuts the power: all processes die at once; the disk stays
    Stop { node: String },
    /// Boots a node that is off; Ready at the end
    Start { node: String },
    /// Stops all its processes where they are; its kernel still answers pings
    Freeze { node: String },
    /// Ends a freeze
    Thaw { node: String },
    /// Drops everything between it and the network; its carrier stays
    Partition { node: String },
    /// Ends a partition
    Heal { node: String },
    /// Moves its Pods elsewhere and cordons it; `kubectl uncordon` ends that
    Drain { node: String },
    /// Pulls out or plugs in its cable
    Carrier { node: String, state: State },
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum State {
    Up,
    Down,
}

impl Action {
    pub(super) fn run(self, cluster: &Running) -> Result<()> {
        let told = |node: &str, what: &str, work: &dyn Fn() -> Result<()>| {
            telling(&say, &format!("node {node}: {what}"), work)
        };
        match self {
            Self::Stop { node } => told(&node, "stop", &|| cluster.stop_node(&node)),
            Self::Start { node } => told(&node, "start", &|| cluster.start_node(&node)),
            Self::Freeze { node } => told(&node, "freeze", &|| cluster.freeze_node(&node)),
            Self::Thaw { node } => told(&node, "thaw", &|| cluster.thaw_node(&node)),
            Self::Partition { node } => told(&node, "partition", &|| cluster.partition_node(&node)),
            Self::Heal { node } => told(&node, "heal", &|| cluster.heal_node(&node)),
            Self::Drain { node } => told(&node, "drain", &|| cluster.drain_node(&node)),
            Self::Carrier { node, state } => {
                told(&node, "carrier", &|| cluster.set_carrier(&node, state == State::Up))
            }
        }
    }
}
