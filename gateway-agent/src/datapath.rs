//! The kernel edge, the only user of aya: loads, pins and attaches the programs, fills the maps.
//!
//! Everything lives in the kernel under pins; this process holds nothing that traffic needs. Opening over the pins of a
//! predecessor replaces its programs without a gap, and closing changes nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use aya::maps::MapError;
use aya::pin::PinError;
use aya::programs::ProgramError;
use aya::programs::links::LinkError;
use aya::{Ebpf, EbpfError};
use gateway_common::abi::names::PROGRAMS;
use gateway_common::abi::{Addr, Denied, PortKey};
use gateway_common::ir::SocketId;
use ipnet::IpNet;

use crate::desired::{self, VipPort};

mod attach;
mod deny;
pub mod facts;
pub mod features;
mod layout;
mod links;
mod load;
mod logger;
pub mod maps;
pub mod object;
pub mod pins;
pub mod plan;
pub mod programs;
mod repair;
pub mod selection;
pub mod sockets;
mod syscall;
pub mod view;

use attach::Carrier;
pub use attach::uninstall;
pub use features::Features;
pub use layout::Layout;
pub use links::{TcKind, XdpKind};
use maps::Maps;
pub use pins::Pins;
use plan::{Observed, Op, Plan};
use sockets::Sockets;

/// How to open the datapath.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where pins go; its parent is the BPF file system.
    pub pin_root: PathBuf,
    /// Mount a BPF file system when there is none.
    pub mount_bpffs: bool,
    /// The programs' log: 0 is off, 4 is debug, 5 is trace (as aya-log counts).
    pub log_level: u8,
    /// None: TCX where the kernel has it.
    pub tc: Option<TcKind>,
    /// None: XDP is off.
    pub xdp: Option<XdpKind>,
    /// Prefixes that XDP drops.
    pub deny: BTreeSet<IpNet>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            pin_root: pins::DEFAULT_ROOT.into(),
            mount_bpffs: false,
            log_level: 0,
            tc: None,
            xdp: None,
            deny: BTreeSet::new(),
        }
    }
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(
        "{path} is not a BPF file system: run `mount -t bpf bpf {path}` (in a container: mount the host's {path}), \
         or let the agent mount it with --mount-bpffs"
    )]
    NoBpffs { path: PathBuf },
    #[error(
        "{path} is where a file system is mounted, which others use too: name a directory below it, as {path}/gatehouse"
    )]
    PinsOfAll { path: PathBuf },
    #[error("this kernel has no sk_lookup programs (5.9 and later do; CONFIG_NET and CONFIG_BPF_SYSCALL)")]
    NoSkLookup,
    #[error("load the eBPF object: {source}")]
    Object { source: EbpfError },
    #[error("the eBPF object has no {what} {name}: agent and programs are of different builds")]
    Missing { what: &'static str, name: &'static str },
    #[error("map {name} is {have}, this build wants {want}: agent and programs are of different builds")]
    Layout { name: &'static str, have: Layout, want: Layout },
    #[error("{call} program {name}: {source}")]
    Program { call: &'static str, name: &'static str, source: ProgramError },
    #[error("{call} map {name}: {source}")]
    Map { call: &'static str, name: &'static str, source: MapError },
    #[error("{call} link {path}: {source}")]
    Link { call: &'static str, path: PathBuf, source: LinkError },
    #[error("pin {path}: {source}")]
    Pin { path: PathBuf, source: PinError },
    #[error("{call} {path}: {source}")]
    Io { call: &'static str, path: PathBuf, source: io::Error },
    #[error(
        "no pins at {path}: no agent of this version has run on this node, or its pin root is another one"
    )]
    NoPins { path: PathBuf },
    #[error("no map is called {name}; there are VIPS, PORTS, SOCKS, PORT_STATS, REASONS and DENY")]
    UnknownMap { name: String },
    #[error("no socket is held for {id}")]
    NoSocket { id: SocketId },
}

impl Error {
    /// With the errno's text, which aya's errors leave to their causes.
    fn with_causes(&self) -> String {
        let mut text = self.to_string();
        let mut cause = std::error::Error::source(self);
        while let Some(error) = cause {
            let said = error.to_string();
            if !text.contains(&said) {
                text = format!("{text}: {said}");
            }
            cause = error.source();
        }
        text
    }

    fn io(call: &'static str, path: &Path, source: io::Error) -> Self {
        Self::Io { call, path: path.to_owned(), source }
    }

    const fn map(call: &'static str, name: &'static str, source: MapError) -> Self {
        Self::Map { call, name, source }
    }

    const fn program(call: &'static str, name: &'static str, source: ProgramError) -> Self {
        Self::Program { call, name, source }
    }

    fn link(call: &'static str, path: &Path, source: LinkError) -> Self {
        Self::Link { call, path: path.to_owned(), source }
    }

    fn pin(path: &Path, source: PinError) -> Self {
        Self::Pin { path: path.to_owned(), source }
    }
}

/// What could not be done, by what it is about; the rest is done.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Outcome {
    pub vips: BTreeMap<IpAddr, String>,
    pub ports: BTreeMap<VipPort, String>,
    pub sockets: BTreeMap<SocketId, String>,
    /// Writes that were made.
    pub changes: usize,
}

impl Outcome {
    fn is_clean(&self) -> bool {
        self.vips.is_empty() && self.ports.is_empty() && self.sockets.is_empty()
    }

    fn add_vip(&mut self, ip: IpAddr, problem: &str) {
        let text = self.vips.entry(ip).or_default();
        if !text.is_empty() {
            text.push_str("; ");
        }
        text.push_str(problem);
    }
}

/// The open datapath of this network namespace.
pub struct Datapath {
    pins: Pins,
    maps: Maps,
    ebpf: Ebpf,
    features: Features,
    tc: TcKind,
    xdp: Option<XdpKind>,
    /// What the deny list is to hold.
    deny: BTreeMap<IpNet, Denied>,
    /// Cookies of the sockets that this process put into slots.
    slots: BTreeMap<u32, u64>,
    /// By index.
    devices: BTreeMap<u32, Carrier>,
    settled: bool,
    mount_bpffs: bool,
    logger: Option<logger::Logger>,
}

impl Datapath {
    /// Loads the programs and puts them in the place of their predecessors. When it fails, these go on as they were.
    pub fn open(config: &Config) -> Result<Self, Error> {
        Self::open_object(config, object::BYTES)
    }

    /// As [`Self::open`], with another build of the programs.
    pub fn open_object(config: &Config, object: &[u8]) -> Result<Self, Error> {
        let features = Features::probe();
        if !features.sk_lookup {
            return Err(Error::NoSkLookup);
        }
        let pins = Pins::at(&config.pin_root);
        pins.prepare(config.mount_bpffs)?;
        let mut ebpf = load::load(object, &pins, &features, config.log_level)?;
        let maps = Maps::open(&pins)?;
        let logger = logger::Logger::start(&mut ebpf, config.log_level);
        links::replace_pinned(&mut ebpf, &pins)?;
        links::attach_lookup(&mut ebpf, &pins)?;
        for name in PROGRAMS {
            links::pin_program(&mut ebpf, &pins, name)?;
        }
        let tc = config.tc.unwrap_or(if features.tcx { TcKind::Tcx } else { TcKind::Netlink });
        let mut datapath = Self {
            pins,
            maps,
            ebpf,
            features,
            tc,
            xdp: config.xdp,
            deny: BTreeMap::new(),
            slots: BTreeMap::new(),
            devices: BTreeMap::new(),
            settled: false,
            mount_bpffs: config.mount_bpffs,
            logger,
        };
        datapath.set_deny(&config.deny)?;
        Ok(datapath)
    }

    pub const fn features(&self) -> Features {
        self.features
    }

    pub const fn pins(&self) -> &Pins {
        &self.pins
    }

    /// Forwards the programs' log to `tracing` until dropped; None when their log is off.
    pub fn take_logger(&mut self) -> Option<logger::Logger> {
        self.logger.take()
    }

    /// What the kernel holds.
    pub fn observe(&self) -> Result<Observed, Error> {
        Ok(Observed { vips: self.maps.vips()?, ports: self.maps.ports()?, slots: self.slots.clone() })
    }

    /// One planned write.
    pub fn apply(&mut self, op: &Op, sockets: &Sockets) -> Result<(), Error> {
        match op {
            Op::SetSocket { slot, id } => {
                let group = sockets.get(id).ok_or_else(|| Error::NoSocket { id: id.clone() })?;
                self.maps.set_socket(*slot, group.first())?;
                self.slots.insert(*slot, group.cookie());
            }
            Op::ClearSocket { slot } => {
                self.maps.clear_socket(*slot)?;
                self.slots.remove(slot);
            }
            Op::ResetCounter { counter } => self.maps.reset_counter(*counter)?,
            Op::PutPort { key, port } => self.maps.put_port(key, *port)?,
            Op::RemovePort { key } => self.maps.remove_port(key)?,
            Op::PutVip { addr, vip } => self.maps.put_vip(addr, *vip)?,
            Op::RemoveVip { addr } => self.maps.remove_vip(addr)?,
        }
        Ok(())
    }

    /// Observe, plan, apply; what fails is named and does not stop the rest.
    pub fn reconcile(&mut self, desired: &desired::Datapath, sockets: &Sockets) -> Result<Outcome, Error> {
        self.refill(sockets);
        let plan = plan::plan(&self.observe()?, desired, &sockets::cookies(sockets));
        let refused = plan.refused.iter().map(|(port, refusal)| (*port, refusal.to_string()));
        let mut outcome = Outcome { ports: refused.collect(), ..Outcome::default() };
        self.apply_all(&plan, desired, sockets, &mut outcome);
        if self.settled && outcome.is_clean() {
            self.pins.remove_older()?;
        }
        Ok(outcome)
    }

    fn apply_all(
        &mut self,
        plan: &Plan,
        desired: &desired::Datapath,
        sockets: &Sockets,
        outcome: &mut Outcome,
    ) {
        let mut empty: BTreeSet<u32> = BTreeSet::new();
        for op in &plan.ops {
            if let Op::PutPort { port, .. } = op
                && empty.contains(&port.slot)
            {
                continue;
            }
            let Err(error) = self.apply(op, sockets) else {
                outcome.changes += 1;
                continue;
            };
            tracing::warn!(?op, %error, "kernel map not changed");
            let problem = error.to_string();
            match op {
                Op::SetSocket { slot, id } => {
                    empty.insert(*slot);
                    outcome.sockets.insert(id.clone(), problem);
                }
                Op::PutVip { addr, .. } | Op::RemoveVip { addr } => outcome.add_vip(addr.to_ip(), &problem),
                Op::PutPort { key, .. } => {
                    let ports = desired.ports.keys().filter(|port| plan::key_of(port) == *key);
                    outcome.ports.extend(ports.map(|port| (*port, problem.clone())));
                }
                Op::RemovePort { key } => outcome.add_vip(ip_of(key), &problem),
                Op::ResetCounter { .. } | Op::ClearSocket { .. } => {}
            }
        }
    }
}

fn ip_of(key: &PortKey) -> IpAddr {
    Addr::to_ip(key.addr)
}
