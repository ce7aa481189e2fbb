//! Sockets, maps, routes and devices, changed in the order that loses nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use gateway_common::ir::SocketId;

use crate::announce::{self, Announcer, Changed};
use crate::datapath::Datapath;
use crate::datapath::sockets::{Group, Sockets};
use crate::desired::{self, VipPort};
use crate::device::{self, Device, Globs};

/// What the kernel did not do; the rest is done.
#[derive(Debug, Default)]
pub struct Outcome {
    pub vips: BTreeMap<IpAddr, String>,
    pub ports: BTreeMap<VipPort, String>,
    pub sockets: BTreeMap<SocketId, String>,
    pub errors: Vec<String>,
}

pub struct Kernel {
    datapath: Datapath,
    announcer: Announcer,
    sockets: Sockets,
    devices: Globs,
    /// Indexes of devices with default routes; None: to be read.
    default_routes: Option<BTreeSet<u32>>,
    /// Of the node's devices when they were last listed.
    addresses: BTreeMap<IpAddr, String>,
    workers: usize,
    /// What was last put into the maps; None before this agent did so for the first time.
    settled: Option<desired::Datapath>,
}

impl Kernel {
    pub fn new(datapath: Datapath, announcer: Announcer, devices: Globs, workers: usize) -> Self {
        Self {
            datapath,
            announcer,
            sockets: Sockets::new(),
            devices,
            default_routes: None,
            addresses: BTreeMap::new(),
            workers,
            settled: None,
        }
    }

    /// Makes the programs run where they should. What could not be done.
    pub async fn attach(&mut self) -> Vec<String> {
        let mut errors: Vec<String> = self.datapath.repair().err().iter().map(ToString::to_string).collect();
        match self.list_devices().await {
            Ok(devices) => {
                errors.extend(self.devices.unfit(&devices).map(no_ethernet));
                let problems = self.datapath.set_devices(self.devices.select(&devices));
                self.addresses = device::addresses(&devices);
                errors.extend(problems.iter().map(|(device, problem)| format!("device {device}: {problem}")));
            }
            Err(error) => errors.push(error.to_string()),
        }
        errors
    }

    async fn list_devices(&mut self) -> Result<Vec<Device>, announce::Error> {
        let known = match self.default_routes.take() {
            Some(known) => known,
            None => self.announcer.default_routes().await?,
        };
        let devices = self.announcer.devices_with(&known).await;
        self.default_routes = Some(known);
        devices
    }

    /// Forgets what is no longer so. A device that goes takes its default routes along without a word from the kernel.
    pub fn changed(&mut self, changed: &Changed) {
        let touched = |known: &BTreeSet<u32>| !known.is_disjoint(&changed.devices);
        if changed.default_routes || self.default_routes.as_ref().is_some_and(touched) {
            self.default_routes = None;
        }
    }

    /// Addresses of the node's own devices, by the device's name.
    pub const fn addresses(&self) -> &BTreeMap<IpAddr, String> {
        &self.addresses
    }

    /// Takes sockets over from a proxy. What it says that cannot be used is named.
    pub fn adopt(&mut self, holding: Vec<(SocketId, Vec<OwnedFd>)>) -> BTreeMap<SocketId, String> {
        let mut refused = BTreeMap::new();
        for (id, members) in holding {
            match Group::adopt(&id, members) {
                Ok(group) if !self.sockets.contains_key(&id) => {
                    tracing::info!(socket = %id, "took listening sockets over from the proxy");
                    self.sockets.insert(id, group);
                }
                Ok(group) if self.sockets[&id].cookie() == group.cookie() => {}
                Ok(_) => drop(refused.insert(id, "the agent has opened others since".to_owned())),
                Err(error) => drop(refused.insert(id, error.to_string())),
            }
        }
        refused
    }

    /// Takes away what is not wanted any more, before the proxy stops to serve it.
    pub async fn shrink(&mut self, desired: &desired::Datapath) -> Vec<String> {
        let Some(settled) = &mut self.settled else { return Vec::new() };
        let (ports, vips) = (settled.ports.len(), settled.vips.len());
        settled.ports.retain(|port, id| desired.ports.get(port) == Some(id));
        settled.vips.retain(|ip, _| desired.vips.contains_key(ip));
        let mut errors = Vec::new();
        if settled.vips.len() < vips {
            let kept: BTreeSet<IpAddr> = settled.vips.keys().copied().collect();
            match self.announcer.withdraw(&kept).await {
                Ok(outcome) => errors.extend(outcome.problems.into_values()),
                Err(error) => errors.push(error.to_string()),
            }
        }
        if (settled.ports.len(), settled.vips.len()) != (ports, vips)
            && let Err(error) = self.datapath.reconcile(settled, &self.sockets)
        {
            errors.push(error.to_string());
        }
        errors
    }

    /// Opens the groups that are wanted and not held; those opened, and what could not be.
    pub fn open(&mut self, desired: &desired::Datapath) -> (Vec<SocketId>, BTreeMap<SocketId, String>) {
        let (mut opened, mut failed) = (Vec::new(), BTreeMap::new());
        for id in desired.sockets() {
            if self.sockets.contains_key(&id) {
                continue;
            }
            match Group::open(&id, self.workers) {
                Ok(group) => {
                    self.sockets.insert(id.clone(), group);
                    opened.push(id);
                }
                Err(error) => drop(failed.insert(id, error.to_string())),
            }
        }
        (opened, failed)
    }

    /// Makes maps and routes say what is wanted, compared with what is there.
    pub async fn settle(&mut self, desired: &desired::Datapath) -> Outcome {
        let mut outcome = Outcome::default();
        let wanted: BTreeSet<IpAddr> = desired.vips.keys().copied().collect();
        let withdrawn = self.announcer.withdraw(&wanted).await;
        match self.datapath.reconcile(desired, &self.sockets) {
            Ok(done) => {
                outcome.vips = done.vips;
                outcome.ports = done.ports;
                outcome.sockets = done.sockets;
            }
            Err(error) => outcome.fail_all(desired, error.to_string()),
        }
        for routes in [withdrawn, self.announcer.install(&wanted).await] {
            match routes {
                Ok(done) => outcome.vips.extend(done.problems),
                Err(error) => outcome.fail_all(desired, error.to_string()),
            }
        }
        self.settled = Some(desired.clone());
        outcome
    }

    /// Lets go of the groups that nothing names any more.
    pub fn close(&mut self, desired: &desired::Datapath) -> Vec<SocketId> {
        let wanted = desired.sockets();
        let gone: Vec<SocketId> = self.sockets.keys().filter(|id| !wanted.contains(*id)).cloned().collect();
        for id in &gone {
            self.sockets.remove(id);
        }
        gone
    }

    pub fn held(&self) -> impl Iterator<Item = &SocketId> {
        self.sockets.keys()
    }

    /// Copies of a group's descriptors, to be sent.
    pub fn copies(&self, id: &SocketId) -> std::io::Result<Vec<Arc<OwnedFd>>> {
        let Some(group) = self.sockets.get(id) else { return Ok(Vec::new()) };
        group.members().map(|member| Ok(Arc::new(member.as_fd().try_clone_to_owned()?))).collect()
    }
}

fn no_ethernet(device: &Device) -> String {
    format!(
        "device {}: its packets have no Ethernet header, so no program of ours runs there; clients behind it are served by \
         sk_lookup all the same: leave it out of --device",
        device.name
    )
}

impl Outcome {
    fn fail_all(&mut self, desired: &desired::Datapath, error: String) {
        self.vips.extend(desired.vips.keys().map(|ip| (*ip, error.clone())));
        self.errors.push(error);
    }
}
