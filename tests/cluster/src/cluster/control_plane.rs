//! etcd, the API server, the controller manager and the scheduler.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use super::hosts::{CONTROL, Host};
use super::network::in_network;
use super::process::{Daemon, Identity};
use super::record::Effect;
use super::running::Running;
use crate::wait::poll;

pub(crate) const ETCD: &str = "etcd";
pub(crate) const API_SERVER: &str = "apiserver";
pub(crate) const CONTROLLER_MANAGER: &str = "controller-manager";
pub(crate) const SCHEDULER: &str = "scheduler";

const READY: Duration = Duration::from_secs(90);

impl Running {
    /// Directories of the cgroup that the control plane lives in.
    pub(crate) fn control_cgroups(&self) -> Vec<PathBuf> {
        self.cgroups().iter().map(|directory| directory.join(CONTROL)).collect()
    }

    pub(crate) fn start_etcd(&self) -> Result<()> {
        let data = self.name().folder().join("etcd");
        let client = "http://127.0.0.1:2379";
        let arguments = [
            format!("--data-dir={}", data.display()),
            // The machine's crash takes the cluster with it; its processes' crashes lose nothing.
            "--unsafe-no-fsync".to_owned(),
            "--log-level=warn".to_owned(),
            format!("--listen-client-urls={client}"),
            format!("--advertise-client-urls={client}"),
            "--listen-peer-urls=http://127.0.0.1:2380".to_owned(),
        ];
        self.control(ETCD, "etcd", arguments)
    }

    pub(crate) fn start_api_server(&self) -> Result<()> {
        let pki = self.name().pki();
        let file = |flag: &str, name: &str| format!("--{flag}={}", pki.join(name).display());
        let arguments = [
            "--etcd-servers=http://127.0.0.1:2379".to_owned(),
            "--bind-address=0.0.0.0".to_owned(),
            format!("--advertise-address={}", Host::control().addresses().0),
            "--secure-port=6443".to_owned(),
            "--allow-privileged=true".to_owned(),
            "--authorization-mode=Node,RBAC".to_owned(),
            "--enable-admission-plugins=NodeRestriction".to_owned(),
            format!("--service-cluster-ip-range={}", self.options().service_cidrs()),
            "--service-account-issuer=https://kubernetes.default.svc".to_owned(),
            "--kubelet-preferred-address-types=InternalIP".to_owned(),
            // Tests wait for what production waits five minutes for.
            "--default-not-ready-toleration-seconds=10".to_owned(),
            "--default-unreachable-toleration-seconds=10".to_owned(),
            file("tls-cert-file", "apiserver.crt"),
            file("tls-private-key-file", "apiserver.key"),
            file("client-ca-file", "ca.crt"),
            file("kubelet-certificate-authority", "ca.crt"),
            file("kubelet-client-certificate", "apiserver-kubelet.crt"),
            file("kubelet-client-key", "apiserver-kubelet.key"),
            file("service-account-key-file", "service-accounts.pub"),
            file("service-account-signing-key-file", "service-accounts.key"),
        ];
        self.control(API_SERVER, "kube-apiserver", arguments)
    }

    /// Asks for `/readyz` until it is.
    pub(crate) fn wait_api_server(&self) -> Result<()> {
        let mut last = None;
        let ready = poll(READY, || {
            let dead = [ETCD, API_SERVER].into_iter().find(|name| !self.runs(name));
            if let Some(name) = dead {
                return Some(Err(self.ended(name)));
            }
            self.kubectl()
                .run(&["get", "--raw", "/readyz"])
                .map_err(|error| last = Some(error))
                .ok()
                .map(|_| Ok(()))
        });
        match ready {
            Some(outcome) => outcome,
            None => Err(last.context("no answer")?).context("the API server does not become ready"),
        }
    }

    /// Both end at once when the API server does not answer, so it has to be ready.
    pub(crate) fn start_controllers(&self) -> Result<()> {
        let pki = self.name().pki();
        let kubeconfigs = |user: &str| {
            ["kubeconfig", "authentication-kubeconfig", "authorization-kubeconfig"]
                .map(|flag| format!("--{flag}={}", self.name().kubeconfig_of(user).display()))
        };
        let mut arguments = vec![
            "--bind-address=127.0.0.1".to_owned(),
            "--leader-elect=false".to_owned(),
            "--use-service-account-credentials=true".to_owned(),
            format!("--service-account-private-key-file={}", pki.join("service-accounts.key").display()),
            format!("--root-ca-file={}", pki.join("ca.crt").display()),
            "--allocate-node-cidrs=true".to_owned(),
            format!("--cluster-cidr={}", self.options().pod_cidrs()),
            format!("--service-cluster-ip-range={}", self.options().service_cidrs()),
            // A node that says nothing is NotReady after eight seconds instead of fifty.
            "--node-monitor-period=1s".to_owned(),
            "--node-monitor-grace-period=8s".to_owned(),
        ];
        arguments.extend(kubeconfigs(CONTROLLER_MANAGER));
        self.control(CONTROLLER_MANAGER, "kube-controller-manager", arguments)?;
        let mut arguments = vec!["--bind-address=127.0.0.1".to_owned(), "--leader-elect=false".to_owned()];
        arguments.extend(kubeconfigs(SCHEDULER));
        self.control(SCHEDULER, "kube-scheduler", arguments)
    }

    /// Ends the API server. Its graceful end may hang for minutes when watches are open: it gets three seconds.
    pub fn stop_api_server(&self) -> Result<()> {
        let _lock = self.lock()?;
        match self.record().processes().get(API_SERVER) {
            Some(process) => process.end(Duration::from_secs(3)),
            None => bail!("the API server was never started"),
        }
    }

    /// Starts the API server if it does not run, and what else of the control plane ended meanwhile; ready at the end.
    pub fn restart_api_server(&self) -> Result<()> {
        let _lock = self.lock()?;
        if !self.runs(ETCD) {
            self.start_etcd()?;
        }
        if !self.runs(API_SERVER) {
            self.start_api_server()?;
        }
        self.wait_api_server()?;
        if !self.runs(CONTROLLER_MANAGER) || !self.runs(SCHEDULER) {
            for name in [CONTROLLER_MANAGER, SCHEDULER] {
                self.record().processes().get(name).map_or(Ok(()), |process| process.kill())?;
            }
            self.start_controllers()?;
        }
        Ok(())
    }

    /// Starts one of the control plane's programs and writes it down.
    fn control(&self, name: &str, program: &str, arguments: impl IntoIterator<Item = String>) -> Result<()> {
        let program = self.artifacts().program(program)?;
        let daemon = Daemon {
            cgroups: &self.control_cgroups(),
            room: &in_network(&self.name().netns_path(CONTROL)),
            log: &self.name().log(name),
            programs: program.parent().context("a program has no folder")?,
        };
        let identity = daemon.start(&program, arguments.into_iter().map(OsString::from))?;
        self.note_process(name, identity)
    }

    pub(crate) fn note_process(&self, name: &str, identity: Identity) -> Result<()> {
        self.record().note(&Effect::Process { name: name.to_owned(), identity })
    }
}
