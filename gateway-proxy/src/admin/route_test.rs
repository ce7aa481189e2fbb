//! `POST /route-test`: what a request would get, found by the code that serves requests.

use std::collections::BTreeSet;

use gateway_common::admin::{RouteAnswer, RouteBackend, RouteQuery, RouteResult};
use gateway_common::ir::{BackendRef, ListenerProtocol, PortProtocol, RouteRules};
use http::request::Parts;
use http::{Request, StatusCode};

use super::routes;
use crate::filter::{self, Outcome};
use crate::route::{self, Found, Share, host};
use crate::snapshot::{Gateway, Listener, Port, Snapshot, l4};
use crate::{hygiene, path};

/// One result per port that has a listener for the host; where a Gateway is named, also for ports that have none.
pub(super) fn answer(snapshot: &Snapshot, query: &RouteQuery) -> Result<RouteAnswer, http::Error> {
    let gateways = snapshot
        .gateways
        .values()
        .filter(|gateway| query.gateway.as_ref().is_none_or(|id| *id == gateway.id));
    let mut results = Vec::new();
    for gateway in gateways {
        for port in &gateway.ports {
            let asks_here = match port.protocol {
                PortProtocol::Http | PortProtocol::Tls => {
                    query.port.is_none_or(|number| number == port.number)
                }
                PortProtocol::Tcp | PortProtocol::Udp => query.port == Some(port.number),
            };
            if asks_here {
                let result = on_port(snapshot, gateway, port, request(query)?);
                results.extend(result.filter(|r| query.gateway.is_some() || r.listener.is_some()));
            }
        }
    }
    Ok(RouteAnswer { results })
}

fn request(query: &RouteQuery) -> Result<Parts, http::Error> {
    let mut request = Request::builder().method(query.method.as_str()).uri(query.path.as_str());
    request = request.header(http::header::HOST, query.host.as_str());
    for (name, value) in &query.headers {
        request = request.header(name, value);
    }
    Ok(request.body(())?.into_parts().0)
}

fn on_port(snapshot: &Snapshot, gateway: &Gateway, port: &Port, mut parts: Parts) -> Option<RouteResult> {
    let mut result = RouteResult {
        gateway: gateway.id.clone(),
        port: port.number,
        listener: None,
        route: None,
        rule: None,
        rule_name: None,
        matched: None,
        filters: Vec::new(),
        backends: Vec::new(),
        status: None,
    };
    let host = parts.headers.get(http::header::HOST)?.to_str().unwrap_or_default().to_owned();
    let listener = match port.protocol {
        PortProtocol::Http | PortProtocol::Tls => port.listener_for(host::Name::new(&host).as_str()),
        PortProtocol::Tcp | PortProtocol::Udp => port.listeners.first(),
    };
    let Some(listener) = listener else {
        // Over TLS the handshake fails, and there is no answer.
        result.status = (port.protocol == PortProtocol::Http).then(|| StatusCode::NOT_FOUND.as_u16());
        return Some(result);
    };
    result.listener = Some(listener.name.to_string());
    match listener.protocol {
        ListenerProtocol::Http | ListenerProtocol::Https { .. } => {
            http(snapshot, gateway, port, listener, &mut parts, &mut result);
        }
        ListenerProtocol::TlsPassthrough => {
            let route = port.l4.by_sni(&listener.name, host::Name::new(&host).as_str());
            stream(snapshot, route.map(|route| &**route), &mut result);
        }
        ListenerProtocol::Tcp | ListenerProtocol::Udp => {
            stream(snapshot, port.l4.any().map(|route| &**route), &mut result);
        }
    }
    Some(result)
}

fn stream(snapshot: &Snapshot, route: Option<&gateway_common::ir::Route>, result: &mut RouteResult) {
    let Some(route) = route else { return };
    result.route = Some(route.id.clone());
    result.rule = Some(0);
    result.backends = backends(snapshot, l4::backends(route));
}

fn http(
    snapshot: &Snapshot,
    gateway: &Gateway,
    port: &Port,
    listener: &Listener,
    parts: &mut Parts,
    result: &mut RouteResult,
) {
    let policy: &path::Policy = &gateway.path_policy;
    if let Err(reject) = hygiene::admit(parts, &gateway.settings.limits, policy) {
        result.status = Some(reject.status().as_u16());
        return;
    }
    let authority = parts.headers.get(http::header::HOST).and_then(|value| value.to_str().ok());
    let asked = route::Request {
        authority: authority.unwrap_or_default(),
        method: &parts.method,
        path: parts.uri.path(),
        query: parts.uri.query(),
        headers: &parts.headers,
    };
    let Some(found) = listener.router.find(&asked) else {
        result.status = Some(StatusCode::NOT_FOUND.as_u16());
        return;
    };
    let Found { rule, match_index, prefix } = found;
    result.route = Some(rule.route.clone());
    result.rule = Some(rule.index);
    result.rule_name.clone_from(&rule.name);
    if let Some(RouteRules::Http(rules)) = snapshot.routes.get(&rule.route).map(|route| &route.rules)
        && let Some(written) = rules.get(rule.index)
    {
        result.matched = written.matches.get(match_index).map(routes::line);
        result.filters.clone_from(&written.filters);
        result.backends = backends(snapshot, &written.backends);
    }
    let scheme = if port.protocol == PortProtocol::Tls { "https" } else { "http" };
    let context = filter::Context { scheme, port: port.number, prefix, random: &|_| 0 };
    result.status = match rule.filters.request(parts, &context) {
        Outcome::Respond(response) => Some(response.status().as_u16()),
        Outcome::Continue { .. } => own_status(snapshot, rule.backends.shares()),
    };
}

/// The status that every share of the rule ends in without a backend being asked.
fn own_status(snapshot: &Snapshot, shares: &[Share]) -> Option<u16> {
    let of = |share: &Share| match share.backend.as_ref().and_then(|id| snapshot.backend(id)) {
        None => Some(StatusCode::INTERNAL_SERVER_ERROR),
        Some(backend) if backend.endpoints.is_empty() => Some(StatusCode::SERVICE_UNAVAILABLE),
        Some(_) => None,
    };
    let statuses: BTreeSet<_> = shares.iter().map(|share| of(share).map(|status| status.as_u16())).collect();
    match shares {
        [] => Some(StatusCode::INTERNAL_SERVER_ERROR.as_u16()),
        [..] if statuses.len() == 1 => statuses.into_iter().next().flatten(),
        [..] => None,
    }
}

fn backends(snapshot: &Snapshot, refs: &[BackendRef]) -> Vec<RouteBackend> {
    let of = |to: &BackendRef| RouteBackend {
        id: to.backend.clone(),
        weight: to.weight,
        endpoints: to.backend.as_ref().and_then(|id| snapshot.backend(id)).map_or(0, |b| b.endpoints.len()),
    };
    refs.iter().map(of).collect()
}
