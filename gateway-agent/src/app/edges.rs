//! Settings in the words of each edge.

use std::collections::{BTreeMap, BTreeSet};

use crate::config::{Config, EbpfLog, Tc, Xdp};
use crate::datapath::{self, TcKind, XdpKind};
use crate::device::Globs;
use crate::reconcile::held::Held;
use crate::translate::Params;

pub(super) fn datapath(config: &Config) -> datapath::Config {
    let xdp = match config.xdp {
        Xdp::Off => None,
        Xdp::Native => Some(XdpKind::Native),
        Xdp::Generic => Some(XdpKind::Generic),
    };
    datapath::Config {
        pin_root: config.pin_dir.clone(),
        mount_bpffs: config.mount_bpffs,
        log_level: match config.ebpf_log {
            EbpfLog::Off => 0,
            EbpfLog::Debug => 4,
            EbpfLog::Trace => 5,
        },
        tc: match config.tc {
            Tc::Auto => None,
            Tc::Tcx => Some(TcKind::Tcx),
            Tc::Netlink => Some(TcKind::Netlink),
        },
        xdp,
        // Kept in the map for the day XDP is switched on, but nothing reads it before.
        deny: config.deny.iter().copied().collect::<BTreeSet<_>>(),
    }
}

pub(super) fn params(config: &Config, held: &Held) -> Params {
    Params {
        controller_name: config.controller_name.clone(),
        pools: config.address_pools.clone(),
        devices: BTreeMap::new(),
        held: held.addresses().clone(),
    }
}

pub(super) fn devices(config: &Config) -> Globs {
    Globs { include: config.devices.clone(), exclude: config.exclude_devices.clone() }
}
