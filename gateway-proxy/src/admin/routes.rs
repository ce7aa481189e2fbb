//! `GET /routes`, and the words in which a match is written.

use std::collections::BTreeSet;

use gateway_common::admin::{RouteStatus, RuleSummary};
use gateway_common::ir::{
    Attachment, BackendRef, Filter, HttpMatch, HttpRule, L4Rule, NameValueMatch, PathMatch, Route,
    RouteRules, ValueMatch,
};

use crate::snapshot::Snapshot;

/// Every attachment of every route, ordered by route.
pub(super) fn status(snapshot: &Snapshot) -> Vec<RouteStatus> {
    let rows = snapshot.routes.values().flat_map(|route| {
        route.attachments.iter().map(move |at| RouteStatus {
            id: route.id.clone(),
            gateway: at.gateway.clone(),
            port: at.port,
            listener: at.listener.clone(),
            hostnames: hostnames(snapshot, at),
            rules: rules(route),
        })
    });
    rows.collect()
}

/// The names that the route and its listener agree on.
fn hostnames(snapshot: &Snapshot, at: &Attachment) -> Vec<String> {
    let ports = snapshot.gateways.get(&at.gateway).into_iter().flat_map(|gateway| &gateway.ports);
    let mut listeners = ports.filter(|port| port.number == at.port).flat_map(|port| &port.ir.listeners);
    let own = listeners.find(|listener| listener.name == at.listener).and_then(|l| l.hostname.as_ref());
    match own {
        Some(own) if at.hostnames.is_empty() => vec![own.to_string()],
        Some(own) => {
            let narrower = at.hostnames.iter().map(|name| if name.covers(own) { own } else { name });
            let names: BTreeSet<_> = narrower.collect();
            names.into_iter().map(ToString::to_string).collect()
        }
        None => at.hostnames.iter().map(ToString::to_string).collect(),
    }
}

/// One line: `GET PathPrefix /api header x=1 query q~^a`.
pub(super) fn line(from: &HttpMatch) -> String {
    let mut words = Vec::new();
    words.extend(from.method.clone());
    words.push(match &from.path {
        PathMatch::Exact(path) => format!("Exact {path}"),
        PathMatch::Prefix(path) => format!("PathPrefix {path}"),
        PathMatch::Regex(path) => format!("RegularExpression {path}"),
    });
    words.extend(from.headers.iter().map(|header| format!("header {}", condition(header))));
    words.extend(from.query.iter().map(|query| format!("query {}", condition(query))));
    words.join(" ")
}

fn condition(of: &NameValueMatch) -> String {
    match &of.value {
        ValueMatch::Exact(value) => format!("{}={value}", of.name),
        ValueMatch::Regex(value) => format!("{}~{value}", of.name),
    }
}

fn rules(route: &Route) -> Vec<RuleSummary> {
    match &route.rules {
        RouteRules::Http(rules) => rules.iter().map(http).collect(),
        RouteRules::Tls(rule) | RouteRules::Tcp(rule) | RouteRules::Udp(rule) => vec![l4(rule)],
    }
}

fn http(rule: &HttpRule) -> RuleSummary {
    RuleSummary {
        name: rule.name.clone(),
        matches: rule.matches.iter().map(line).collect(),
        filters: rule.filters.iter().map(|filter| name(filter).to_owned()).collect(),
        backends: rule.backends.iter().map(backend).collect(),
    }
}

fn l4(rule: &L4Rule) -> RuleSummary {
    let backends = rule.backends.iter().map(backend).collect();
    RuleSummary { name: None, matches: Vec::new(), filters: Vec::new(), backends }
}

fn backend(of: &BackendRef) -> String {
    let id = of.backend.as_ref().map_or("unresolved", |id| id.as_str());
    format!("{id} {}", of.weight)
}

/// As the Gateway API spells it.
fn name(filter: &Filter) -> &'static str {
    match filter {
        Filter::RequestHeaderModifier(_) => "RequestHeaderModifier",
        Filter::ResponseHeaderModifier(_) => "ResponseHeaderModifier",
        Filter::RequestRedirect(_) => "RequestRedirect",
        Filter::UrlRewrite(_) => "URLRewrite",
        Filter::RequestMirror(_) => "RequestMirror",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_match_is_one_line() {
        let condition = |name: &str, value| NameValueMatch { name: name.to_owned(), value };
        let from = HttpMatch {
            path: PathMatch::Prefix("/api".to_owned()),
            method: Some("GET".to_owned()),
            headers: vec![condition("x", ValueMatch::Exact("1".to_owned()))],
            query: vec![condition("q", ValueMatch::Regex("^a".to_owned()))],
        };
        assert_eq!(line(&from), "GET PathPrefix /api header x=1 query q~^a");
    }
}
