//! One node: a machine made of namespaces, with containerd and kubelet on it.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};

use super::cgroup;
use super::hosts::Host;
use super::network::in_network;
use super::options::{Cni, KubeProxy};
use super::process::{Daemon, end_rooted, path};
use super::running::Running;
use crate::wait::poll;

mod settings;

const INIT: &str = include_str!("init.sh");

impl Running {
    /// Directories of a node's cgroup: everything that runs on it is below.
    pub(crate) fn node_cgroups(&self, node: &str) -> Vec<PathBuf> {
        self.cgroups().iter().map(|directory| directory.join(node)).collect()
    }

    /// Plugs the node in and has containerd answer.
    pub(crate) fn switch_on(&self, node: &Host) -> Result<()> {
        self.with_network(|network| network.add(node))?;
        for directory in self.node_cgroups(&node.name) {
            cgroup::create(&directory)?;
            cgroup::create(&directory.join("init"))?;
        }
        self.start_init(node)?;
        for directory in self.node_cgroups(&node.name) {
            cgroup::delegate(&directory);
        }
        self.on_node(&node.name, "containerd", "containerd", &["--config=/etc/containerd/config.toml"])?;
        self.wait_containerd(&node.name)
    }

    fn start_init(&self, node: &Host) -> Result<()> {
        let folder = self.name().node(&node.name);
        fs::create_dir_all(&folder).with_context(|| format!("create {}", folder.display()))?;
        settings::write(self, node, &folder)?;
        let script = folder.join("init.sh");
        fs::write(&script, INIT).with_context(|| format!("write {}", script.display()))?;
        let mounts = folder.join("mounts");
        fs::write(&mounts, self.mounts(node)?).with_context(|| format!("write {}", mounts.display()))?;
        let name = format!("{}/init", node.name);
        let daemon = Daemon {
            cgroups: &self.node_cgroups(&node.name),
            room: &in_network(&self.name().netns_path(&node.name)),
            log: &self.name().log(&name),
            programs: Path::new("/usr/sbin"),
        };
        let arguments = ["--mount", "--uts", "--cgroup", "--", "sh"].map(OsString::from);
        let own = [script.into_os_string(), folder.into_os_string(), OsString::from(&node.name)];
        let init = daemon.start(Path::new("unshare"), arguments.into_iter().chain(own))?;
        self.note_process(&name, init)?;
        // As seen through the process: it is there once the new root is.
        let ready = PathBuf::from(format!("/proc/{}/root/run/gatehouse-cluster/ready", init.pid));
        let settled = || (ready.exists() || !init.is_alive()).then_some(());
        poll(Duration::from_secs(30), settled).with_context(|| format!("{name} takes too long"))?;
        if init.is_alive() { Ok(()) } else { Err(self.ended(&name)) }
    }

    /// What init mounts: its part of each hierarchy, and the folders that programs and files of the cluster are in.
    fn mounts(&self, node: &Host) -> Result<String> {
        let hierarchies = cgroup::hierarchies()?;
        let mut lines = String::new();
        for directory in self.node_cgroups(&node.name) {
            let own = hierarchies.iter().filter(|hierarchy| directory.starts_with(&hierarchy.mount));
            let mount =
                &own.max_by_key(|hierarchy| hierarchy.mount.as_os_str().len()).context("no hierarchy")?.mount;
            lines += &format!("cgroup {} {}\n", directory.display(), mount.display());
        }
        let artifacts = self.artifacts();
        let mut shown = BTreeSet::from([self.name().pki()]);
        let mut programs = vec![artifacts.program("kubelet")?, artifacts.program("containerd")?];
        if self.options().cni == Cni::Flannel {
            programs.push(artifacts.program("flanneld")?);
        }
        programs.extend(artifacts.images());
        shown.extend(programs.iter().filter_map(|file| file.parent()).map(Path::to_owned));
        for folder in shown {
            lines += &format!("show {0} {0}\n", folder.display());
        }
        Ok(lines + &format!("show {} /opt/cni/bin\n", artifacts.cni_dir()?.display()))
    }

    fn wait_containerd(&self, node: &str) -> Result<()> {
        let name = format!("{node}/containerd");
        let answered = poll(Duration::from_secs(60), || {
            if !self.runs(&name) {
                return Some(Err(self.ended(&name)));
            }
            let mut version = self.ctr(node).ok()?;
            version.arg("version").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
            version.status().is_ok_and(|status| status.success()).then_some(Ok(()))
        });
        answered.with_context(|| format!("{name} does not answer"))?
    }

    fn ctr(&self, node: &str) -> Result<Command> {
        let program = self.artifacts().program("ctr")?;
        let mut command = Command::new("nsenter");
        command.args(self.room(node)?).arg("--").arg(&program).args(["--namespace", "k8s.io"]);
        if let Some(folder) = program.parent() {
            command.env("PATH", path(folder));
        }
        Ok(command)
    }

    /// Loads an OCI archive into a node's containerd. Its layers are unpacked when the first container needs them.
    pub fn load_image(&self, node: &str, archive: &Path) -> Result<()> {
        let file = fs::File::open(archive).with_context(|| format!("open {}", archive.display()))?;
        let mut import = self.ctr(node)?;
        import.args(["images", "import", "--local", "--no-unpack", "-"]).stdin(file);
        let output = import.output().context("start ctr")?;
        let complaint = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "load {} into {node}: {}", archive.display(), complaint.trim());
        Ok(())
    }

    pub(crate) fn start_kubelet(&self, node: &Host) -> Result<()> {
        let (v4, v6) = node.addresses();
        let addresses = if self.options().dual_stack { format!("{v4},{v6}") } else { v4.to_string() };
        let kubeconfig = self.name().kubeconfig_of(&node.name);
        let arguments = [
            "--config=/etc/kubernetes/kubelet.yaml".to_owned(),
            format!("--kubeconfig={}", kubeconfig.display()),
            format!("--hostname-override={}", node.name),
            format!("--node-ip={addresses}"),
            "--root-dir=/var/lib/kubelet".to_owned(),
        ];
        let arguments = arguments.each_ref().map(String::as_str);
        self.on_node(&node.name, "kubelet", "kubelet", &arguments)
    }

    /// kube-proxy and flanneld, as far as wanted; they need the Node to be known.
    pub(crate) fn start_node_network(&self, node: &Host) -> Result<()> {
        if self.options().kube_proxy != KubeProxy::None {
            self.on_node(
                &node.name,
                "kube-proxy",
                "kube-proxy",
                &["--config=/etc/kubernetes/kube-proxy.yaml"],
            )?;
        }
        if self.options().cni == Cni::Flannel {
            let kubeconfig = format!("--kubeconfig-file={}", self.name().kubeconfig_of("flannel").display());
            let arguments =
                ["--net-config-path=/etc/kube-flannel/net-conf.json", "--iface=eth0", &kubeconfig];
            self.on_node(&node.name, "flanneld", "flanneld", &arguments)?;
        }
        Ok(())
    }

    /// Ends what runs on a node, all at once, as when its power fails; then it is off the network.
    pub(crate) fn switch_off(&self, node: &str) -> Result<()> {
        let directories = self.node_cgroups(node);
        cgroup::empty(&directories)?;
        end_rooted(&self.name().node(node).join("root"))?;
        directories.iter().try_for_each(|directory| cgroup::remove(directory))?;
        self.with_network(|network| network.remove(node))
    }

    /// Starts a program of the cluster on a node.
    fn on_node(&self, node: &str, name: &str, program: &str, arguments: &[&str]) -> Result<()> {
        let program = self.artifacts().program(program)?;
        let name = format!("{node}/{name}");
        let cgroups: Vec<PathBuf> = self.node_cgroups(node).iter().map(|path| path.join("init")).collect();
        // flanneld is told its node by the environment only.
        let environment = ["env".to_owned(), format!("NODE_NAME={node}")];
        let containerd = self.artifacts().program("containerd")?;
        let daemon = Daemon {
            cgroups: &cgroups,
            room: &self.room(node)?,
            log: &self.name().log(&name),
            programs: containerd.parent().context("a program has no folder")?,
        };
        let [env, variable] = environment;
        let words = [OsString::from(variable), program.into_os_string()];
        let identity =
            daemon.start(Path::new(&env), words.into_iter().chain(arguments.iter().map(OsString::from)))?;
        self.note_process(&name, identity)
    }

    /// Says so when a process that a node needs does not run.
    pub(crate) fn check_node(&self, node: &str) -> Result<()> {
        for process in ["init", "containerd", "kubelet"] {
            let name = format!("{node}/{process}");
            if !self.runs(&name) {
                bail!(self.ended(&name));
            }
        }
        Ok(())
    }
}
