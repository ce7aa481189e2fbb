//! The administrator's kubectl, run in the control plane's network. It is how everything here talks to the API server:
//! the program is there anyway, and a client library would cost more to build than all of this crate.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::thread;

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use super::hosts::CONTROL;
use super::network::in_network;
use super::place::Name;
use super::process::without_proxies;

/// Seconds that a single answer may take.
const LIMIT: u32 = 300;

#[derive(Clone, Debug)]
pub struct Kubectl {
    cluster: Name,
    program: PathBuf,
}

impl Kubectl {
    pub(crate) fn new(cluster: &Name, program: PathBuf) -> Self {
        Self { cluster: cluster.clone(), program }
    }

    /// A command to add arguments to, which may take its time.
    pub fn command(&self) -> Command {
        self.command_after(&[])
    }

    /// The same, ended after so many seconds.
    pub fn bounded(&self, seconds: u32) -> Command {
        self.command_after(&["timeout", &seconds.to_string()])
    }

    fn command_after(&self, words: &[&str]) -> Command {
        let mut command = Command::new("nsenter");
        command
            .args(in_network(&self.cluster.netns_path(CONTROL)))
            .arg("--")
            .args(words)
            .arg(&self.program)
            .arg("--kubeconfig")
            .arg(self.cluster.kubeconfig())
            // Its cache goes away with the cluster, and the user's own settings and proxies are not the cluster's.
            .env("HOME", self.cluster.folder())
            .env("KUBECONFIG", self.cluster.kubeconfig());
        without_proxies(&mut command);
        command
    }

    /// What it prints; an error says what it complained about.
    pub fn run(&self, arguments: &[&str]) -> Result<String> {
        self.feed(arguments, "")
    }

    /// The same with `input` on its standard input.
    pub fn feed(&self, arguments: &[&str], input: &str) -> Result<String> {
        let Output { status, stdout, stderr } = self.output(arguments, input)?;
        if !status.success() {
            bail!("kubectl {}: {}", arguments.join(" "), String::from_utf8_lossy(&stderr).trim());
        }
        String::from_utf8(stdout).context("kubectl prints what is not UTF-8")
    }

    /// How it ended and what it printed.
    pub fn output(&self, arguments: &[&str], input: &str) -> Result<Output> {
        let mut command = self.bounded(LIMIT);
        command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().context("start kubectl")?;
        let mut stdin = child.stdin.take().context("no standard input")?;
        // On a thread: a large input must not wait for output that nobody reads. Who ends early does not want the rest.
        thread::scope(|scope| {
            scope.spawn(move || stdin.write_all(input.as_bytes()));
            child.wait_with_output().context("wait for kubectl")
        })
    }

    /// Objects as JSON: `["pods", "-n", "default"]`.
    pub fn get(&self, what: &[&str]) -> Result<Value> {
        let text = self.run(&[&["get", "-o", "json"], what].concat())?;
        serde_json::from_str(&text).context("kubectl get prints JSON")
    }

    /// Makes the objects be as `yaml` says.
    pub fn apply(&self, yaml: &str) -> Result<()> {
        self.feed(&["apply", "--server-side", "--force-conflicts", "-f", "-"], yaml).map(drop)
    }
}
