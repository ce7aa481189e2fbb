//! What `gatectl doctor` looks at, and what it makes of it.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use gateway_common::abi::Proto;
use serde::{Deserialize, Serialize};

use super::features::Features;
use super::pins::{Pins, is_bpffs};
use super::programs::{self, Filters, Program};
use super::view::View;
use crate::device::{Device, Globs};

mod check;

pub use check::{Finding, Severity, check};

/// The node as it is.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Facts {
    /// `6.18.44`
    pub kernel: String,
    pub features: Option<Features>,
    /// Sysctls that matter, by their names; absent ones are not there (a module is not loaded).
    pub sysctls: BTreeMap<String, String>,
    pub bpffs: bool,
    pub pin_root: String,
    pub pinned: bool,
    /// Devices that our programs should be on, with the index of the program's pin if it is there.
    pub devices: Vec<DeviceFacts>,
    /// Programs at our hooks.
    pub programs: Vec<Program>,
    /// Why the programs could not be listed.
    pub programs_error: Option<String>,
    /// TCP and UDP ports of VIPs.
    pub ports: Vec<(Proto, u16)>,
    pub stats_enabled: bool,
}

#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DeviceFacts {
    pub name: String,
    pub kind: String,
    pub mtu: u32,
    pub up: bool,
    pub carrier: bool,
    pub attached: bool,
    /// An XDP program on it, by id.
    pub xdp: Option<u32>,
}

/// Sysctls of the whole namespace; those of devices are added to them.
const SYSCTLS: [&str; 12] = [
    "net.ipv4.conf.all.rp_filter",
    "net.ipv4.conf.all.src_valid_mark",
    "net.ipv4.conf.all.arp_ignore",
    "net.ipv4.conf.all.accept_local",
    "net.ipv4.ip_forward",
    "net.ipv4.tcp_syncookies",
    "net.ipv4.ip_local_port_range",
    "net.core.somaxconn",
    "net.bridge.bridge-nf-call-iptables",
    "net.bridge.bridge-nf-call-ip6tables",
    "net.ipv6.conf.all.disable_ipv6",
    "kernel.bpf_stats_enabled",
];
const DEVICE_SYSCTLS: [&str; 3] = ["rp_filter", "arp_ignore", "accept_local"];

impl Facts {
    /// Looks at this network namespace. `devices`: all of the node; `globs`: the configured choice among them.
    pub fn gather(pin_root: &Path, devices: &[Device], filters: &Filters, globs: &Globs) -> Self {
        let pins = Pins::at(pin_root);
        let chosen = globs.select(devices);
        let listed = programs::list(&pins, filters);
        let programs_error = listed.as_ref().err().map(ToString::to_string);
        let programs = listed.unwrap_or_default();
        let sysctls = sysctls(&chosen);
        Self {
            kernel: fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default().trim().to_owned(),
            features: Some(Features::probe()),
            stats_enabled: sysctls.get("kernel.bpf_stats_enabled").is_some_and(|value| value == "1"),
            sysctls,
            bpffs: pin_root.parent().is_some_and(|dir| is_bpffs(dir).unwrap_or(false)),
            pin_root: pin_root.display().to_string(),
            pinned: pins.exist(),
            devices: chosen.into_iter().map(|device| device_facts(device, &programs)).collect(),
            programs,
            programs_error,
            ports: View::open(pin_root).and_then(|view| view.listener_ports()).unwrap_or_default(),
        }
    }
}

fn device_facts(device: &Device, programs: &[Program]) -> DeviceFacts {
    let on_it = |program: &&Program| program.ours && program.device.as_deref() == Some(&device.name);
    DeviceFacts {
        name: device.name.clone(),
        kind: device.kind.clone(),
        mtu: device.mtu,
        up: device.up,
        carrier: device.carrier,
        attached: programs.iter().any(|program| on_it(&program) && program.hook.ends_with("ingress")),
        xdp: device.xdp,
    }
}

fn sysctls(devices: &[&Device]) -> BTreeMap<String, String> {
    let of_device = |device: &&Device| {
        let name = device.name.clone();
        DEVICE_SYSCTLS.map(|key| format!("net.ipv4.conf.{}.{key}", name.replace('.', "/")))
    };
    let names = SYSCTLS.map(str::to_owned).into_iter().chain(devices.iter().flat_map(of_device));
    names.filter_map(|name| Some((name.clone(), read(&name)?))).collect()
}

/// A sysctl by its name; as with sysctl(8), a slash in the name stands for a dot of a device's name.
fn read(name: &str) -> Option<String> {
    let swap = |c| match c {
        '.' => '/',
        '/' => '.',
        other => other,
    };
    let path: String = name.chars().map(swap).collect();
    let text = fs::read_to_string(Path::new("/proc/sys").join(path)).ok()?;
    Some(text.split_whitespace().collect::<Vec<_>>().join(" "))
}
