//! Listeners and addresses.

use serde_json::Value;

use super::{Problems, items, text, unique};
use crate::yaml::Path;

pub(super) fn check(spec: &Value, problems: &mut Problems) {
    let mut places = Vec::new();
    for (path, listener) in items(spec, &Path::key("spec"), "listeners") {
        check_listener(listener, &path, problems);
        let hostname =
            text(listener, "hostname").map(|name| format!(" and hostname {name:?}")).unwrap_or_default();
        let port = listener.get("port").and_then(Value::as_i64).unwrap_or_default();
        let protocol = text(listener, "protocol").unwrap_or_default();
        places.push((path, format!("port {port}, protocol {protocol}{hostname}")));
    }
    unique(&places, problems);
    let mut addresses = Vec::new();
    for (path, address) in items(spec, &Path::key("spec"), "addresses") {
        if let Some(value) = text(address, "value").filter(|value| !value.is_empty()) {
            addresses.push((path, format!("{} {value:?}", text(address, "type").unwrap_or("IPAddress"))));
        }
    }
    unique(&addresses, problems);
}

fn check_listener(listener: &Value, path: &Path, problems: &mut Problems) {
    let protocol = text(listener, "protocol").unwrap_or_default();
    let tls = listener.get("tls");
    if tls.is_some() && matches!(protocol, "HTTP" | "TCP" | "UDP") {
        problems.push((path.then("tls"), format!("does not go with protocol {protocol}; use HTTPS or TLS")));
    }
    if text(listener, "hostname").is_some_and(|name| !name.is_empty()) && matches!(protocol, "TCP" | "UDP") {
        let message =
            format!("does not go with protocol {protocol}, whose connections carry no name; remove it");
        problems.push((path.then("hostname"), message));
    }
    if protocol == "TLS" && tls.is_none() {
        problems.push((path.then("tls"), "is required with protocol TLS".to_owned()));
    }
    let Some(tls) = tls else { return };
    let mode = text(tls, "mode").unwrap_or_default();
    if protocol == "HTTPS" && mode == "Passthrough" {
        let message = "must be Terminate with protocol HTTPS; use protocol TLS to pass connections through";
        problems.push((path.then("tls").then("mode"), message.to_owned()));
    }
    let is_empty = |name: &str| match tls.get(name) {
        Some(Value::Array(list)) => list.is_empty(),
        Some(Value::Object(map)) => map.is_empty(),
        Some(Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_)) | None => true,
    };
    if mode == "Terminate" && is_empty("certificateRefs") && is_empty("options") {
        let message = "is required with mode Terminate; name a Secret of type kubernetes.io/tls";
        problems.push((path.then("tls").then("certificateRefs"), message.to_owned()));
    }
}
