//! Verdicts and outcomes, told to the API: status objects, merged with what is there.

mod due;
mod gateway;
mod merge;
mod route;

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde_json::Value;

use super::features;
use super::verdict::{ClassVerdict, Verdicts};
use crate::api::gatewayclasses::{
    GatewayClass, GatewayClassStatus, GatewayClassStatusSupportedFeatures as Feature,
};
use crate::desired::Outcomes;
use crate::object::{Kind, ObjectKey};
use crate::world::World;

pub use due::Due;

/// The status of every object of ours whose status in the world is another: the value of `.status`.
pub fn status(
    world: &World,
    verdicts: &Verdicts,
    outcomes: &Outcomes,
    now: &Time,
) -> BTreeMap<ObjectKey, Value> {
    let classes = verdicts.classes.keys().map(|name| (Kind::GatewayClass, name));
    let gateways = verdicts.gateways.keys().map(|name| (Kind::Gateway, name));
    let objects = classes.chain(gateways).map(|(kind, name)| ObjectKey { kind, name: name.clone() });
    objects
        .chain(verdicts.routes.keys().cloned())
        .filter_map(|key| status_of(world, verdicts, outcomes, &key, now).map(|status| (key, status)))
        .collect()
}

/// None: the object is not ours, or its status already says so.
pub fn status_of(
    world: &World,
    verdicts: &Verdicts,
    outcomes: &Outcomes,
    key: &ObjectKey,
    now: &Time,
) -> Option<Value> {
    let name = &key.name;
    match key.kind {
        Kind::GatewayClass => {
            let object = world.gateway_classes.get(name)?;
            changed(object.status.as_ref(), class(object, verdicts.classes.get(name)?, now))
        }
        Kind::Gateway => {
            let object = world.gateways.get(name)?;
            let status = gateway::status(object.status.as_ref(), verdicts.gateways.get(name)?, outcomes, now);
            changed(object.status.as_ref(), status)
        }
        Kind::HttpRoute | Kind::TlsRoute | Kind::TcpRoute | Kind::UdpRoute => {
            let old = route::existing(world, key)?;
            let new = route::status(old.as_ref(), key, verdicts, outcomes, now)?;
            changed(old.as_ref(), new)
        }
        Kind::GatewayParameters
        | Kind::ReferenceGrant
        | Kind::Namespace
        | Kind::Service
        | Kind::EndpointSlice
        | Kind::Secret => None,
    }
}

/// A type of ours always serialises; if it did not, nothing would be written.
fn changed<T: PartialEq + serde::Serialize>(old: Option<&T>, new: T) -> Option<Value> {
    if old == Some(&new) { None } else { serde_json::to_value(new).ok() }
}

fn class(object: &GatewayClass, verdict: &ClassVerdict, now: &Time) -> GatewayClassStatus {
    let old = object.status.as_ref().and_then(|status| status.conditions.as_deref()).unwrap_or_default();
    let features = features::SUPPORTED.iter().map(|name| Feature { name: (*name).to_owned() });
    GatewayClassStatus {
        conditions: Some(merge::conditions(old, &verdict.conditions, verdict.generation, now)),
        supported_features: Some(features.collect()),
    }
}
