//! The status of a Gateway: its verdict, and `Programmed` from what the edges report.

use std::net::IpAddr;

use gateway_common::abi::Proto;
use gateway_common::ir::{Key, SocketId};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::merge;
use crate::api::gateways::{
    GatewayStatus, GatewayStatusAddresses as Address, GatewayStatusListeners as ListenerStatus,
    GatewayStatusListenersSupportedKinds as SupportedKind,
};
use crate::desired::{Outcomes, Proxy, VipPort};
use crate::translate::condition::{Condition, Problem, Reason, Type};
use crate::translate::datapath::family;
use crate::translate::grant::GATEWAY_GROUP;
use crate::translate::verdict::{GatewayVerdict, ListenerVerdict};

pub(super) fn status(
    old: Option<&GatewayStatus>,
    verdict: &GatewayVerdict,
    outcomes: &Outcomes,
    now: &Time,
) -> GatewayStatus {
    let mut conditions = verdict.conditions.clone();
    let listener_problems: Vec<_> =
        verdict.listeners.iter().map(|listener| listener_problem(verdict, listener, outcomes)).collect();
    let problem = gateway_problem(verdict, &listener_problems, outcomes);
    conditions.push(Condition::unless(
        Type::Programmed,
        problem.as_ref(),
        Reason::Programmed,
        "the proxy serves the Gateway at its addresses",
    ));
    let listeners = verdict.listeners.iter().zip(&listener_problems).map(|(listener, problem)| {
        let old =
            old.and_then(|o| o.listeners.as_ref()).and_then(|l| l.iter().find(|l| l.name == listener.name));
        listener_status(old, listener, problem.as_ref(), verdict.generation, now)
    });
    let was = old.and_then(|status| status.conditions.as_deref()).unwrap_or_default();
    GatewayStatus {
        addresses: Some(addresses(verdict, outcomes)),
        attached_listener_sets: None,
        conditions: Some(merge::conditions(was, &conditions, verdict.generation, now)),
        listeners: Some(listeners.collect()),
    }
}

/// Only those where a client finds us.
fn addresses(verdict: &GatewayVerdict, outcomes: &Outcomes) -> Vec<Address> {
    let usable = verdict
        .addresses
        .iter()
        .filter(|address| !verdict.refused && address_problem(verdict, **address, outcomes).is_none());
    usable
        .map(|address| Address {
            routability: None,
            r#type: Some("IPAddress".to_owned()),
            value: address.to_string(),
        })
        .collect()
}

/// Why clients find nothing of the Gateway at this address. One port that is open makes it usable.
fn address_problem(verdict: &GatewayVerdict, address: IpAddr, outcomes: &Outcomes) -> Option<String> {
    if let Some(reason) = outcomes.vips.get(&address) {
        return Some(reason.clone());
    }
    let mut problems = Vec::new();
    for listener in verdict.listeners.iter().filter(|listener| listener.refused.is_none()) {
        let problem = port_problem(verdict, listener, address, outcomes)?;
        if !problems.contains(&problem) {
            problems.push(problem);
        }
    }
    (!problems.is_empty()).then(|| problems.join("; "))
}

/// Why the listener is not open at this address.
fn port_problem(
    verdict: &GatewayVerdict,
    listener: &ListenerVerdict,
    address: IpAddr,
    outcomes: &Outcomes,
) -> Option<String> {
    let ListenerVerdict { port, proto, .. } = *listener;
    let gateway = verdict.id.clone();
    let socket = match proto {
        Proto::Tcp => SocketId::Tcp { gateway, family: family(address) },
        Proto::Udp => SocketId::Udp { gateway, address: (address, port).into() },
    };
    if let Some(reason) = outcomes.sockets.get(&socket) {
        return Some(format!("the listening socket for {address} cannot be opened: {reason}"));
    }
    let reason = outcomes.ports.get(&VipPort { address, port, proto })?;
    Some(format!("port {port}/{} of {address} is not in the kernel: {reason}", proto.name()))
}

fn gateway_problem(
    verdict: &GatewayVerdict,
    listeners: &[Option<Problem>],
    outcomes: &Outcomes,
) -> Option<Problem> {
    if verdict.refused {
        return Some(Problem::new(
            Reason::Invalid,
            "the Gateway is not accepted; its condition Accepted says why",
        ));
    }
    if let Some(problem) = &verdict.address_problem {
        return Some(problem.clone());
    }
    let broken: Vec<_> = verdict
        .addresses
        .iter()
        .filter_map(|address| Some(format!("{address}: {}", address_problem(verdict, *address, outcomes)?)))
        .collect();
    if !broken.is_empty() {
        return Some(Problem::new(Reason::AddressNotUsable, broken.join("; ")));
    }
    if let Some(problem) = proxy_problem(verdict, outcomes) {
        return Some(problem);
    }
    // One listener that serves makes the Gateway serve.
    if listeners.iter().any(Option::is_none) {
        return None;
    }
    Problem::join(listeners.iter().flatten().cloned()).map(|problem| Problem {
        message: format!("no listener is programmed: {}", problem.message),
        reason: if problem.reason == Reason::Pending { Reason::Pending } else { Reason::Invalid },
    })
}

fn proxy_problem(verdict: &GatewayVerdict, outcomes: &Outcomes) -> Option<Problem> {
    let pending = |message: &str| Some(Problem::new(Reason::Pending, message));
    let key = Key::Gateway(verdict.id.clone());
    if let Some(reason) = outcomes.proxy_problems.get(&key) {
        return Some(Problem::new(Reason::Invalid, format!("the proxy cannot use it: {reason}")));
    }
    match outcomes.proxy {
        Proxy::Absent => {
            pending("no proxy is connected to the agent; is gateway-proxy running on this node?")
        }
        Proxy::Silent => pending("a proxy is connected and has not yet acknowledged its configuration"),
        Proxy::Serving if outcomes.unacknowledged.contains(&key) => {
            pending("the proxy has not yet acknowledged the newest configuration")
        }
        Proxy::Serving => None,
    }
}

fn listener_problem(
    verdict: &GatewayVerdict,
    listener: &ListenerVerdict,
    outcomes: &Outcomes,
) -> Option<Problem> {
    if let Some(problem) = &listener.refused {
        return Some(problem.clone());
    }
    if verdict.addresses.is_empty() {
        return Some(Problem::new(Reason::Pending, "the Gateway has no address"));
    }
    let certificates = listener.certificates.iter().filter_map(|id| {
        let key = Key::Certificate(id.clone());
        if let Some(reason) = outcomes.proxy_problems.get(&key) {
            return Some(Problem::new(
                Reason::Invalid,
                format!("the proxy cannot use Secret {id}: {reason}"),
            ));
        }
        let message = || format!("the proxy has not yet acknowledged Secret {id}");
        outcomes.unacknowledged.contains(&key).then(|| Problem::new(Reason::Pending, message()))
    });
    let ports = verdict.addresses.iter().filter_map(|address| {
        let problem = port_problem(verdict, listener, *address, outcomes)?;
        Some(Problem::new(Reason::Pending, problem))
    });
    if let Some(problem) = Problem::join(certificates.chain(ports)) {
        return Some(problem);
    }
    if verdict.addresses.iter().all(|address| outcomes.vips.contains_key(address)) {
        return Some(Problem::new(Reason::Pending, "no address of the Gateway is usable"));
    }
    proxy_problem(verdict, outcomes)
}

fn listener_status(
    old: Option<&ListenerStatus>,
    verdict: &ListenerVerdict,
    problem: Option<&Problem>,
    generation: i64,
    now: &Time,
) -> ListenerStatus {
    let mut conditions = verdict.conditions.clone();
    conditions.push(Condition::unless(
        Type::Programmed,
        problem,
        Reason::Programmed,
        "the proxy serves the listener",
    ));
    let kinds = verdict
        .kinds
        .iter()
        .map(|kind| SupportedKind { group: Some(GATEWAY_GROUP.to_owned()), kind: kind.name().to_owned() });
    ListenerStatus {
        attached_routes: verdict.attached,
        conditions: merge::conditions(
            old.map_or(&[][..], |old| &old.conditions),
            &conditions,
            generation,
            now,
        ),
        name: verdict.name.clone(),
        supported_kinds: Some(kinds.collect()),
    }
}
