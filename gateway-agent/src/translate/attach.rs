//! Which listeners of a Gateway take a route.

use gateway_common::ir::Hostname;

use super::condition::{Problem, Reason};
use super::gateway::Plan;
use super::hostname;
use super::listener::Listener;
use super::lookup::Lookup;
use super::parent::ParentRef;
use crate::object::Kind;

/// What a listener asks about a route.
pub(super) struct Subject<'a> {
    pub(super) kind: Kind,
    pub(super) namespace: &'a str,
    pub(super) hostnames: &'a [Hostname],
}

/// A listener that takes the route, whatever the listener's own state.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Place {
    pub(super) listener: String,
    pub(super) port: u16,
    pub(super) hostnames: Vec<Hostname>,
    pub(super) serves: bool,
}

pub(super) fn attach(
    lookup: &mut Lookup<'_>,
    plan: &Plan,
    reference: &ParentRef,
    subject: &Subject<'_>,
) -> Result<Vec<Place>, Problem> {
    let named: Vec<&Listener> =
        plan.listeners.iter().filter(|listener| is_named(listener, reference)).collect();
    if named.is_empty() {
        return Err(no_parent(plan, reference));
    }
    let mut admitted = Vec::new();
    for listener in &named {
        if listener.kinds.contains(&subject.kind) && listener.admits(lookup, &plan.name, subject.namespace) {
            admitted.push(*listener);
        }
    }
    if admitted.is_empty() {
        return Err(not_allowed(plan, &named, subject));
    }
    let places: Vec<_> = admitted
        .iter()
        .filter_map(|listener| {
            hostname::shared(listener.hostname.as_ref(), subject.hostnames).map(|hostnames| Place {
                listener: listener.name.clone(),
                port: listener.port,
                hostnames,
                serves: plan.refused.is_none() && listener.serves(),
            })
        })
        .collect();
    if places.is_empty() { Err(no_hostname(plan, &admitted, subject)) } else { Ok(places) }
}

fn is_named(listener: &Listener, reference: &ParentRef) -> bool {
    reference.section_name.as_ref().is_none_or(|name| *name == listener.name)
        && reference.port.is_none_or(|port| port == i32::from(listener.port))
}

fn no_parent(plan: &Plan, reference: &ParentRef) -> Problem {
    let wanted = match (&reference.section_name, reference.port) {
        (Some(name), Some(port)) => format!("listener {name:?} on port {port}"),
        (Some(name), None) => format!("listener {name:?}"),
        (None, Some(port)) => format!("listener on port {port}"),
        (None, None) => "listener".to_owned(),
    };
    let has: Vec<_> = plan.listeners.iter().map(|l| format!("{:?} on port {}", l.name, l.port)).collect();
    Problem::new(
        Reason::NoMatchingParent,
        format!("Gateway {} has no {wanted}, which parentRefs names; it has {}", plan.name, has.join(", ")),
    )
}

fn not_allowed(plan: &Plan, named: &[&Listener], subject: &Subject<'_>) -> Problem {
    let kind = subject.kind;
    let message = if named.iter().any(|listener| listener.kinds.contains(&kind)) {
        format!(
            "allowedRoutes.namespaces of Gateway {} does not select namespace {:?}",
            plan.name, subject.namespace
        )
    } else {
        format!("no listener of Gateway {} that parentRefs means takes routes of kind {kind}", plan.name)
    };
    Problem::new(Reason::NotAllowedByListeners, message)
}

fn no_hostname(plan: &Plan, admitted: &[&Listener], subject: &Subject<'_>) -> Problem {
    let listeners: Vec<_> = admitted
        .iter()
        .filter_map(|l| l.hostname.as_ref().map(|name| format!("{:?} ({name})", l.name)))
        .collect();
    let hostnames: Vec<_> = subject.hostnames.iter().map(Hostname::as_str).collect();
    Problem::new(
        Reason::NoMatchingListenerHostname,
        format!(
            "none of spec.hostnames ({}) fits a listener of Gateway {}: {}",
            hostnames.join(", "),
            plan.name,
            listeners.join(", ")
        ),
    )
}
