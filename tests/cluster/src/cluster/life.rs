//! What happens to nodes: power, time, cables. Each call returns when the change is made, not when Kubernetes noticed.

use anyhow::{Context as _, Result, ensure};

use super::cgroup;
use super::control_plane::API_SERVER;
use super::lock::Lock;
use super::process::plain_umask;
use super::running::Running;

/// What a node looks like from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub struct NodeState {
    /// Its first process runs.
    pub on: bool,
    pub frozen: bool,
    /// The switch gives it a carrier.
    pub carrier: bool,
    /// The switch passes its packets on.
    pub connected: bool,
}

impl Running {
    pub fn node_state(&self, node: &str) -> NodeState {
        let port = self.with_network(|network| network.port(node));
        let (carrier, connected) = port.unwrap_or((false, false));
        let frozen = cgroup::is_frozen(&self.node_cgroups(node));
        NodeState { on: self.init_of(node).is_some(), frozen, carrier, connected }
    }

    /// Cuts the node's power: its processes die at once and it leaves the network. Its disk stays.
    pub fn stop_node(&self, node: &str) -> Result<()> {
        let node = self.node(node)?;
        let _lock = self.lock()?;
        self.switch_off(&node.name)
    }

    /// Boots a node that is off and waits until it is Ready.
    pub fn start_node(&self, node: &str) -> Result<()> {
        let node = self.node(node)?;
        let _lock = self.lock()?;
        plain_umask();
        ensure!(self.init_of(&node.name).is_none(), "node {} is on", node.name);
        ensure!(
            self.runs(API_SERVER),
            "the API server is stopped, and knows what networks {} has: `cargo xtask cluster --name {} apiserver start` \
             comes first",
            node.name,
            self.name(),
        );
        // A crash may have left a part of it.
        self.switch_off(&node.name)?;
        self.switch_on(&node)?;
        self.start_kubelet(&node)?;
        self.lay_routes(&self.nodes())?;
        self.start_node_network(&node)?;
        self.wait_fresh(&[node])
    }

    /// Stops all processes of a node where they are; its kernel goes on to answer ARP and pings.
    pub fn freeze_node(&self, node: &str) -> Result<()> {
        self.set_frozen(node, true)
    }

    pub fn thaw_node(&self, node: &str) -> Result<()> {
        self.set_frozen(node, false)
    }

    /// Has the switch drop all that comes from or goes to the node, whose carrier stays.
    pub fn partition_node(&self, node: &str) -> Result<()> {
        self.on_port(node, |running, node| running.with_network(|network| network.set_connected(node, false)))
    }

    /// Ends a partition.
    pub fn heal_node(&self, node: &str) -> Result<()> {
        self.on_port(node, |running, node| running.with_network(|network| network.set_connected(node, true)))
    }

    /// Pulls the node's cable out, or plugs it in again. The kernel keeps the node's routes meanwhile.
    pub fn set_carrier(&self, node: &str, up: bool) -> Result<()> {
        self.on_port(node, |running, node| running.with_network(|network| network.set_carrier(node, up)))
    }

    /// Moves its Pods elsewhere and lets no new ones in; `kubectl uncordon` ends it.
    pub fn drain_node(&self, node: &str) -> Result<()> {
        let node = self.node(node)?;
        let options = ["--ignore-daemonsets", "--delete-emptydir-data", "--force", "--timeout=120s"];
        self.kubectl().run(&[&["drain", &node.name], options.as_slice()].concat()).map(drop)
    }

    /// Undoes all of the above, starts anew what died, and waits until every node is Ready: what a test does that must leave
    /// the cluster to others.
    pub fn mend(&self) -> Result<()> {
        let nodes = self.nodes();
        for node in &nodes {
            let state = self.node_state(&node.name);
            if state.frozen {
                self.thaw_node(&node.name)?;
            }
            if state.on && !state.carrier {
                self.set_carrier(&node.name, true)?;
            }
            if state.on && !state.connected {
                self.heal_node(&node.name)?;
            }
        }
        self.restart_api_server()?;
        for node in &nodes {
            if !self.is_whole(&node.name) {
                self.stop_node(&node.name)?;
                self.start_node(&node.name)?;
            }
            self.kubectl().run(&["uncordon", &node.name])?;
        }
        self.lay_routes(&nodes)?;
        self.wait_fresh(&nodes)
    }

    /// Whether all that was started on the node still runs.
    fn is_whole(&self, node: &str) -> bool {
        let processes = self.record().processes();
        let mut own = processes.iter().filter(|(name, _)| name.split('/').next() == Some(node));
        own.all(|(_, process)| process.is_alive())
    }

    fn set_frozen(&self, node: &str, frozen: bool) -> Result<()> {
        let node = self.node(node)?;
        let _lock = self.lock()?;
        ensure!(self.init_of(&node.name).is_some(), "node {} is off", node.name);
        cgroup::set_frozen(&self.node_cgroups(&node.name), frozen)
            .with_context(|| format!("freeze or thaw node {}", node.name))
    }

    fn on_port(&self, node: &str, change: impl FnOnce(&Self, &str) -> Result<()>) -> Result<()> {
        let node = self.node(node)?;
        let _lock = self.lock()?;
        ensure!(self.init_of(&node.name).is_some(), "node {} is off", node.name);
        change(self, &node.name)
    }

    pub(crate) fn lock(&self) -> Result<Lock> {
        Lock::take(self.name(), &|_| ())
    }
}
