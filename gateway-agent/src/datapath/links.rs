//! Attaching: every call that touches a hook of the kernel. Links are pinned, so that they outlive the agent, and a new
//! program takes an old one's place in one step.

use std::fs::{self, File};
use std::mem;
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};

use aya::Ebpf;
use aya::programs::links::{FdLink, PinnedLink};
use aya::programs::tc::{
    NlOptions, SchedClassifierLink, TcAttachOptions, TcHandle, qdisc_add_clsact, qdisc_detach_program,
};
use aya::programs::xdp::XdpLink;
use aya::programs::{LinkOrder, ProgramError, SchedClassifier, TcAttachType, TcError, Xdp, XdpMode};
use gateway_common::abi::names::{PROGRAM_INGRESS, PROGRAM_LOOKUP, PROGRAM_XDP};
use serde::{Deserialize, Serialize};

use super::pins::{Pins, names_in};
use super::syscall::lookup_programs;
use super::{Error, load};

const NETNS: &str = "/proc/thread-self/ns/net";
/// Runs before everything else at the hook.
const NETLINK_PRIORITY: u16 = 1;
/// Tells our filter from others of the same priority: "gh".
const NETLINK_HANDLE: TcHandle = TcHandle::new(0, 0x6768);

/// Where XDP runs.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum XdpKind {
    /// In the driver.
    Native,
    /// In the stack, before TC; any device, slower.
    Generic,
}

impl XdpKind {
    const ALL: [Self; 2] = [Self::Native, Self::Generic];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Native => "native",
            Self::Generic => "generic",
        }
    }

    const fn mode(self) -> XdpMode {
        match self {
            Self::Native => XdpMode::Driver,
            Self::Generic => XdpMode::Skb,
        }
    }
}

/// How TC is attached.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum TcKind {
    Tcx,
    /// A filter of the `clsact` qdisc.
    Netlink,
}

/// Attaches `gh_lookup` to this network namespace beside the one that serves, takes over its name, then lets it go.
pub(super) fn attach_lookup(ebpf: &mut Ebpf, pins: &Pins) -> Result<(), Error> {
    let path = pins.links().join(PROGRAM_LOOKUP);
    let next = pins.links().join(format!("{PROGRAM_LOOKUP}_next"));
    let namespace = namespace()?;
    // Left by an agent that died between the two steps below.
    unpin(&next)?;
    let program = load::lookup(ebpf)?;
    let failed = |e| Error::program("attach", PROGRAM_LOOKUP, e);
    let id = program.attach(namespace).map_err(failed)?;
    let link = FdLink::from(program.take_link(id).map_err(failed)?);
    link.pin(&next).map_err(|e| Error::pin(&next, e))?;
    // Replaces the old pin, the last hold on the old link.
    fs::rename(&next, &path).map_err(|e| Error::io("rename", &next, e))
}

/// Names a loaded program, for whoever looks; what runs it are the links.
pub(super) fn pin_program(ebpf: &mut Ebpf, pins: &Pins, name: &'static str) -> Result<(), Error> {
    let path = pins.program(name);
    let next = pins.program(&format!("{name}_next"));
    unpin(&next)?;
    let program = ebpf.program_mut(name).ok_or(Error::Missing { what: "program", name })?;
    program.pin(&next).map_err(|e| Error::pin(&next, e))?;
    fs::rename(&next, &path).map_err(|e| Error::io("rename", &next, e))
}

/// Whether our `gh_lookup` runs in this network namespace, and will go on to without us.
pub(super) fn lookup_serves(ebpf: &mut Ebpf, pins: &Pins) -> Result<bool, Error> {
    let info = load::lookup(ebpf)?.info().map_err(|e| Error::program("look at", PROGRAM_LOOKUP, e))?;
    let attached = lookup_programs(namespace()?.as_fd())
        .map_err(|e| Error::io("BPF_PROG_QUERY", Path::new(NETNS), e))?
        .contains(&info.id());
    // The kernel lets go of a link some time after its pin.
    Ok(attached && pins.links().join(PROGRAM_LOOKUP).exists())
}

fn namespace() -> Result<File, Error> {
    File::open(NETNS).map_err(|e| Error::io("open", Path::new(NETNS), e))
}

/// Puts the loaded programs behind every pinned link; links of devices that are gone are forgotten.
pub(super) fn replace_pinned(ebpf: &mut Ebpf, pins: &Pins) -> Result<(), Error> {
    for (_, path) in tc_pins(pins) {
        replace_tc(load::ingress(ebpf)?, &path)?;
    }
    for (_, _, path) in xdp_pins(pins) {
        replace_xdp(load::xdp(ebpf)?, &path)?;
    }
    Ok(())
}

/// Makes our program run at TC ingress of the device, before all others.
pub(super) fn ensure_tc(
    ebpf: &mut Ebpf,
    pins: &Pins,
    device: &str,
    index: u32,
    kind: TcKind,
) -> Result<(), Error> {
    let program = load::ingress(ebpf)?;
    match kind {
        TcKind::Tcx => ensure_tcx(program, &tc_pin(pins, index), device),
        TcKind::Netlink => ensure_netlink(program, device),
    }
}

/// Takes our program off the device's TC ingress.
pub(super) fn detach_tc(pins: &Pins, index: u32) -> Result<(), Error> {
    unpin(&tc_pin(pins, index))
}

/// Takes a `clsact` filter of ours off; a device without one is fine.
pub(super) fn detach_netlink(device: &str) -> Result<(), Error> {
    match qdisc_detach_program(device, TcAttachType::Ingress, PROGRAM_INGRESS) {
        Err(TcError::IoError(e)) if e.kind() == std::io::ErrorKind::NotFound => Ok(()),
        // No such device any more.
        Err(TcError::IoError(e)) if e.raw_os_error() == Some(libc::ENODEV) => Ok(()),
        // No clsact qdisc: EINVAL.
        Err(TcError::NetlinkError(e)) if e.raw_os_error() == Some(libc::EINVAL) => Ok(()),
        other => other.map_err(|e| Error::program("detach", PROGRAM_INGRESS, e.into())),
    }
}

/// Makes our XDP program run on the device in this mode, or not at all.
pub(super) fn ensure_xdp(
    ebpf: &mut Ebpf,
    pins: &Pins,
    index: u32,
    kind: Option<XdpKind>,
) -> Result<(), Error> {
    for other in XdpKind::ALL.into_iter().filter(|other| Some(*other) != kind) {
        unpin(&xdp_pin(&pins.links(), index, other))?;
    }
    let Some(kind) = kind else { return Ok(()) };
    let path = xdp_pin(&pins.links(), index, kind);
    let program = load::xdp(ebpf)?;
    if path.exists() && replace_xdp(program, &path)? == Replaced::Yes {
        return Ok(());
    }
    // A device has room for one XDP link: take over that of another ABI version.
    for dir in pins.older() {
        let old = xdp_pin(&dir.join("links"), index, kind);
        if old.exists() && replace_xdp(program, &old)? == Replaced::Yes {
            return fs::rename(&old, &path).map_err(|e| Error::io("rename", &old, e));
        }
    }
    let failed = |e| Error::program("attach", PROGRAM_XDP, e);
    let id = program.attach_to_if_index(index, kind.mode()).map_err(failed)?;
    let link = program.take_link(id).map_err(failed)?;
    FdLink::try_from(link)
        .map_err(|e| Error::link("attach", &path, e))?
        .pin(&path)
        .map(drop)
        .map_err(|e| Error::pin(&path, e))
}

/// Device indexes with a TC link of ours, and its pin.
pub(super) fn tc_pins(pins: &Pins) -> Vec<(u32, PathBuf)> {
    let of = |name: &String| name.strip_prefix("tc_")?.parse().ok();
    names_in(&pins.links()).iter().filter_map(|name| Some((of(name)?, pins.links().join(name)))).collect()
}

/// Device indexes with an XDP link of ours, its mode and its pin.
pub(super) fn xdp_pins(pins: &Pins) -> Vec<(u32, XdpKind, PathBuf)> {
    let of = |name: &str, kind: XdpKind| {
        name.strip_prefix("xdp_")?.strip_prefix(kind.name())?.strip_prefix('_')?.parse().ok()
    };
    let mut found = Vec::new();
    for name in names_in(&pins.links()) {
        for kind in XdpKind::ALL {
            found.extend(of(&name, kind).map(|index| (index, kind, pins.links().join(&name))));
        }
    }
    found
}

// Names of pins hold indexes, not device names: bpffs allows no dots, and `eth0.100` has one.
fn tc_pin(pins: &Pins, index: u32) -> PathBuf {
    pins.links().join(format!("tc_{index}"))
}

fn xdp_pin(links: &Path, index: u32, kind: XdpKind) -> PathBuf {
    links.join(format!("xdp_{}_{index}", kind.name()))
}

fn ensure_tcx(program: &mut SchedClassifier, path: &Path, device: &str) -> Result<(), Error> {
    let failed = |e| Error::program("attach", PROGRAM_INGRESS, e);
    let ours = program.info().map_err(failed)?.id();
    let attached = || {
        let (_, programs) = SchedClassifier::query_tcx(device, TcAttachType::Ingress).map_err(failed)?;
        Ok::<_, Error>(programs.iter().any(|program| program.id() == ours))
    };
    // Without its pin the kernel is about to let go of the link, or will when we end.
    if path.exists() && attached()? {
        return Ok(());
    }
    // The link of an earlier device with this index is dead; the device's list tells.
    if path.exists() && replace_tc(program, path)? == Replaced::Yes && attached()? {
        return Ok(());
    }
    unpin(path)?;
    let options = TcAttachOptions::TcxOrder(LinkOrder::first());
    let id = program.attach_with_options(device, TcAttachType::Ingress, options).map_err(failed)?;
    let link = program.take_link(id).map_err(failed)?;
    FdLink::try_from(link)
        .map_err(|e| Error::link("attach", path, e))?
        .pin(path)
        .map(drop)
        .map_err(|e| Error::pin(path, e))
}

fn ensure_netlink(program: &mut SchedClassifier, device: &str) -> Result<(), Error> {
    let failed = |e| Error::program("attach", PROGRAM_INGRESS, e);
    let old =
        SchedClassifierLink::attached(device, TcAttachType::Ingress, NETLINK_PRIORITY, NETLINK_HANDLE, None)
            .map_err(|e| failed(TcError::IoError(e).into()))?;
    let id = match program.attach_to_link(old) {
        Ok(id) => id,
        Err(_nothing_there) => {
            if let Err(e) = qdisc_add_clsact(device) {
                let exists = matches!(&e, TcError::NetlinkError(e) if e.raw_os_error() == Some(libc::EEXIST));
                if !exists && !matches!(e, TcError::AlreadyAttached) {
                    return Err(failed(e.into()));
                }
            }
            let options = NlOptions { priority: NETLINK_PRIORITY, handle: NETLINK_HANDLE, classid: None };
            program
                .attach_with_options(device, TcAttachType::Ingress, TcAttachOptions::Netlink(options))
                .map_err(failed)?
        }
    };
    // Dropping the link would remove the filter; it must outlive us.
    mem::forget(program.take_link(id).map_err(failed)?);
    Ok(())
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Replaced {
    Yes,
    /// The device is gone; the pin was removed.
    Gone,
}

fn replace_tc(program: &mut SchedClassifier, path: &Path) -> Result<Replaced, Error> {
    let link = SchedClassifierLink::try_from(open(path)?).map_err(|e| Error::link("open", path, e))?;
    match program.attach_to_link(link) {
        Ok(id) => {
            // Out of aya's hands: only this descriptor closes, the pin stays.
            let taken = program.take_link(id).map_err(|e| Error::program("replace", PROGRAM_INGRESS, e))?;
            drop(taken);
            Ok(Replaced::Yes)
        }
        Err(e) => gone(e, path, PROGRAM_INGRESS),
    }
}

fn replace_xdp(program: &mut Xdp, path: &Path) -> Result<Replaced, Error> {
    let link = XdpLink::try_from(open(path)?).map_err(|e| Error::link("open", path, e))?;
    match program.attach_to_link(link) {
        Ok(id) => {
            let taken = program.take_link(id).map_err(|e| Error::program("replace", PROGRAM_XDP, e))?;
            drop(taken);
            Ok(Replaced::Yes)
        }
        Err(e) => gone(e, path, PROGRAM_XDP),
    }
}

/// `ENOLINK`: the device of the link is gone (kernel/bpf/tcx.c, net/core/dev.c).
fn gone(error: ProgramError, path: &Path, program: &'static str) -> Result<Replaced, Error> {
    let dead = matches!(&error, ProgramError::SyscallError(call) if call.io_error.raw_os_error() == Some(libc::ENOLINK));
    if !dead {
        return Err(Error::program("replace", program, error));
    }
    unpin(path)?;
    Ok(Replaced::Gone)
}

fn open(path: &Path) -> Result<FdLink, Error> {
    PinnedLink::from_pin(path).map(FdLink::from).map_err(|e| Error::link("open", path, e))
}

/// Removes a pin; a missing one is fine.
fn unpin(path: &Path) -> Result<(), Error> {
    match fs::remove_file(path) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(Error::io("unlink", path, e)),
        _ => Ok(()),
    }
}
