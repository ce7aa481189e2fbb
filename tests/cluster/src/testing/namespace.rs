//! A namespace for one test.

use std::process;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result};

use crate::cluster::Kubectl;
use crate::wait::poll;

/// Goes away on drop, with all that is in it; when its test fails, only after the cluster has kept what it tells.
#[derive(Debug)]
pub struct Namespace {
    name: String,
    kubectl: Kubectl,
}

impl Namespace {
    pub(super) fn create(kubectl: Kubectl, label: &str) -> Result<Self> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let name = format!("{label}-{}-{}", process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        kubectl.run(&["create", "namespace", &name])?;
        let namespace = Self { name, kubectl };
        let account =
            || namespace.kubectl.run(&["-n", namespace.name(), "get", "serviceaccount", "default"]).ok();
        poll(Duration::from_secs(30), account).context("the namespace gets no ServiceAccount")?;
        Ok(namespace)
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// Makes objects of this namespace be as `yaml` says.
    pub fn apply(&self, yaml: &str) -> Result<()> {
        let arguments = ["-n", &self.name, "apply", "--server-side", "-f", "-"];
        self.kubectl.feed(&arguments, yaml).map(drop)
    }
}

/// It may be gone already, and the API server may be what the test broke.
pub(super) fn delete(kubectl: &Kubectl, name: &str) {
    let _unused = kubectl.run(&["delete", "namespace", name, "--wait=false", "--request-timeout=10s"]);
}

impl Drop for Namespace {
    fn drop(&mut self) {
        if !thread::panicking() {
            delete(&self.kubectl, &self.name);
        }
    }
}
