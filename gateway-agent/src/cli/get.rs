//! `gatectl get`: objects of the source and their status.

use std::collections::BTreeSet;
use std::process::ExitCode;

use anyhow::bail;
use clap::Args;
use gateway_common::admin::ObjectStatus;
use hyper::Method;
use serde_json::Value;

use super::output::{Format, note, print};
use super::silence::Silence;
use super::{Paths, client};
use crate::object::Kind;
use crate::objects_file;

/// Objects and their status, as `kubectl get` would show them.
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  gatectl get\n  gatectl get gateway web -n default -o yaml\n  gatectl get httproutes"
)]
pub struct Get {
    /// Kind, in any case, singular or plural.
    kind: Option<String>,
    name: Option<String>,
    /// Only this namespace.
    #[arg(short, long)]
    namespace: Option<String>,
}

pub(super) fn run(get: &Get, paths: &Paths, format: Format) -> anyhow::Result<ExitCode> {
    if let Some(kind) =
        get.kind.as_deref().filter(|kind| !Kind::ALL.iter().any(|one| is_kind(one.name(), kind)))
    {
        let known: Vec<_> = Kind::ALL.into_iter().map(Kind::name).collect();
        bail!("there is no kind {kind:?}; there are {}", known.join(", "));
    }
    let mut objects = objects(paths)?;
    let kinds: BTreeSet<String> = objects.iter().map(|object| object.kind.clone()).collect();
    objects.retain(|object| get.wants(object));
    if objects.is_empty() {
        let kinds = kinds.into_iter().collect::<Vec<_>>().join(", ");
        note(format_args!("no such object; the source has objects of these kinds: {kinds}"));
    }
    print(format, &objects, &["KIND", "NAMESPACE", "NAME", "GENERATION", "STATUS", "MESSAGE"], || {
        objects.iter().map(row)
    })?;
    Ok(if objects.is_empty() && get.name.is_some() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// From the agent, or what it left behind.
pub(super) fn objects(paths: &Paths) -> anyhow::Result<Vec<ObjectStatus>> {
    match client::ask::<Vec<ObjectStatus>>(&paths.agent_socket(), &Method::GET, "/objects", Vec::new()) {
        Ok(objects) if objects.is_empty() => Ok(before_the_first_word(paths)),
        Ok(objects) => Ok(objects),
        Err(error) => {
            let file = paths.objects_file();
            if !file.exists() {
                let silence = Silence::of(&error);
                let text = format!("{silence}, and it left no status behind: {}", silence.remedy());
                return Err(error.context(text));
            }
            note(format_args!(
                "note: {}; this is the status it left in {}",
                Silence::of(&error),
                file.display()
            ));
            objects_file::read(&file)
        }
    }
}

/// An agent that has just started says nothing until it knows what is so; what the one before said goes on.
fn before_the_first_word(paths: &Paths) -> Vec<ObjectStatus> {
    let objects = objects_file::read(&paths.objects_file()).unwrap_or_default();
    if !objects.is_empty() {
        note("note: the agent is starting; this is the status that was left");
    }
    objects
}

/// As [`objects`], without a word about where they come from; empty when nobody knows.
pub(super) fn objects_quietly(paths: &Paths) -> Vec<ObjectStatus> {
    client::ask(&paths.agent_socket(), &Method::GET, "/objects", Vec::new())
        .ok()
        .filter(|objects: &Vec<ObjectStatus>| !objects.is_empty())
        .or_else(|| objects_file::read(&paths.objects_file()).ok())
        .unwrap_or_default()
}

/// The first condition that is not as one would wish; None when all are.
pub(super) fn problem(status: &Value) -> Option<String> {
    let (state, message) = summary(status);
    state.contains('=').then(|| format!("{state}: {message}"))
}

/// The Gateway whose status shows this address.
pub(super) fn holder(objects: &[ObjectStatus], address: std::net::IpAddr) -> Option<String> {
    let has = |object: &&ObjectStatus| {
        let addresses = object.status.get("addresses").and_then(Value::as_array);
        let mut values = addresses.into_iter().flatten().filter_map(|entry| entry.get("value")?.as_str());
        object.kind == "Gateway" && values.any(|value| value.parse() == Ok(address))
    };
    objects
        .iter()
        .find(has)
        .map(|gateway| format!("{}/{}", gateway.namespace.as_deref().unwrap_or_default(), gateway.name))
}

impl Get {
    fn wants(&self, object: &ObjectStatus) -> bool {
        let kind = self.kind.as_deref().is_none_or(|kind| is_kind(&object.kind, kind));
        let name = self.name.as_deref().is_none_or(|name| object.name == name);
        let namespace = self.namespace.is_none() || self.namespace == object.namespace;
        kind && name && namespace
    }
}

fn is_kind(kind: &str, wanted: &str) -> bool {
    let kind = kind.to_ascii_lowercase();
    let wanted = wanted.to_ascii_lowercase();
    wanted == kind || wanted == format!("{kind}s") || wanted == format!("{kind}es")
}

fn row(object: &ObjectStatus) -> Vec<String> {
    let (state, message) = summary(&object.status);
    vec![
        object.kind.clone(),
        object.namespace.clone().unwrap_or_else(|| "-".to_owned()),
        object.name.clone(),
        object.generation.to_string(),
        state,
        message,
    ]
}

/// The first condition that is not as one would wish, wherever it stands in the status.
fn summary(status: &Value) -> (String, String) {
    let mut bad = None;
    let mut good = Vec::new();
    walk(status, &mut |condition| {
        let text = |name: &str| condition.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        let (kind, is) = (text("type"), text("status"));
        let wished = if matches!(kind.as_str(), "Conflicted" | "PartiallyInvalid" | "OverlappingTLSConfig") {
            "False"
        } else {
            "True"
        };
        if is == wished {
            if !good.contains(&kind) {
                good.push(kind);
            }
        } else if bad.is_none() {
            bad = Some((format!("{kind}={is} ({})", text("reason")), text("message")));
        }
    });
    bad.unwrap_or_else(|| (if good.is_empty() { "-".to_owned() } else { good.join(",") }, String::new()))
}

fn walk(value: &Value, visit: &mut dyn FnMut(&Value)) {
    match value {
        Value::Object(fields) => {
            if let Some(Value::Array(conditions)) = fields.get("conditions") {
                conditions.iter().for_each(&mut *visit);
            }
            fields.values().for_each(|value| walk(value, visit));
        }
        Value::Array(items) => items.iter().for_each(|value| walk(value, visit)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_summary_shows_what_is_wrong_first() {
        let status = json!({
            "conditions": [{"type": "Accepted", "status": "True", "reason": "Accepted"}],
            "listeners": [{"conditions": [
                {"type": "Conflicted", "status": "False"},
                {"type": "ResolvedRefs", "status": "False", "reason": "InvalidCertificateRef", "message": "no Secret x"},
            ]}],
        });
        let (state, message) = summary(&status);
        assert_eq!(
            (state.as_str(), message.as_str()),
            ("ResolvedRefs=False (InvalidCertificateRef)", "no Secret x")
        );
    }

    #[test]
    fn kinds_are_found_as_kubectl_finds_them() {
        for wanted in ["HTTPRoute", "httproute", "httproutes"] {
            assert!(is_kind("HTTPRoute", wanted));
        }
        assert!(is_kind("GatewayClass", "gatewayclasses"));
        assert!(!is_kind("GatewayClass", "gateway"));
    }
}
