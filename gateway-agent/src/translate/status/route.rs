//! The status of a route: one entry per parentRef of ours, the entries of other controllers untouched.

use gateway_common::ir::Key;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition as Written, Time};
use serde::Serialize;

use super::merge;
use crate::desired::Outcomes;
use crate::object::{Kind, ObjectKey};
use crate::translate::condition::{Condition, Problem, Reason, Status, Type};
use crate::translate::parent::ParentRef;
use crate::translate::route::id;
use crate::translate::verdict::{ParentVerdict, Verdicts};
use crate::world::World;

/// What the status types of all kinds of routes look like.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub(super) struct RouteStatus {
    parents: Vec<ParentStatus>,
}

#[derive(Clone, PartialEq, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct ParentStatus {
    conditions: Vec<Written>,
    controller_name: String,
    parent_ref: ParentRef,
}

macro_rules! read {
    ($object:expr) => {
        $object.status.as_ref().map(|status| RouteStatus {
            parents: status
                .parents
                .iter()
                .map(|parent| ParentStatus {
                    conditions: parent.conditions.clone(),
                    controller_name: parent.controller_name.clone(),
                    parent_ref: ParentRef::from(&parent.parent_ref),
                })
                .collect(),
        })
    };
}

/// What the object says now; the outer None: there is no such route.
pub(super) fn existing(world: &World, key: &ObjectKey) -> Option<Option<RouteStatus>> {
    let name = &key.name;
    match key.kind {
        Kind::HttpRoute => world.http_routes.get(name).map(|route| read!(route)),
        Kind::TlsRoute => world.tls_routes.get(name).map(|route| read!(route)),
        Kind::TcpRoute => world.tcp_routes.get(name).map(|route| read!(route)),
        Kind::UdpRoute => world.udp_routes.get(name).map(|route| read!(route)),
        Kind::GatewayClass
        | Kind::GatewayParameters
        | Kind::Gateway
        | Kind::ReferenceGrant
        | Kind::Namespace
        | Kind::Service
        | Kind::EndpointSlice
        | Kind::Secret => None,
    }
}

/// None: the route is none of ours and never was.
pub(super) fn status(
    old: Option<&RouteStatus>,
    key: &ObjectKey,
    verdicts: &Verdicts,
    outcomes: &Outcomes,
    now: &Time,
) -> Option<RouteStatus> {
    let verdict = verdicts.routes.get(key)?;
    let was = old.map_or(&[][..], |status| &status.parents);
    let is_ours = |parent: &ParentStatus| parent.controller_name == verdicts.controller_name;
    if verdict.parents.is_empty() && !was.iter().any(is_ours) {
        return None;
    }
    let problem = outcomes.proxy_problems.get(&Key::Route(id(key.kind, &key.name)));
    let write = |parent: &ParentVerdict, was: &[Written]| ParentStatus {
        conditions: merge::conditions(was, &conditions(parent, problem), verdict.generation, now),
        controller_name: verdicts.controller_name.clone(),
        parent_ref: parent.parent.clone(),
    };
    // Entries keep their places, so that two controllers do not swap them for ever.
    let mut parents = Vec::new();
    for entry in was {
        if !is_ours(entry) {
            parents.push(entry.clone());
        } else if let Some(parent) = verdict.parents.iter().find(|parent| parent.parent == entry.parent_ref) {
            parents.push(write(parent, &entry.conditions));
        }
    }
    for parent in &verdict.parents {
        if !parents.iter().any(|entry| is_ours(entry) && entry.parent_ref == parent.parent) {
            parents.push(write(parent, &[]));
        }
    }
    Some(RouteStatus { parents })
}

/// A route that the proxy refuses is not accepted, whatever translation thought.
fn conditions(parent: &ParentVerdict, problem: Option<&String>) -> Vec<Condition> {
    let mut conditions = parent.conditions.clone();
    let Some(reason) = problem else { return conditions };
    for condition in &mut conditions {
        if condition.kind == Type::Accepted && condition.status == Status::True {
            let problem =
                Problem::new(Reason::UnsupportedValue, format!("the proxy cannot use it: {reason}"));
            *condition = Condition::unless(Type::Accepted, Some(&problem), Reason::Accepted, "");
        }
    }
    conditions
}
