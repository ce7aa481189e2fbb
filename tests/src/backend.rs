//! Backends: the `echo` program as a process of a Pod.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use crate::certificate::Pair;
use crate::netns::Netns;
use crate::process::{Process, program, wait_for};
use crate::topology::{pod_v4, pod_v6};

pub const HTTP: u16 = 8080;
pub const TLS: u16 = 8443;
pub const TCP: u16 = 9000;
pub const UDP: u16 = 9001;

/// One Pod: HTTP on 8080, TLS on 8443 when it has a certificate, TCP on 9000, UDP on 9001, all over both families.
#[derive(Debug)]
pub struct Backend {
    pub name: String,
    pub v4: IpAddr,
    pub v6: IpAddr,
    process: Process,
    _files: tempfile::TempDir,
}

impl Backend {
    /// `host` is the Pod's number, one of [`crate::topology::PODS`].
    pub fn start(pods: &Netns, host: u8, name: &str, certificate: Option<&Pair>) -> Result<Self> {
        let (v4, v6) = (pod_v4(host), pod_v6(host));
        let files = tempfile::tempdir().context("make a folder")?;
        let mut command = pods.command(program("echo")?)?;
        command.args(["--name", name]);
        for address in [v4, v6] {
            for (option, port) in [("--http", HTTP), ("--tcp", TCP), ("--udp", UDP)] {
                command.args([option, &SocketAddr::new(address, port).to_string()]);
            }
            if certificate.is_some() {
                command.args(["--tls", &SocketAddr::new(address, TLS).to_string()]);
            }
        }
        if let Some(pair) = certificate {
            let (chain, key) = (files.path().join("tls.crt"), files.path().join("tls.key"));
            std::fs::write(&chain, &pair.chain)?;
            std::fs::write(&key, &pair.key)?;
            command.arg("--certificate").arg(chain).arg(key);
        }
        let mut process = Process::start(name, command, &files.path().join("log"))?;
        ready(&mut process)?;
        Ok(Self { name: name.to_owned(), v4, v6, process, _files: files })
    }

    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }
}

/// Waits until the program says that it listens.
fn ready(process: &mut Process) -> Result<()> {
    let said = wait_for(Duration::from_secs(30), || {
        (process.log().contains("ready\n") || process.ended().is_some()).then_some(())
    });
    if said.is_none() || process.ended().is_some() {
        bail!("the backend did not start:\n{}", process.log());
    }
    Ok(())
}
