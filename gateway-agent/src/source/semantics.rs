//! The rules that the CRDs write in CEL and whose breach would hurt: checked on the spec after its schema.

use serde_json::Value;

use crate::object::Kind;
use crate::yaml::Path;

pub(super) fn check(kind: Kind, spec: &Value) -> Vec<(Path, String)> {
    let mut problems = Vec::new();
    match kind {
        Kind::HttpRoute => http_route(spec, &mut problems),
        Kind::Gateway => gateway(spec, &mut problems),
        Kind::GatewayClass
        | Kind::GatewayParameters
        | Kind::TlsRoute
        | Kind::TcpRoute
        | Kind::UdpRoute
        | Kind::ReferenceGrant
        | Kind::Namespace
        | Kind::Service
        | Kind::EndpointSlice
        | Kind::Secret => {}
    }
    problems
}

type Problems = Vec<(Path, String)>;

fn items<'a>(value: &'a Value, path: &Path, name: &str) -> Vec<(Path, &'a Value)> {
    let list = value.get(name).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let path = path.then(name);
    list.iter().enumerate().map(|(index, item)| (path.at(index), item)).collect()
}

fn text<'a>(value: &'a Value, name: &str) -> Option<&'a str> {
    value.get(name).and_then(Value::as_str)
}

fn http_route(spec: &Value, problems: &mut Problems) {
    for (path, rule) in items(spec, &Path::key("spec"), "rules") {
        for (path, matched) in items(rule, &path, "matches") {
            if let Some(wanted) = matched.get("path") {
                match_path(wanted, &path.then("path"), problems);
            }
        }
        filters(rule, &path, problems);
        for (path, backend) in items(rule, &path, "backendRefs") {
            filters(backend, &path, problems);
        }
        prefix_replacement(rule, &path, problems);
        timeouts(rule, &path, problems);
    }
}

fn match_path(wanted: &Value, path: &Path, problems: &mut Problems) {
    let kind = text(wanted, "type").unwrap_or("PathPrefix");
    let value = text(wanted, "value").unwrap_or("/");
    if !matches!(kind, "Exact" | "PathPrefix") {
        return;
    }
    let path = path.then("value");
    if !value.starts_with('/') {
        problems.push((path, format!("{value:?} must begin with /")));
        return;
    }
    let lower = value.to_ascii_lowercase();
    let bad = ["//", "/./", "/../", "%2f", "#"].into_iter().find(|bad| lower.contains(bad));
    if let Some(bad) = bad {
        problems.push((
            path,
            format!("{value:?} must not hold {bad}; write the path as it is after normalisation"),
        ));
    } else if value.ends_with("/..") || value.ends_with("/.") {
        problems.push((
            path,
            format!("{value:?} must not end in . or ..; write the path as it is after normalisation"),
        ));
    }
}

/// `type: X` goes with the field of X and with no other.
fn filters(value: &Value, path: &Path, problems: &mut Problems) {
    const FIELDS: [(&str, &str); 8] = [
        ("RequestHeaderModifier", "requestHeaderModifier"),
        ("ResponseHeaderModifier", "responseHeaderModifier"),
        ("RequestMirror", "requestMirror"),
        ("RequestRedirect", "requestRedirect"),
        ("URLRewrite", "urlRewrite"),
        ("ExtensionRef", "extensionRef"),
        ("CORS", "cors"),
        ("ExternalAuth", "externalAuth"),
    ];
    let filters = items(value, path, "filters");
    for (path, filter) in &filters {
        let kind = text(filter, "type").unwrap_or_default();
        for (name, field) in FIELDS {
            let present = filter.get(field).is_some();
            if name == kind && !present {
                problems.push((path.then(field), format!("is required with type {kind}")));
            } else if name != kind && present {
                problems.push((path.then(field), format!("does not go with type {kind}; use type {name}")));
            }
        }
    }
    let count = |kind: &str| filters.iter().filter(|(_, filter)| text(filter, "type") == Some(kind)).count();
    let here = path.then("filters");
    for kind in ["RequestHeaderModifier", "ResponseHeaderModifier", "RequestRedirect", "URLRewrite", "CORS"] {
        if count(kind) > 1 {
            problems.push((here.clone(), format!("has {kind} more than once; merge them")));
        }
    }
    if count("RequestRedirect") > 0 && count("URLRewrite") > 0 {
        problems.push((
            here,
            "has RequestRedirect and URLRewrite; a redirect never reaches the backend, keep one".to_owned(),
        ));
    }
}

/// What would be replaced is only clear if the rule has exactly one match, by prefix.
fn prefix_replacement(rule: &Value, path: &Path, problems: &mut Problems) {
    let matches = items(rule, path, "matches");
    let kind = |m: &Value| m.get("path").and_then(|p| text(p, "type")).unwrap_or("PathPrefix").to_owned();
    let one_prefix = matches.is_empty() || (matches.len() == 1 && kind(matches[0].1) == "PathPrefix");
    if one_prefix {
        return;
    }
    for (path, filter) in items(rule, path, "filters") {
        for field in ["requestRedirect", "urlRewrite"] {
            let modifier = filter.get(field).and_then(|f| f.get("path"));
            if modifier.and_then(|m| text(m, "type")) == Some("ReplacePrefixMatch") {
                let path = path.then(field).then("path");
                problems.push((
                    path,
                    "ReplacePrefixMatch needs a rule with exactly one match, a PathPrefix".to_owned(),
                ));
            }
        }
    }
}

fn timeouts(rule: &Value, path: &Path, problems: &mut Problems) {
    let Some(timeouts) = rule.get("timeouts") else { return };
    let get = |name: &str| text(timeouts, name).and_then(crate::crds::duration::parse);
    if let (Some(request), Some(backend)) = (get("request"), get("backendRequest"))
        && !request.is_zero()
        && backend > request
    {
        let path = path.then("timeouts").then("backendRequest");
        problems.push((path, "is longer than timeouts.request, which ends the request first".to_owned()));
    }
}

fn gateway(spec: &Value, problems: &mut Problems) {
    let mut seen: Vec<(i64, &str, &str)> = Vec::new();
    for (path, listener) in items(spec, &Path::key("spec"), "listeners") {
        let protocol = text(listener, "protocol").unwrap_or_default();
        let hostname = text(listener, "hostname").unwrap_or_default();
        let tls = listener.get("tls");
        if tls.is_some() && matches!(protocol, "HTTP" | "TCP" | "UDP") {
            problems
                .push((path.then("tls"), format!("does not go with protocol {protocol}; use HTTPS or TLS")));
        }
        if !hostname.is_empty() && matches!(protocol, "TCP" | "UDP") {
            problems.push((
                path.then("hostname"),
                format!("does not go with protocol {protocol}, which has no names"),
            ));
        }
        if protocol == "HTTPS" && tls.and_then(|t| text(t, "mode")) == Some("Passthrough") {
            problems.push((
                path.then("tls").then("mode"),
                "must be Terminate with protocol HTTPS; use protocol TLS".to_owned(),
            ));
        }
        if protocol == "TLS" && tls.is_none() {
            problems.push((path.then("tls"), "is required with protocol TLS".to_owned()));
        }
        if let Some(tls) = tls.filter(|t| text(t, "mode") == Some("Terminate")) {
            let empty = |name: &str| match tls.get(name) {
                Some(Value::Array(list)) => list.is_empty(),
                Some(Value::Object(map)) => map.is_empty(),
                _ => true,
            };
            if empty("certificateRefs") && empty("options") {
                problems.push((
                    path.then("tls").then("certificateRefs"),
                    "is required with mode Terminate".to_owned(),
                ));
            }
        }
        let place = (listener.get("port").and_then(Value::as_i64).unwrap_or_default(), protocol, hostname);
        if seen.contains(&place) {
            let message = format!(
                "has the port, protocol and hostname of an earlier listener ({} {protocol})",
                place.0
            );
            problems.push((path.clone(), message));
        }
        seen.push(place);
    }
}
