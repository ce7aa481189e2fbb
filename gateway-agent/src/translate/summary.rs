//! The verdict on a Gateway, from its plan, its addresses and the routes attached to it.

use std::collections::BTreeMap;

use super::address::Assigned;
use super::condition::{Condition, Problem, Reason, Type};
use super::gateway::Plan;
use super::listener::{Listener, Protocol};
use super::verdict::{GatewayVerdict, ListenerVerdict};

/// Routes attached to each listener of a Gateway, by the listener's name.
pub(super) type Attached = BTreeMap<String, i32>;

pub(super) fn gateway(plan: &Plan, assigned: &Assigned, attached: Option<&Attached>) -> GatewayVerdict {
    let accepted = accepted(plan, assigned);
    let refused = accepted.status != super::condition::Status::True;
    let listeners = plan
        .listeners
        .iter()
        .map(|listener| {
            let count = attached.and_then(|a| a.get(&listener.name)).copied().unwrap_or_default();
            verdict(plan, listener, count)
        })
        .collect();
    GatewayVerdict {
        id: plan.id.clone(),
        generation: plan.generation,
        refused,
        conditions: vec![accepted, resolved(plan)],
        addresses: assigned.addresses.clone(),
        address_problem: assigned.problem.clone(),
        listeners,
    }
}

fn accepted(plan: &Plan, assigned: &Assigned) -> Condition {
    if plan.refused.is_some() {
        return Condition::unless(Type::Accepted, plan.refused.as_ref(), Reason::Accepted, "");
    }
    let bad = names(plan, |listener| refusal(listener).is_some());
    let mut message = match &bad {
        None => "the Gateway is accepted".to_owned(),
        Some(names) => format!("listeners that are not accepted: {names}; their own conditions say why"),
    };
    for note in plan.notes.iter().chain(&assigned.note) {
        message.push_str("; ");
        message.push_str(note);
    }
    let good = plan.listeners.iter().any(|listener| refusal(listener).is_none());
    match (bad, good) {
        (None, _) => Condition::truth(Type::Accepted, Reason::Accepted, message),
        (Some(_), true) => Condition::truth(Type::Accepted, Reason::ListenersNotValid, message),
        (Some(_), false) => {
            let problem = Problem::new(Reason::ListenersNotValid, message);
            Condition::unless(Type::Accepted, Some(&problem), Reason::Accepted, "")
        }
    }
}

fn resolved(plan: &Plan) -> Condition {
    let problem = names(plan, |listener| listener.unresolved.is_some()).map(|names| {
        let message = format!(
            "listeners with references that are not resolved: {names}; their own conditions say which"
        );
        Problem::new(Reason::ListenersNotResolved, message)
    });
    Condition::unless(
        Type::ResolvedRefs,
        problem.as_ref(),
        Reason::ResolvedRefs,
        "all references are resolved",
    )
}

fn names(plan: &Plan, is: impl Fn(&Listener) -> bool) -> Option<String> {
    let names: Vec<_> = plan.listeners.iter().filter(|l| is(l)).map(|l| format!("{:?}", l.name)).collect();
    (!names.is_empty()).then(|| names.join(", "))
}

/// Why the listener is not accepted; a conflict is the first thing to say.
fn refusal(listener: &Listener) -> Option<&Problem> {
    listener.conflict.as_ref().or(listener.refused.as_ref())
}

fn verdict(plan: &Plan, listener: &Listener, attached: i32) -> ListenerVerdict {
    let mut conditions = vec![
        Condition::unless(Type::Accepted, refusal(listener), Reason::Accepted, "the listener is valid"),
        Condition::unless(
            Type::ResolvedRefs,
            listener.unresolved.as_ref(),
            Reason::ResolvedRefs,
            "all references are resolved",
        ),
    ];
    if let Some(conflict) = &listener.conflict {
        conditions.push(Condition::truth(Type::Conflicted, conflict.reason, &*conflict.message));
    }
    if let Some(overlap) = listener.overlap.as_ref().filter(|_| listener.conflict.is_none()) {
        conditions.push(Condition::truth(
            Type::OverlappingTLSConfig,
            Reason::OverlappingHostnames,
            &**overlap,
        ));
    }
    ListenerVerdict {
        name: listener.name.clone(),
        port: listener.port,
        proto: listener.protocol.map_or(gateway_common::abi::Proto::Tcp, Protocol::proto),
        kinds: listener.kinds.clone(),
        certificates: listener.certificates.clone(),
        attached,
        conditions,
        refused: not_served(plan, listener),
    }
}

fn not_served(plan: &Plan, listener: &Listener) -> Option<Problem> {
    let invalid = |message: &str| Problem::new(Reason::Invalid, message);
    if let Some(conflict) = &listener.conflict {
        return Some(conflict.clone());
    }
    if let Some(refused) = &listener.refused {
        return Some(invalid(&refused.message));
    }
    if plan.refused.is_some() {
        return Some(invalid("the Gateway is not accepted"));
    }
    if !listener.serves() {
        return Some(invalid(
            listener.unresolved.as_ref().map_or("no kind of route is allowed", |p| &p.message),
        ));
    }
    None
}
