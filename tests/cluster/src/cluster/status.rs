//! What a cluster is like now: asked of the kernel and of the API server, remembered nowhere.

use std::path::PathBuf;

use serde::Serialize;
use serde_json::Value;

use super::cgroup;
use super::life::NodeState;
use super::options::Options;
use super::process::Identity;
use super::running::Running;
use super::up::is_ready;

#[derive(Debug, Serialize)]
pub struct Status {
    pub name: String,
    pub folder: PathBuf,
    pub kubeconfig: PathBuf,
    pub options: Options,
    pub api_server_ready: bool,
    pub nodes: Vec<Node>,
    pub processes: Vec<Process>,
    /// Bytes of everything in the cluster, Pods included.
    pub memory: u64,
}

#[derive(Debug, Serialize)]
pub struct Node {
    pub name: String,
    pub addresses: Vec<String>,
    pub netns: PathBuf,
    #[serde(flatten)]
    pub state: NodeState,
    pub ready: bool,
    /// Of its Pods.
    pub cidrs: Vec<String>,
}

#[derive(Debug, Serialize)]
pub struct Process {
    pub name: String,
    pub pid: i32,
    pub alive: bool,
    pub memory: u64,
    pub log: PathBuf,
}

impl Status {
    pub fn of(cluster: &Running) -> Self {
        let known = cluster.kubectl().get(&["--request-timeout=5s", "nodes"]);
        let list = known.as_ref().unwrap_or(&Value::Null);
        let nodes = cluster.nodes().into_iter().map(|node| {
            let (v4, v6) = node.addresses();
            Node {
                addresses: vec![v4.to_string(), v6.to_string()],
                netns: cluster.name().netns_path(&node.name),
                state: cluster.node_state(&node.name),
                ready: is_ready(list, &node.name),
                cidrs: super::up::pod_cidrs(list, &node.name).unwrap_or_default(),
                name: node.name,
            }
        });
        let processes = cluster.record().processes().into_iter().map(|(name, identity)| Process {
            pid: identity.pid,
            alive: identity.is_alive(),
            memory: if identity.is_alive() { identity.memory() } else { 0 },
            log: cluster.name().log(&name),
            name,
        });
        let members = cgroup::members(cluster.cgroups());
        Self {
            name: cluster.name().to_string(),
            folder: cluster.name().folder(),
            kubeconfig: cluster.kubeconfig(),
            options: cluster.options().clone(),
            api_server_ready: known.is_ok(),
            nodes: nodes.collect(),
            processes: processes.collect(),
            memory: members.into_iter().filter_map(Identity::of).map(Identity::memory).sum(),
        }
    }

    /// Nothing is off, dead, cut off or NotReady.
    pub fn is_healthy(&self) -> bool {
        let well = |node: &Node| {
            let NodeState { on, frozen, carrier, connected } = node.state;
            node.ready && on && !frozen && carrier && connected
        };
        self.api_server_ready
            && self.nodes.iter().all(well)
            && self.processes.iter().all(|process| process.alive)
    }
}
