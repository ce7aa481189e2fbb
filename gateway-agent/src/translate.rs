//! From objects to what should be: resources for the proxy, the kernel's part, and verdicts for status.
//!
//! Pure, total and deterministic: no clock, no I/O; bad input becomes a verdict and hurts only itself.

mod address;
mod attach;
mod backend;
mod backend_ref;
mod certificate;
mod class;
pub mod condition;
mod conflict;
mod datapath;
mod depend;
pub mod features;
mod gateway;
mod grant;
mod hostname;
mod http;
mod layer4;
mod listener;
mod lookup;
mod output;
mod parent;
mod relevant;
mod route;
mod rules;
mod selector;
mod status;
mod summary;
mod time;
mod translator;
pub mod verdict;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use gateway_common::ir::{GatewayId, Key, Resource};
use ipnet::IpNet;

use crate::desired::{Datapath, Resources};
use crate::object::ObjectKey;
use crate::world::World;

pub use parent::ParentRef;
pub use status::{Due, status, status_of};
pub use translator::Translator;
pub use verdict::Verdicts;

/// What translation needs to know beside the objects.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Params {
    /// GatewayClasses with this `spec.controllerName` are ours.
    pub controller_name: String,
    /// Addresses that Gateways may have. None: only those that a Gateway names itself, whichever they are.
    pub pools: Vec<IpNet>,
    /// Addresses of the node's own devices but for `lo`, by the device's name: no VIPs, unless they were before.
    pub devices: BTreeMap<IpAddr, String>,
    /// Addresses given out before ([`Translation::held`]); never taken away while the Gateway still wants them. Those of
    /// a Gateway that is not there are given to no other.
    pub held: BTreeMap<GatewayId, Vec<IpAddr>>,
}

/// Everything at once.
#[derive(Clone, PartialEq, Debug)]
pub struct Translation {
    pub resources: Resources,
    pub datapath: Datapath,
    pub held: BTreeMap<GatewayId, Vec<IpAddr>>,
    pub verdicts: Verdicts,
}

/// What an update has made different.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Change {
    pub upsert: Vec<Resource>,
    pub remove: Vec<Key>,
    pub datapath: bool,
    /// Objects whose status may have to be written.
    pub verdicts: BTreeSet<ObjectKey>,
    /// How many Gateways, routes and backends were translated for it.
    pub work: usize,
}

impl Change {
    pub fn is_empty(&self) -> bool {
        self.upsert.is_empty() && self.remove.is_empty() && !self.datapath && self.verdicts.is_empty()
    }
}

/// Translates the whole world. Whoever translates it again and again keeps a [`Translator`].
pub fn translate(world: &World, params: &Params) -> Translation {
    let mut translator = Translator::default();
    translator.update(world, params, &world.keys());
    Translation {
        resources: translator.resources().clone(),
        datapath: translator.datapath().clone(),
        held: translator.held(),
        verdicts: translator.verdicts().clone(),
    }
}
