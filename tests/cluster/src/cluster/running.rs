//! A cluster that was brought up: what its folder says, and the ways into its hosts.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Error, Result, anyhow, bail, ensure};
use serde::{Deserialize, Serialize};

use super::hosts::{self, Host};
use super::kubectl::Kubectl;
use super::network::{Network, in_network, namespaces};
use super::options::Options;
use super::place::{Name, ROOT};
use super::process::{Identity, without_proxies};
use super::record::{Effect, Record};
use crate::artifacts::Artifacts;

/// A cluster on this machine. Its processes go on without this program; this is only the way to them.
#[derive(Clone, Debug)]
pub struct Running {
    name: Name,
    options: Options,
    artifacts: Artifacts,
    cgroups: Vec<PathBuf>,
}

/// What cannot be derived from the name, in `cluster.json`.
#[derive(Serialize, Deserialize)]
struct Description {
    options: Options,
    /// What it was started with: neither a build nor another user's cache takes its place.
    artifacts: BTreeMap<String, PathBuf>,
    /// All is gone but the files when this is not the kernel's any more.
    boot: String,
}

impl Description {
    fn read(path: &Path) -> Result<Self> {
        let text = fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
        serde_json::from_str(&text).with_context(|| format!("read {}", path.display()))
    }
}

impl Running {
    /// Whether a cluster of that name was brought up since the machine booted: it is no debris, whatever became of it.
    pub(crate) fn is_up(name: &Name) -> bool {
        let described = Description::read(&description(name));
        complete(name).exists() && described.is_ok_and(|it| boot().is_ok_and(|now| it.boot == now))
    }

    /// The cluster of that name; it may be damaged or still on its way up.
    pub fn find(name: &Name) -> Result<Self> {
        let path = description(name);
        ensure!(
            path.exists(),
            "there is no cluster `{name}`: `cargo xtask cluster up --name {name}` makes one"
        );
        ensure_root()?;
        let Description { options, artifacts, boot: then } = Description::read(&path)?;
        ensure!(then == boot()?, "cluster `{name}` ended with the machine: take it down and up again");
        let artifacts = Artifacts::at(&artifacts)
            .with_context(|| format!("the programs of cluster `{name}`: take it down and up again"))?;
        let cgroups = Record::at(&name.record()).effects().into_iter().filter_map(|effect| match effect {
            Effect::Cgroup(path) => Some(path),
            Effect::Netns(_) | Effect::Process { .. } => None,
        });
        Ok(Self { name: name.clone(), options, artifacts, cgroups: cgroups.collect() })
    }

    /// The folder and the description of a cluster that is about to be.
    pub(crate) fn describe(
        name: &Name,
        options: &Options,
        artifacts: Artifacts,
        cgroups: Vec<PathBuf>,
    ) -> Result<Self> {
        let description =
            Description { options: options.clone(), artifacts: artifacts.folders(), boot: boot()? };
        let path = self::description(name);
        fs::write(&path, serde_json::to_vec_pretty(&description)?)
            .with_context(|| format!("write {}", path.display()))?;
        Ok(Self { name: name.clone(), options: options.clone(), artifacts, cgroups })
    }

    pub fn name(&self) -> &Name {
        &self.name
    }

    pub fn options(&self) -> &Options {
        &self.options
    }

    pub fn artifacts(&self) -> &Artifacts {
        &self.artifacts
    }

    /// The administrator's; its server is reached from the namespaces of the cluster only.
    pub fn kubeconfig(&self) -> PathBuf {
        self.name.kubeconfig()
    }

    /// The network namespace of the client beside the nodes.
    pub fn client_netns(&self) -> PathBuf {
        self.name.netns_path(hosts::CLIENT)
    }

    pub fn nodes(&self) -> Vec<Host> {
        (1..=self.options.nodes).map(Host::node).collect()
    }

    /// The node of that name.
    pub fn node(&self, name: &str) -> Result<Host> {
        let nodes = self.nodes();
        let names = || nodes.iter().map(|node| node.name.as_str()).collect::<Vec<_>>().join(", ");
        let found = nodes.iter().find(|node| node.name == name).cloned();
        found.with_context(|| format!("no node `{name}`: there are {}", names()))
    }

    pub fn kubectl(&self) -> Kubectl {
        let program = self.artifacts.program("kubectl").unwrap_or_else(|_| PathBuf::from("kubectl"));
        Kubectl::new(&self.name, program)
    }

    /// A command on a host: a node, `control`, `router`, `client` or `far-client`.
    pub fn command(&self, host: &str, program: &str) -> Result<Command> {
        let mut command = Command::new("nsenter");
        command.args(self.room(host)?).arg("--").arg(program);
        without_proxies(&mut command);
        Ok(command)
    }

    /// Arguments of nsenter(1) that lead to a host.
    pub(crate) fn room(&self, host: &str) -> Result<Vec<OsString>> {
        let others = [hosts::CONTROL, hosts::ROUTER, hosts::CLIENT, hosts::FAR_CLIENT];
        if others.contains(&host) {
            return Ok(in_network(&self.name.netns_path(host)).to_vec());
        }
        let node = self.node(host).with_context(|| format!("other hosts are {}", others.join(", ")))?;
        let init = self.init_of(&node.name).with_context(|| format!("node {host} is off"))?;
        let target = format!("--target={}", init.pid);
        Ok([&target, "--mount", "--net", "--uts", "--cgroup"].map(OsString::from).to_vec())
    }

    /// The process that holds a node's namespaces; None when the node is off.
    pub(crate) fn init_of(&self, node: &str) -> Option<Identity> {
        let processes = self.record().processes();
        processes.get(&format!("{node}/init")).copied().filter(|init| init.is_alive())
    }

    pub(crate) fn record(&self) -> Record {
        Record::at(&self.name.record())
    }

    /// Its directory in each hierarchy.
    pub(crate) fn cgroups(&self) -> &[PathBuf] {
        &self.cgroups
    }

    pub(crate) fn with_network<T>(&self, f: impl FnOnce(&Network<'_>) -> T) -> T {
        f(&Network { cluster: &self.name, record: &self.record() })
    }

    /// Whether the process of that name runs.
    pub(crate) fn runs(&self, process: &str) -> bool {
        self.record().processes().get(process).is_some_and(|process| process.is_alive())
    }

    /// Written once `up` is through: a cluster without it was cut short, and can only be removed.
    pub(crate) fn note_complete(&self) -> Result<()> {
        fs::write(complete(&self.name), "").context("note that the cluster is complete")
    }

    /// Says so when a process that was started does not run.
    pub(crate) fn check_processes(&self) -> Result<()> {
        let processes = self.record().processes();
        match processes.iter().find(|(_, process)| !process.is_alive()) {
            Some((name, _)) => Err(self.ended(name)),
            None => Ok(()),
        }
    }

    /// Why there is no going on: the end of a process's log.
    pub(crate) fn ended(&self, process: &str) -> Error {
        let path = self.name.log(process);
        anyhow!("{process} ended; {}:\n{}", path.display(), tail(&path, 20))
    }
}

pub(crate) fn ensure_root() -> Result<()> {
    ensure!(rustix::process::geteuid().is_root(), "a cluster is made of namespaces, which need root");
    Ok(())
}

/// Names of the clusters that have a folder or a namespace here.
pub fn all() -> Result<BTreeSet<Name>> {
    let mut names: BTreeSet<Name> = namespaces().iter().filter_map(|netns| Name::of_netns(netns)).collect();
    let entries = match fs::read_dir(ROOT) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(names),
        Err(error) => bail!("read {ROOT}: {error}"),
    };
    let folders = entries.flatten().filter(|entry| entry.path().is_dir());
    names.extend(folders.filter_map(|entry| entry.file_name().to_str()?.parse::<Name>().ok()));
    Ok(names)
}

/// The last `lines` lines of a file; nothing when it is not there.
pub fn tail(path: &Path, lines: usize) -> String {
    let text = fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default();
    let all: Vec<&str> = text.lines().collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}

/// Folders of the programs that the clusters of this machine were started with.
pub(crate) fn programs_in_use() -> Vec<PathBuf> {
    let names = all().unwrap_or_default();
    let described = names.iter().filter_map(|name| Description::read(&description(name)).ok());
    described.flat_map(|cluster| cluster.artifacts.into_values()).collect()
}

fn complete(name: &Name) -> PathBuf {
    name.folder().join("complete")
}

fn description(name: &Name) -> PathBuf {
    name.folder().join("cluster.json")
}

fn boot() -> Result<String> {
    let id = fs::read_to_string("/proc/sys/kernel/random/boot_id").context("read the boot's id")?;
    Ok(id.trim().to_owned())
}
