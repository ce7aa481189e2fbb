//! Bringing a cluster up, in the order that leaves the cores no time to idle.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use serde_json::Value;

use super::cgroup::{self, Hierarchy};
use super::down;
use super::hosts::{CONTROL, Host, ROUTER};
use super::lock::Lock;
use super::network::behind;
use super::options::{Cni, KubeProxy, Options};
use super::pki::Authority;
use super::place::Name;
use super::process::plain_umask;
use super::record::{Effect, Record};
use super::running::{Running, ensure_root};
use crate::artifacts::Artifacts;
use crate::image::Image;
use crate::progress::{EACH, Progress, telling, telling_each};
use crate::wait::poll;

const NODES_READY: Duration = Duration::from_secs(120);

impl Running {
    /// Makes the cluster and waits until all nodes are Ready and Pods can be created. What is left of an earlier one of that
    /// name is removed first; one that runs is left alone and is an error.
    pub fn up(name: &Name, options: &Options, progress: Progress<'_>) -> Result<Self> {
        let artifacts = prepare(options, progress)?;
        match Self::up_or_found(name, options, artifacts, progress)? {
            (cluster, true) => Ok(cluster),
            (_, false) => {
                bail!("cluster `{name}` is up: take it down first, or give the new one another --name")
            }
        }
    }

    /// The same, but one that runs is what is asked for.
    pub fn find_or_up(name: &Name, options: &Options, progress: Progress<'_>) -> Result<Self> {
        let artifacts = prepare(options, progress)?;
        let folders = artifacts.folders();
        let (cluster, _) = Self::up_or_found(name, options, artifacts, progress)?;
        ensure!(
            cluster.options() == options && cluster.artifacts().folders() == folders,
            "cluster `{name}` is up with other options or programs: `cargo xtask cluster --name {name} down` comes first"
        );
        Ok(cluster)
    }

    /// The cluster, and whether it is new.
    fn up_or_found(
        name: &Name,
        options: &Options,
        artifacts: Artifacts,
        progress: Progress<'_>,
    ) -> Result<(Self, bool)> {
        let lock = Lock::take(name, &|line| progress(line))?;
        if Self::is_up(name) {
            return Ok((Self::find(name)?, false));
        }
        if name.folder().exists() {
            progress("removing what is left of an earlier cluster");
            telling(progress, "removing it", || down::undo(name))?;
        }
        let steps = Steps { begun: Instant::now(), progress };
        let cluster = lay_out(name, options, artifacts)?;
        steps.done("network, cgroups and certificates");
        // Steps follow each other more quickly than this where all is well.
        let patient = |title, work: &dyn Fn() -> Result<()>| telling_each(EACH, EACH, progress, title, work);
        patient("starting the control plane and containerd", &|| cluster.begin(&steps))?;
        patient("waiting for the nodes", &|| cluster.populate(&steps))?;
        cluster.note_complete()?;
        drop(lock);
        Ok((cluster, true))
    }

    /// Control plane and nodes up to where they need each other.
    fn begin(&self, steps: &Steps<'_>) -> Result<()> {
        self.start_etcd()?;
        self.start_api_server()?;
        let nodes = self.nodes();
        all(
            &nodes,
            |node| {
                self.switch_on(node)?;
                self.artifacts()
                    .images()
                    .iter()
                    .try_for_each(|archive| self.load_image(&node.name, archive))?;
                steps.done(&format!("node {}: containerd, images", node.name));
                Ok(())
            },
            || {
                self.wait_api_server()?;
                steps.done("API server ready");
                self.start_controllers()
            },
        )
    }

    fn populate(&self, steps: &Steps<'_>) -> Result<()> {
        let nodes = self.nodes();
        nodes.iter().try_for_each(|node| self.start_kubelet(node))?;
        let crds = || {
            let files =
                self.artifacts().gateway_api_crds(self.options().gateway_api, self.options().channel)?;
            let flags: Vec<String> =
                files.iter().map(|file| format!("--filename={}", file.display())).collect();
            let flags = flags.iter().map(String::as_str);
            self.kubectl().run(&["apply", "--server-side"].into_iter().chain(flags).collect::<Vec<_>>())?;
            steps.done(&format!("Gateway API {} ({})", self.options().gateway_api, self.options().channel));
            // Without ClusterIPs there is no way to it, nor from it to the API server.
            if self.options().kube_proxy == KubeProxy::None {
                return Ok(());
            }
            self.kubectl().apply(&include_str!("dns.yaml").replace("COREDNS", Image::COREDNS))
        };
        let network = || {
            if self.options().cni == Cni::Flannel {
                self.kubectl().apply(include_str!("flannel.yaml"))?;
            }
            self.lay_routes(&nodes)?;
            nodes.iter().try_for_each(|node| self.start_node_network(node))?;
            steps.done("routes, kube-proxy");
            self.wait_ready(&nodes)?;
            self.wait_service_account()?;
            self.check_processes()?;
            steps.done(&format!("{} nodes Ready", nodes.len()));
            Ok(())
        };
        both(crds, network)
    }

    /// Routes to the Pods of each node, once the nodes have their CIDRs: from the router and the control plane, and between
    /// nodes where no overlay does it.
    pub(crate) fn lay_routes(&self, nodes: &[Host]) -> Result<()> {
        let known = poll(NODES_READY, || {
            let list = self.kubectl().get(&["nodes"]).ok()?;
            nodes.iter().map(|node| Some((node, pod_cidrs(&list, &node.name)?))).collect::<Option<Vec<_>>>()
        });
        let Some(known) = known else {
            nodes.iter().try_for_each(|node| self.check_node(&node.name))?;
            bail!(
                "not every node has CIDRs for its Pods; see the logs of the controller manager and the kubelets"
            );
        };
        let mut from = vec![ROUTER, CONTROL];
        if self.options().cni == Cni::Ptp {
            from.extend(
                nodes.iter().map(|node| node.name.as_str()).filter(|node| self.init_of(node).is_some()),
            );
        }
        for host in from {
            let others = known.iter().filter(|(node, _)| node.name != host);
            let networks: Vec<_> = others.flat_map(|(node, cidrs)| behind(cidrs, node.addresses())).collect();
            self.with_network(|network| network.route(host, &networks))?;
        }
        Ok(())
    }

    /// Waits until these nodes are Ready.
    pub fn wait_ready(&self, nodes: &[Host]) -> Result<()> {
        let mut last = String::new();
        let ready = poll(NODES_READY, || {
            let list = self.kubectl().get(&["nodes"]).ok()?;
            let waiting: Vec<&str> =
                nodes.iter().map(|node| node.name.as_str()).filter(|node| !is_ready(&list, node)).collect();
            last = waiting.join(", ");
            waiting.is_empty().then_some(())
        });
        if ready.is_none() {
            nodes.iter().try_for_each(|node| self.check_node(&node.name))?;
            bail!("not Ready: {last}; see `cargo xtask cluster logs --name {}`", self.name());
        }
        Ok(())
    }

    /// Waits until these nodes have spoken once more and are Ready: a node that was away may still be thought well.
    pub(crate) fn wait_fresh(&self, nodes: &[Host]) -> Result<()> {
        let before = self.kubectl().get(&["nodes"])?;
        let spoken = poll(NODES_READY, || {
            let now = self.kubectl().get(&["nodes"]).ok()?;
            let again = |node: &Host| heartbeat(&now, &node.name) != heartbeat(&before, &node.name);
            nodes.iter().all(again).then_some(())
        });
        if spoken.is_none() {
            nodes.iter().try_for_each(|node| self.check_node(&node.name))?;
            bail!("not every node's kubelet speaks to the API server");
        }
        self.wait_ready(nodes)
    }

    /// A Pod needs its namespace's default ServiceAccount.
    fn wait_service_account(&self) -> Result<()> {
        let there = poll(NODES_READY, || self.kubectl().get(&["serviceaccount", "default"]).ok());
        there.map(drop).context("there is no default ServiceAccount; see the log of the controller manager")
    }
}

/// Has the programs that are needed.
fn prepare(options: &Options, progress: Progress<'_>) -> Result<Artifacts> {
    options.check()?;
    ensure_root()?;
    plain_umask();
    Artifacts::ensure(&options.components(), &|line| progress(line))
}

/// Folder, record, cgroups, keys and network: all that needs no process.
fn lay_out(name: &Name, options: &Options, artifacts: Artifacts) -> Result<Running> {
    fs::create_dir_all(name.folder()).with_context(|| format!("create {}", name.folder().display()))?;
    let record = Record::at(&name.record());
    let hierarchies = cgroup::hierarchies()?;
    for Hierarchy { mount, base } in &hierarchies {
        // Who is in the root of version 2 alone may hand controllers down from there, and nobody else may have.
        if mount == base {
            cgroup::delegate(base);
        }
    }
    let directories: Vec<_> =
        hierarchies.iter().map(|Hierarchy { base, .. }| base.join(name.cgroup())).collect();
    for directory in &directories {
        record.note(&Effect::Cgroup(directory.clone()))?;
        cgroup::create(directory)?;
        cgroup::delegate(directory);
        cgroup::create(&directory.join(CONTROL))?;
    }
    let cluster = Running::describe(name, options, artifacts, directories)?;
    let authority = Authority::create(&name.pki())?;
    (1..=options.nodes).map(Host::node).try_for_each(|node| authority.kubelet(&node))?;
    cluster.with_network(|network| network.lay_out())?;
    Ok(cluster)
}

/// Says what is done, and when.
struct Steps<'a> {
    begun: Instant,
    progress: Progress<'a>,
}

impl Steps<'_> {
    fn done(&self, what: &str) {
        (self.progress)(&format!("{:5.1} s  {what}", self.begun.elapsed().as_secs_f64()));
    }
}

/// Does `work` for each node and `beside`, all at the same time; the first error in that order.
fn all(
    nodes: &[Host],
    work: impl Fn(&Host) -> Result<()> + Sync,
    beside: impl FnOnce() -> Result<()>,
) -> Result<()> {
    thread::scope(|scope| {
        let workers: Vec<_> = nodes.iter().map(|node| scope.spawn(|| work(node))).collect();
        let own = beside();
        let worked = workers
            .into_iter()
            .map(|worker| worker.join().unwrap_or_else(|_| Err(anyhow!("a thread panicked"))));
        worked.collect::<Result<Vec<()>>>().and(own)
    })
}

fn both(a: impl FnOnce() -> Result<()> + Send, b: impl FnOnce() -> Result<()>) -> Result<()> {
    thread::scope(|scope| {
        let other = scope.spawn(a);
        let own = b();
        other.join().unwrap_or_else(|_| Err(anyhow!("a thread panicked"))).and(own)
    })
}

fn object<'a>(list: &'a Value, name: &str) -> Option<&'a Value> {
    list["items"].as_array()?.iter().find(|object| object["metadata"]["name"] == name)
}

pub(crate) fn pod_cidrs(list: &Value, node: &str) -> Option<Vec<String>> {
    let cidrs = object(list, node)?["spec"]["podCIDRs"].as_array()?;
    cidrs.iter().map(|cidr| Some(cidr.as_str()?.to_owned())).collect()
}

/// Whether the Node's condition Ready is True.
pub(crate) fn is_ready(list: &Value, node: &str) -> bool {
    ready(list, node).is_some_and(|condition| condition["status"] == "True")
}

/// When its kubelet last said how it is.
fn heartbeat<'a>(list: &'a Value, node: &str) -> Option<&'a str> {
    ready(list, node)?["lastHeartbeatTime"].as_str()
}

fn ready<'a>(list: &'a Value, node: &str) -> Option<&'a Value> {
    object(list, node)?["status"]["conditions"].as_array()?.iter().find(|one| one["type"] == "Ready")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn only_a_condition_that_is_true_makes_a_node_ready() {
        let node = |name: &str, status: &str| {
            json!({ "metadata": { "name": name }, "spec": { "podCIDRs": ["10.244.0.0/24"] },
                    "status": { "conditions": [{ "type": "Ready", "status": status }] } })
        };
        let list =
            json!({ "items": [node("n1", "True"), node("n2", "Unknown"), { "metadata": { "name": "n3" } }] });
        let ready = ["n1", "n2", "n3", "n4"].map(|name| is_ready(&list, name));
        assert_eq!(ready, [true, false, false, false]);
        assert_eq!(pod_cidrs(&list, "n1").unwrap(), ["10.244.0.0/24"]);
        assert_eq!(pod_cidrs(&list, "n3"), None);
    }
}
