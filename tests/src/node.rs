//! A node that runs Gatehouse: the real agent, which starts the real proxy, on a directory of YAML.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::Write as _;
use std::net::IpAddr;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Output};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use gateway_common::admin::{AgentStatus, ObjectStatus};
use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use serde::de::DeserializeOwned;

use crate::admin;
use crate::netns::Netns;
use crate::process::{self, Process, program, wait_for};
use crate::topology::{VIPS_V4, VIPS_V6};

/// Longer than anything that works takes, also on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(90);

/// Programs that a node has.
const PROGRAMS: [&str; 3] = ["gateway-agent", "gateway-proxy", "gatectl"];

#[derive(Debug)]
pub struct Node<'a> {
    netns: &'a Netns,
    folder: PathBuf,
    agent: Option<Process>,
    /// More arguments of `gateway-agent run`.
    arguments: Vec<String>,
    /// Of the agent and its proxies.
    environment: Vec<(String, OsString)>,
    /// Nobody reads its log.
    unheard: bool,
    /// It starts no proxy, and serves one that somebody else started.
    connects: bool,
}

impl<'a> Node<'a> {
    /// A node inside `netns` whose agent is not started yet, with an empty source.
    pub fn new(netns: &'a Netns) -> Result<Self> {
        let folder = netns.folder().to_owned();
        for name in ["source", "status", "run", "state", "bin"] {
            fs::create_dir_all(folder.join(name)).with_context(|| format!("create {name}"))?;
        }
        for name in PROGRAMS {
            // The proxy's user cannot look into every home; mounted, the programs need no way through one.
            netns.mount_file(&program(name)?, &folder.join("bin").join(name))?;
        }
        Ok(Self {
            netns,
            folder,
            agent: None,
            arguments: Vec::new(),
            environment: Vec::new(),
            unheard: false,
            connects: false,
        })
    }

    /// More arguments for the agent's next start.
    pub fn with_arguments(mut self, arguments: &[&str]) -> Self {
        self.arguments.extend(arguments.iter().map(|argument| (*argument).to_owned()));
        self
    }

    /// A variable in the environment of the agent's next start.
    pub fn with_variable(mut self, name: &str, value: impl Into<OsString>) -> Self {
        self.environment.push((name.to_owned(), value.into()));
        self
    }

    /// From the agent's next start on nobody reads what it and its proxies print: each write fails.
    pub fn with_broken_log(mut self) -> Self {
        self.unheard = true;
        self
    }

    /// From the agent's next start on it starts no proxy.
    pub fn connect_only(&mut self) {
        self.connects = true;
    }

    pub fn netns(&self) -> &'a Netns {
        self.netns
    }

    /// The directory that the agent watches.
    pub fn source(&self) -> PathBuf {
        self.folder.join("source")
    }

    /// Puts a file of the source in place as an editor does: written beside it, then renamed.
    pub fn write(&self, name: &str, yaml: &str) -> Result<()> {
        let scratch = self.folder.join("scratch");
        let mut file = File::create(&scratch).context("create a file")?;
        file.write_all(yaml.as_bytes())?;
        fs::rename(&scratch, self.source().join(name)).with_context(|| format!("put {name} in place"))
    }

    pub fn remove(&self, name: &str) -> Result<()> {
        fs::remove_file(self.source().join(name)).with_context(|| format!("remove {name}"))
    }

    /// Starts the agent, and returns when a proxy serves what the agent translated.
    pub fn start(&mut self) -> Result<()> {
        self.start_agent()?;
        self.wait_serving()
    }

    /// Starts the agent and waits for nothing.
    pub fn start_agent(&mut self) -> Result<()> {
        ensure!(self.agent.is_none(), "the agent runs already");
        let mut command = self.netns.command(self.folder.join("bin/gateway-agent"))?;
        command.arg("run");
        for (option, folder) in [
            ("--source", "source"),
            ("--status-dir", "status"),
            ("--runtime-dir", "run"),
            ("--state-dir", "state"),
        ] {
            command.arg(option).arg(self.folder.join(folder));
        }
        command.args(["--address-pool", VIPS_V4, "--address-pool", VIPS_V6]);
        if self.connects {
            command.args(["--proxy", "connect"]);
        } else {
            command.args(["--proxy", "spawn", "--proxy-binary"]).arg(self.folder.join("bin/gateway-proxy"));
        }
        command.args(&self.arguments).envs(self.environment.iter().map(|(name, value)| (name, value)));
        let start = if self.unheard { Process::start_unheard } else { Process::start };
        self.agent = Some(start("gateway-agent", command, &self.folder.join("log"))?);
        Ok(())
    }

    /// Waits until an accepting proxy has acknowledged what the agent translated last.
    pub fn wait_serving(&mut self) -> Result<()> {
        self.wait("a proxy that serves", |node| {
            let status = node.agent_status().ok()?;
            let serves = |proxy: &&gateway_common::admin::ProxyPeer| {
                !proxy.draining && proxy.acknowledged == status.generation
            };
            (status.generation > 0).then(|| status.proxies.iter().find(serves).map(|proxy| proxy.pid))?
        })?;
        Ok(())
    }

    /// Waits until `what` is there; what takes longer than [`PATIENCE`] or an agent that ended is an error with the log.
    pub fn wait<T>(&mut self, what: &str, mut ask: impl FnMut(&mut Self) -> Option<T>) -> Result<T> {
        let begun = Instant::now();
        let found = wait_for(PATIENCE, || match ask(self) {
            Some(answer) => Some(Ok(answer)),
            None => self.agent.as_mut().and_then(Process::ended).map(Err),
        });
        match found {
            Some(Ok(answer)) => Ok(answer),
            Some(Err(status)) => bail!("waiting for {what}: the agent ended with {status}\n{}", self.log()),
            None => bail!("waited {:?} for {what}\n{}", begun.elapsed(), self.log()),
        }
    }

    /// Waits until a condition of an object is `status`, wherever in its status it stands.
    pub fn wait_condition(&mut self, object: &Name<'_>, condition: &str, status: &str) -> Result<()> {
        let what = format!("{object:?} to be {condition}={status}");
        self.wait(&what, |node| {
            let found = node.object(object).ok().flatten()?;
            conditions(&found.status).any(|(kind, value)| kind == condition && value == status).then_some(())
        })
    }

    /// Waits for the addresses of a Gateway: the first of each family.
    pub fn wait_addresses(
        &mut self,
        namespace: &str,
        name: &str,
    ) -> Result<(Option<IpAddr>, Option<IpAddr>)> {
        let gateway = Name { kind: "Gateway", namespace, name };
        self.wait_condition(&gateway, "Programmed", "True")?;
        let status = self.object(&gateway)?.context("the Gateway is gone")?.status;
        let addresses = status["addresses"].as_array().cloned().unwrap_or_default();
        let addresses: Vec<IpAddr> =
            addresses.iter().filter_map(|address| address["value"].as_str()?.parse().ok()).collect();
        let first = |v4: bool| addresses.iter().copied().find(|address| address.is_ipv4() == v4);
        Ok((first(true), first(false)))
    }

    pub fn object(&self, wanted: &Name<'_>) -> Result<Option<ObjectStatus>> {
        let objects: Vec<ObjectStatus> = self.gatectl_json(&["get"])?;
        Ok(objects.into_iter().find(|object| {
            object.kind == wanted.kind
                && object.name == wanted.name
                && object.namespace.as_deref().unwrap_or_default() == wanted.namespace
        }))
    }

    pub fn agent_status(&self) -> Result<AgentStatus> {
        let answer = admin::get(&self.folder.join("run/agent.sock"), "/status")?;
        serde_json::from_slice(&answer).context("the agent's status")
    }

    pub fn gatectl(&self, arguments: &[&str]) -> Result<Output> {
        let mut command = self.gatectl_command()?;
        command.args(arguments).output().context("run gatectl")
    }

    pub fn gatectl_json<T: DeserializeOwned>(&self, arguments: &[&str]) -> Result<T> {
        let output = self.gatectl(&[&["-o", "json"], arguments].concat())?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "gatectl {arguments:?}: {}: {}", output.status, said.trim());
        serde_json::from_slice(&output.stdout).with_context(|| format!("what gatectl {arguments:?} printed"))
    }

    /// gatectl as an operator of this node runs it.
    pub fn gatectl_command(&self) -> Result<Command> {
        let mut command = self.netns.command(self.folder.join("bin/gatectl"))?;
        command.arg("--runtime-dir").arg(self.folder.join("run"));
        Ok(command)
    }

    pub fn agent(&self) -> Option<u32> {
        self.agent.as_ref().map(Process::id)
    }

    /// The proxies that accept, by process id.
    pub fn proxies(&self) -> Result<Vec<u32>> {
        let status = self.agent_status()?;
        Ok(status.proxies.iter().filter(|proxy| !proxy.draining).map(|proxy| proxy.pid).collect())
    }

    /// SIGKILL: nothing of the agent is left but what it pinned and the proxy.
    pub fn kill_agent(&mut self) -> Result<()> {
        self.agent.take().context("no agent runs")?.kill()
    }

    /// SIGTERM, as before an upgrade.
    pub fn stop_agent(&mut self) -> Result<()> {
        let mut agent = self.agent.take().context("no agent runs")?;
        let status = agent.stop(PATIENCE)?;
        ensure!(status.success(), "the agent ended with {status}\n{}", self.log());
        Ok(())
    }

    /// Waits for the agent to end by itself; how it did.
    pub fn wait_agent_ended(&mut self) -> Result<ExitStatus> {
        self.agent.take().context("no agent runs")?.wait(PATIENCE)
    }

    /// Shuts down the agent's connections on one of its sockets, given by name.
    pub fn cut_connections(&self, name: &str) -> Result<()> {
        let pid = self.agent().context("no agent runs")?;
        process::cut_connections(pid, &self.folder.join("run").join(name))
    }

    /// SIGKILL for the proxy that accepts; the time in which it died.
    pub fn kill_proxy(&mut self) -> Result<Range<Instant>> {
        let pid = *self.proxies()?.first().context("no proxy accepts")?;
        let id = Pid::from_raw(i32::try_from(pid)?).context("a process id")?;
        let hit = Instant::now();
        kill_process(id, Signal::KILL).context("kill the proxy")?;
        self.wait("the killed proxy to be gone", |_| test_kill_process(id).is_err().then_some(()))?;
        let gone = Instant::now();
        self.wait("the agent to see it", |node| (!node.proxies().ok()?.contains(&pid)).then_some(()))?;
        Ok(hit..gone)
    }

    /// Has the agent start a successor, and returns when that serves and the old one has ended.
    pub fn replace_proxy(&mut self) -> Result<()> {
        self.replace_proxy_while(|| {})
    }

    /// As [`Self::replace_proxy`]; does `meanwhile` once the successor serves and the old one drains.
    pub fn replace_proxy_while(&mut self, meanwhile: impl FnOnce()) -> Result<()> {
        let old = self.proxies()?;
        let output = self.gatectl(&["replace-proxy"])?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "gatectl replace-proxy: {}", said.trim());
        self.wait("a successor that serves", |node| {
            let proxies = node.proxies().ok()?;
            (!proxies.is_empty() && proxies.iter().all(|pid| !old.contains(pid))).then_some(())
        })?;
        meanwhile();
        let old: Vec<Pid> = old.iter().filter_map(|pid| Pid::from_raw(i32::try_from(*pid).ok()?)).collect();
        self.wait("the old proxy to end", |_| {
            old.iter().all(|pid| test_kill_process(*pid).is_err()).then_some(())
        })
    }

    /// What agent and proxies printed.
    pub fn log(&self) -> String {
        fs::read(self.folder.join("log"))
            .map(|log| String::from_utf8_lossy(&log).into_owned())
            .unwrap_or_default()
    }

    pub fn folder(&self) -> &Path {
        &self.folder
    }
}

/// Names an object; the namespace of a cluster-scoped one is empty.
#[derive(Clone, Copy, Debug)]
pub struct Name<'a> {
    pub kind: &'a str,
    pub namespace: &'a str,
    pub name: &'a str,
}

/// Type and status of every condition, wherever it stands.
fn conditions(status: &serde_json::Value) -> Box<dyn Iterator<Item = (&str, &str)> + '_> {
    use serde_json::Value;
    match status {
        Value::Array(items) => Box::new(items.iter().flat_map(conditions)),
        Value::Object(fields) => {
            let own =
                fields.get("type").and_then(Value::as_str).zip(fields.get("status").and_then(Value::as_str));
            Box::new(own.into_iter().chain(fields.values().flat_map(conditions)))
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Box::new(std::iter::empty()),
    }
}
