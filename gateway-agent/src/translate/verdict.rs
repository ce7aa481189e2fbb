//! What translation found out about the objects, before the edges have spoken.

use std::collections::BTreeMap;
use std::net::IpAddr;

use gateway_common::abi::Proto;
use gateway_common::ir::{CertificateId, GatewayId};

use super::condition::{Condition, Problem};
use super::parent::ParentRef;
use crate::object::{Kind, NsName, ObjectKey};

/// Only objects of ours: classes by controller name, their Gateways, and every route.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Verdicts {
    /// Whose entries in a route's status are ours.
    pub controller_name: String,
    pub classes: BTreeMap<NsName, ClassVerdict>,
    pub gateways: BTreeMap<NsName, GatewayVerdict>,
    pub routes: BTreeMap<ObjectKey, RouteVerdict>,
}

impl Verdicts {
    /// Whether the object is ours to judge.
    pub fn judge(&self, key: &ObjectKey) -> bool {
        self.classes.contains_key(&key.name) && key.kind == Kind::GatewayClass
            || self.gateways.contains_key(&key.name) && key.kind == Kind::Gateway
            || self.routes.contains_key(key)
    }
}

#[derive(Clone, PartialEq, Debug)]
pub struct ClassVerdict {
    pub generation: i64,
    pub conditions: Vec<Condition>,
}

#[derive(Clone, PartialEq, Debug)]
pub struct GatewayVerdict {
    pub id: GatewayId,
    pub generation: i64,
    /// Nothing of it is served.
    pub refused: bool,
    /// All but `Programmed`.
    pub conditions: Vec<Condition>,
    /// Addresses that it has.
    pub addresses: Vec<IpAddr>,
    /// Addresses that it asks for and does not have.
    pub address_problem: Option<Problem>,
    /// In the order of the spec.
    pub listeners: Vec<ListenerVerdict>,
}

#[derive(Clone, PartialEq, Debug)]
pub struct ListenerVerdict {
    pub name: String,
    pub port: u16,
    pub proto: Proto,
    pub kinds: Vec<Kind>,
    pub certificates: Vec<CertificateId>,
    pub attached: i32,
    /// All but `Programmed`.
    pub conditions: Vec<Condition>,
    /// Why it is not served.
    pub refused: Option<Problem>,
}

#[derive(Clone, PartialEq, Debug)]
pub struct RouteVerdict {
    pub generation: i64,
    /// One per `spec.parentRefs` entry that is a Gateway of ours, in that order.
    pub parents: Vec<ParentVerdict>,
}

#[derive(Clone, PartialEq, Debug)]
pub struct ParentVerdict {
    pub parent: ParentRef,
    pub conditions: Vec<Condition>,
}
