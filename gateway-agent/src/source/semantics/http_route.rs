//! Matches, filters and timeouts of HTTPRoutes.

use serde_json::Value;

use super::references::port_of_service;
use super::{Problems, items, text};
use crate::crds::duration;
use crate::yaml::Path;

/// Of all rules together.
const MAX_MATCHES: usize = 128;

pub(super) fn check(spec: &Value, problems: &mut Problems) {
    let mut matches = 0;
    for (path, rule) in items(spec, &Path::key("spec"), "rules") {
        for (path, matched) in items(rule, &path, "matches") {
            matches += 1;
            if let Some(wanted) = matched.get("path") {
                check_path(wanted, &path.then("path"), problems);
            }
        }
        check_rule(rule, &path, problems);
    }
    if matches > MAX_MATCHES {
        let message = format!("have {matches} matches; a route has at most {MAX_MATCHES}, split it");
        problems.push((Path::key("spec").then("rules"), message));
    }
}

fn check_path(wanted: &Value, path: &Path, problems: &mut Problems) {
    if text(wanted, "type") == Some("RegularExpression") {
        return;
    }
    let value = text(wanted, "value").unwrap_or("/");
    let lower = value.to_ascii_lowercase();
    let message = if !value.starts_with('/') {
        format!("{value:?} must begin with /")
    } else if let Some(bad) = ["//", "/./", "/../", "%2f", "#"].into_iter().find(|bad| lower.contains(bad)) {
        format!("{value:?} must not hold {bad}; write the path as it is after normalisation")
    } else if value.ends_with("/..") || value.ends_with("/.") {
        format!("{value:?} must not end in . or ..; write the path as it is after normalisation")
    } else if !is_path(value) {
        format!("{value:?} has characters that no path has (RFC 3986); percent-encode them")
    } else {
        return;
    };
    problems.push((path.then("value"), message));
}

fn is_path(text: &str) -> bool {
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        let hex = |b: Option<u8>| b.is_some_and(|b| b.is_ascii_hexdigit());
        let fits = match byte {
            b'%' => hex(rest.next()) && hex(rest.next()),
            b => b.is_ascii_alphanumeric() || b"-/._~!$&'()*+,;=:@".contains(&b),
        };
        if !fits {
            return false;
        }
    }
    true
}

fn check_rule(rule: &Value, path: &Path, problems: &mut Problems) {
    check_filters(rule, path, problems);
    let backends = items(rule, path, "backendRefs");
    for (path, backend) in &backends {
        check_filters(backend, path, problems);
    }
    let filters = items(rule, path, "filters");
    if let Some((path, _)) = filters.iter().find(|(_, f)| f.get("requestRedirect").is_some())
        && !backends.is_empty()
    {
        let message = "does not go with backendRefs: a redirect answers itself; remove one of the two";
        problems.push((path.then("requestRedirect"), message.to_owned()));
    }
    let in_backends = backends.iter().flat_map(|(path, backend)| items(backend, path, "filters"));
    let all: Vec<_> = filters.into_iter().chain(in_backends).collect();
    check_prefix_replacement(rule, &all, problems);
    if let Some(timeouts) = rule.get("timeouts") {
        check_timeouts(timeouts, &path.then("timeouts"), problems);
    }
}

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
const ONCE: [&str; 5] =
    ["RequestHeaderModifier", "ResponseHeaderModifier", "RequestRedirect", "URLRewrite", "CORS"];

fn check_filters(value: &Value, path: &Path, problems: &mut Problems) {
    let filters = items(value, path, "filters");
    for (path, filter) in &filters {
        check_filter(filter, path, problems);
    }
    let count = |kind: &str| filters.iter().filter(|(_, filter)| text(filter, "type") == Some(kind)).count();
    let here = path.then("filters");
    for kind in ONCE.into_iter().filter(|kind| count(kind) > 1) {
        problems.push((here.clone(), format!("has {kind} more than once; merge them")));
    }
    if count("RequestRedirect") > 0 && count("URLRewrite") > 0 {
        let message = "has RequestRedirect and URLRewrite: a redirect never reaches the backend; keep one";
        problems.push((here, message.to_owned()));
    }
}

/// `type: X` goes with the field of X and with no other.
fn check_filter(filter: &Value, path: &Path, problems: &mut Problems) {
    let kind = text(filter, "type").unwrap_or_default();
    for (name, field) in FIELDS {
        match (name == kind, filter.get(field).is_some()) {
            (true, false) => problems.push((path.then(field), format!("is required with type {kind}"))),
            (false, true) => {
                problems.push((path.then(field), format!("does not go with type {kind}; use type {name}")));
            }
            (true, true) | (false, false) => {}
        }
    }
    for field in ["requestRedirect", "urlRewrite"] {
        if let Some(modifier) = filter.get(field).and_then(|f| f.get("path")) {
            check_modifier(modifier, &path.then(field).then("path"), problems);
        }
    }
    if let Some(mirror) = filter.get("requestMirror") {
        check_mirror(mirror, &path.then("requestMirror"), problems);
    }
}

fn check_modifier(modifier: &Value, path: &Path, problems: &mut Problems) {
    let kind = text(modifier, "type").unwrap_or_default();
    for (name, field) in
        [("ReplaceFullPath", "replaceFullPath"), ("ReplacePrefixMatch", "replacePrefixMatch")]
    {
        match (name == kind, modifier.get(field).is_some()) {
            (true, false) => problems.push((path.then(field), format!("is required with type {kind}"))),
            (false, true) => {
                problems.push((path.then(field), format!("does not go with type {kind}; use type {name}")));
            }
            (true, true) | (false, false) => {}
        }
    }
}

fn check_mirror(mirror: &Value, path: &Path, problems: &mut Problems) {
    if let Some(backend) = mirror.get("backendRef") {
        port_of_service(backend, &path.then("backendRef"), problems);
    }
    let Some(fraction) = mirror.get("fraction") else { return };
    if mirror.get("percent").is_some() {
        problems.push((path.then("percent"), "does not go with fraction; keep one of the two".to_owned()));
    }
    let number = |name: &str| fraction.get(name).and_then(Value::as_i64);
    if number("numerator").unwrap_or(0) > number("denominator").unwrap_or(100) {
        let message = "is larger than the denominator; a request is mirrored once at most";
        problems.push((path.then("fraction").then("numerator"), message.to_owned()));
    }
}

/// What would be replaced is only clear if the rule has exactly one match, by prefix.
fn check_prefix_replacement(rule: &Value, filters: &[(Path, &Value)], problems: &mut Problems) {
    let matches = rule.get("matches").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let by_prefix = |m: &Value| m.get("path").and_then(|p| text(p, "type")) == Some("PathPrefix");
    if matches.len() == 1 && by_prefix(&matches[0]) {
        return;
    }
    for (path, filter) in filters {
        for field in ["requestRedirect", "urlRewrite"] {
            let modifier = filter.get(field).and_then(|f| f.get("path"));
            if modifier.and_then(|m| text(m, "type")) == Some("ReplacePrefixMatch") {
                let message = "ReplacePrefixMatch needs a rule with exactly one match, a PathPrefix";
                problems.push((path.then(field).then("path"), message.to_owned()));
            }
        }
    }
}

fn check_timeouts(timeouts: &Value, path: &Path, problems: &mut Problems) {
    let get = |name: &str| text(timeouts, name).and_then(duration::parse);
    if let (Some(request), Some(backend)) = (get("request"), get("backendRequest"))
        && !request.is_zero()
        && backend > request
    {
        let message = "is longer than timeouts.request, which ends the request first";
        problems.push((path.then("backendRequest"), message.to_owned()));
    }
}
