//! The programs at our hooks: ours, where they are attached and what they cost, and everybody else's.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;

use aya::maps::MapInfo;
use aya::programs::links::{FdLink, PinnedLink};
use aya::programs::{ProgramInfo, SchedClassifier, TcAttachType, loaded_programs};
use aya::sys::{Stats, enable_stats};
use gateway_common::abi::names::{PROGRAM_INGRESS, PROGRAM_LOOKUP, VIPS};
use rustix::net::netdevice::index_to_name;
use rustix::net::{AddressFamily, SocketType, socket};
use serde::{Deserialize, Serialize};

use super::Error;
use super::features::Features;
use super::links::{tc_pins, xdp_pins};
use super::pins::Pins;
use super::syscall::lookup_programs;

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Program {
    pub name: String,
    pub id: u32,
    /// `tcx ingress`, `clsact ingress`, `sk_lookup`, `xdp native`, `xdp generic`.
    pub hook: String,
    /// None: the whole network namespace.
    pub device: Option<String>,
    /// Place among the programs of the hook, from 1, and how many there are.
    pub position: Option<(usize, usize)>,
    pub ours: bool,
    /// Instructions the verifier looked at.
    pub verified_instructions: Option<u32>,
    /// Bytes of machine code.
    pub jitted_bytes: u32,
    /// Counted only while `kernel.bpf_stats_enabled` is 1.
    pub run_count: u64,
    pub run_time_ns: u64,
}

/// Ids of the programs that filters at TC ingress run, in their order, by device index: only netlink tells.
pub type Filters = BTreeMap<u32, Vec<u32>>;

/// All programs at the hooks that we use: on the devices that carry our programs, and in this network namespace.
pub fn list(pins: &Pins, filters: &Filters) -> Result<Vec<Program>, Error> {
    let infos = infos();
    let mut found = lookups(pins, &infos)?;
    let links: BTreeMap<u32, PathBuf> = tc_pins(pins).into_iter().collect();
    let filter = |index: &u32| our_filter(pins, filters.get(index)?, &infos);
    let tcx = Features::probe().tcx;
    let mut carriers: BTreeSet<u32> = links.keys().copied().collect();
    carriers.extend(xdp_pins(pins).into_iter().map(|(index, ..)| index));
    carriers.extend(filters.keys().filter(|index| filter(index).is_some()));
    for index in &carriers {
        let Some(device) = device_name(*index) else { continue };
        let ours = links.get(index).and_then(|path| program_of(path));
        if !tcx {
            continue;
        }
        let (_, there) = SchedClassifier::query_tcx(&device, TcAttachType::Ingress)
            .map_err(|e| Error::program("query", PROGRAM_INGRESS, e))?;
        let ids: Vec<u32> = there.iter().map(ProgramInfo::id).collect();
        found.extend(at_hook("tcx ingress", Some(&device), &ids, ours, &infos));
    }
    for (index, kind, path) in xdp_pins(pins) {
        let Some((device, id)) = device_name(index).zip(program_of(&path)) else { continue };
        let hook = format!("xdp {}", kind.name());
        found.extend(at_hook(&hook, Some(&device), &[id], Some(id), &infos));
    }
    for (index, ids) in filters.iter().filter(|(index, _)| carriers.contains(index)) {
        let Some(device) = device_name(*index) else { continue };
        found.extend(at_hook("clsact ingress", Some(&device), ids, filter(index), &infos));
    }
    Ok(found)
}

/// Lets the kernel count runs and time of all programs for as long as the descriptor lives.
pub fn measure() -> Result<OwnedFd, Error> {
    enable_stats(Stats::RunTime).map_err(|e| Error::io("BPF_ENABLE_STATS", "bpf".as_ref(), e.io_error))
}

/// A loaded program.
pub(super) fn by_id(id: u32) -> Option<ProgramInfo> {
    loaded_programs().flatten().find(|program| program.id() == id)
}

/// The name of a device of this network namespace.
pub(super) fn device_name(index: u32) -> Option<String> {
    let any = socket(AddressFamily::INET, SocketType::DGRAM, None).ok()?;
    index_to_name(any, index).ok()
}

fn infos() -> BTreeMap<u32, ProgramInfo> {
    loaded_programs().flatten().map(|program| (program.id(), program)).collect()
}

fn lookups(pins: &Pins, infos: &BTreeMap<u32, ProgramInfo>) -> Result<Vec<Program>, Error> {
    let path = "/proc/thread-self/ns/net".as_ref();
    let netns = File::open(path).map_err(|e| Error::io("open", path, e))?;
    let ids = lookup_programs(netns.as_fd()).map_err(|e| Error::io("BPF_PROG_QUERY", path, e))?;
    let ours = program_of(&pins.links().join(PROGRAM_LOOKUP));
    Ok(at_hook("sk_lookup", None, &ids, ours, infos))
}

/// The program behind a pinned link.
fn program_of(path: &std::path::Path) -> Option<u32> {
    let link = FdLink::from(PinnedLink::from_pin(path).ok()?);
    Some(link.info().ok()?.program_id())
}

fn at_hook(
    hook: &str,
    device: Option<&str>,
    ids: &[u32],
    ours: Option<u32>,
    infos: &BTreeMap<u32, ProgramInfo>,
) -> Vec<Program> {
    let of = |(n, id): (usize, &u32)| {
        let info = infos.get(id);
        Program {
            name: info.and_then(ProgramInfo::name_as_str).unwrap_or("?").to_owned(),
            id: *id,
            hook: hook.to_owned(),
            device: device.map(str::to_owned),
            position: Some((n + 1, ids.len())),
            ours: ours == Some(*id),
            verified_instructions: info.and_then(ProgramInfo::verified_instruction_count),
            jitted_bytes: info.map_or(0, ProgramInfo::size_jitted),
            run_count: info.map_or(0, ProgramInfo::run_count),
            run_time_ns: info.map_or(0, |info| u64::try_from(info.run_time().as_nanos()).unwrap_or(u64::MAX)),
        }
    };
    ids.iter().enumerate().map(of).collect()
}

/// Filters of the `clsact` qdisc have no pins: ours is the one that uses our maps.
fn our_filter(pins: &Pins, ids: &[u32], infos: &BTreeMap<u32, ProgramInfo>) -> Option<u32> {
    let vips = MapInfo::from_pin(pins.map(VIPS)).ok()?;
    let is_ours = |id: &&u32| {
        let maps = infos.get(id).map(ProgramInfo::map_ids);
        matches!(maps, Some(Ok(Some(maps))) if maps.contains(&vips.id()))
    };
    ids.iter().find(is_ours).copied()
}
