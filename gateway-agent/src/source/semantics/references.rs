//! Parents and backends of routes of every kind.

use serde_json::Value;

use super::{Problems, items, text};
use crate::yaml::Path;

pub(super) fn route(spec: &Value, problems: &mut Problems) {
    let spec_path = Path::key("spec");
    parents(&items(spec, &spec_path, "parentRefs"), problems);
    let mut names = Vec::new();
    for (path, rule) in items(spec, &spec_path, "rules") {
        if let Some(name) = text(rule, "name") {
            names.push((path.then("name"), format!("name {name:?}")));
        }
        for (path, backend) in items(rule, &path, "backendRefs") {
            port_of_service(backend, &path, problems);
        }
    }
    super::unique(&names, problems);
}

pub(super) fn port_of_service(reference: &Value, path: &Path, problems: &mut Problems) {
    let service = text(reference, "group").unwrap_or_default().is_empty()
        && text(reference, "kind").is_none_or(|kind| kind == "Service");
    if service && reference.get("port").is_none() {
        problems.push((path.then("port"), "is required for a Service".to_owned()));
    }
}

/// Two references to one parent must name different sections or ports of it.
fn parents(parents: &[(Path, &Value)], problems: &mut Problems) {
    let parent =
        |p: &Value| ["group", "kind", "namespace", "name"].map(|f| text(p, f).unwrap_or_default().to_owned());
    let section = |p: &Value| text(p, "sectionName").unwrap_or_default().to_owned();
    let port = |p: &Value| p.get("port").and_then(Value::as_i64).unwrap_or_default();
    for (index, (path, one)) in parents.iter().enumerate() {
        let same = parents[..index].iter().filter(|(_, other)| parent(other) == parent(one));
        for (_, other) in same {
            let (sections, ports) = ((section(one), section(other)), (port(one), port(other)));
            let told_apart_by_section = !sections.0.is_empty() && !sections.1.is_empty();
            let told_apart_by_port = ports.0 != 0 && ports.1 != 0;
            if !told_apart_by_section && !told_apart_by_port {
                let message =
                    "refers to the parent of an earlier one; both need a sectionName, or both a port";
                problems.push((path.clone(), message.to_owned()));
            } else if sections.0 == sections.1 && ports.0 == ports.1 {
                problems.push((path.clone(), "is the same as an earlier one; remove it".to_owned()));
            }
        }
    }
}
