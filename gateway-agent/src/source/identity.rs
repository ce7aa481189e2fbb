//! Which object a document is: its kind of ours, namespace and name.

use crate::object::{Kind, NsName, ObjectKey};
use crate::yaml::{Node, Path};

/// What a document says it is.
pub(super) enum Identity {
    Known(ObjectKey),
    /// A kind that we do not read, as `apps/v1 Deployment`.
    Other(String),
    /// A `List`, whose items are documents.
    List,
}

pub(super) struct Problem {
    /// As far as it could be read.
    pub(super) object: Option<String>,
    /// Known although the document is unusable.
    pub(super) key: Option<ObjectKey>,
    pub(super) path: Path,
    pub(super) message: String,
}

const GATEWAY_API: &str = "gateway.networking.k8s.io";
const GATEWAY_API_VERSIONS: &[&str] = &["v1", "v1beta1", "v1alpha3", "v1alpha2"];

const fn group_versions(kind: Kind) -> (&'static str, &'static [&'static str]) {
    match kind {
        Kind::GatewayClass
        | Kind::Gateway
        | Kind::HttpRoute
        | Kind::TlsRoute
        | Kind::TcpRoute
        | Kind::UdpRoute
        | Kind::ReferenceGrant => (GATEWAY_API, GATEWAY_API_VERSIONS),
        Kind::GatewayParameters => ("gatehouse.dev", &["v1alpha1"]),
        Kind::EndpointSlice => ("discovery.k8s.io", &["v1"]),
        Kind::Namespace | Kind::Service | Kind::Secret => ("", &["v1"]),
    }
}

pub(super) fn identify(node: &Node) -> Result<Identity, Box<Problem>> {
    let top = |field: &str, message: &str| {
        Box::new(Problem { object: None, key: None, path: Path::key(field), message: message.to_owned() })
    };
    let text = |field: &str| node.get(field).and_then(Node::text).filter(|t| !t.is_empty());
    let api_version = text("apiVersion")
        .ok_or_else(|| top("apiVersion", "is missing; every object has one, such as v1"))?;
    let kind =
        text("kind").ok_or_else(|| top("kind", "is missing; every object has one, such as Gateway"))?;
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    if kind.ends_with("List") && node.get("items").is_some() {
        return Ok(Identity::List);
    }
    let known = Kind::ALL.into_iter().find(|k| k.name() == kind && group_versions(*k).0 == group);
    let Some(known) = known else {
        return match mistake(api_version, group, kind) {
            Some((field, message)) => Err(top(field, &message)),
            None => Ok(Identity::Other(format!("{api_version} {kind}"))),
        };
    };
    let key = name(node, known)?;
    let versions = group_versions(known).1;
    if !versions.contains(&version) {
        let message = format!("{api_version} is not supported; use {}", prefixed(group, versions));
        return Err(Box::new(Problem {
            object: Some(key.to_string()),
            key: Some(key),
            path: Path::key("apiVersion"),
            message,
        }));
    }
    Ok(Identity::Known(key))
}

/// Kinds of the groups that we read from, beside those that we read.
fn others(group: &str) -> Option<&'static [&'static str]> {
    match group {
        GATEWAY_API => Some(&["GRPCRoute", "BackendTLSPolicy", "ListenerSet"]),
        "gatehouse.dev" | "discovery.k8s.io" => Some(&[]),
        "" => Some(&[
            "Binding",
            "ComponentStatus",
            "ConfigMap",
            "Endpoints",
            "Event",
            "LimitRange",
            "Node",
            "PersistentVolume",
            "PersistentVolumeClaim",
            "Pod",
            "PodTemplate",
            "ReplicationController",
            "ResourceQuota",
            "ServiceAccount",
        ]),
        _ => None,
    }
}

/// Kinds that no other group has, as far as we know.
const UNMISTAKABLE: [Kind; 6] = [
    Kind::GatewayClass,
    Kind::HttpRoute,
    Kind::TlsRoute,
    Kind::TcpRoute,
    Kind::UdpRoute,
    Kind::ReferenceGrant,
];

/// What is wrong with a kind that we do not read, if it is meant to be one that we do. To ignore it would remove the object
/// that the file had before.
fn mistake(api_version: &str, group: &str, kind: &str) -> Option<(&'static str, String)> {
    let full = |group: &str, version: &str| prefixed(group, &[version]);
    if others(api_version).is_some() && api_version.contains('.') {
        return Some((
            "apiVersion",
            format!("{api_version} is a group without version; write {api_version}/v1"),
        ));
    }
    if let Some(others) = others(group) {
        if others.contains(&kind) {
            return None;
        }
        if let Some(meant) = Kind::ALL.into_iter().find(|one| one.name() == kind) {
            let (group, versions) = group_versions(meant);
            return Some((
                "apiVersion",
                format!("{api_version} has no {kind}; write {}", full(group, versions[0])),
            ));
        }
        let ours = Kind::ALL.into_iter().filter(|one| group_versions(*one).0 == group).map(Kind::name);
        let ours: Vec<_> = ours.collect();
        return Some(("kind", format!("{api_version} has no {kind}; read are {}", ours.join(", "))));
    }
    let meant = UNMISTAKABLE.into_iter().find(|one| one.name() == kind)?;
    let (wanted, versions) = group_versions(meant);
    Some((
        "apiVersion",
        format!("{kind} is of another group than {group}; write {}", full(wanted, versions[0])),
    ))
}

fn prefixed(group: &str, versions: &[&str]) -> String {
    let full = |v: &&str| if group.is_empty() { (*v).to_owned() } else { format!("{group}/{v}") };
    versions.iter().map(full).collect::<Vec<_>>().join(", ")
}

fn name(node: &Node, kind: Kind) -> Result<ObjectKey, Box<Problem>> {
    let metadata = Path::key("metadata");
    let problem = |object: String, field: &str, message: String| {
        Box::new(Problem { object: Some(object), key: None, path: metadata.then(field), message })
    };
    let given = |field: &str| node.get("metadata").and_then(|metadata| metadata.get(field));
    for field in ["name", "namespace"] {
        if given(field).is_some_and(|value| !value.is_null() && value.text().is_none()) {
            let message = "is not text; write it in quotes".to_owned();
            return Err(problem(kind.to_string(), field, message));
        }
    }
    let text = |field: &str| given(field).and_then(Node::text);
    let Some(name) = text("name").filter(|n| !n.is_empty()) else {
        return Err(problem(kind.to_string(), "name", "is missing; every object has a name".to_owned()));
    };
    let namespace = match (kind.namespaced(), text("namespace")) {
        (true, None | Some("")) => "default",
        (true, Some(namespace)) => namespace,
        (false, _) => "",
    };
    let object = format!("{kind} {}", NsName::new(namespace, name));
    let name_is_label = matches!(kind, Kind::Namespace | Kind::Service);
    if !(if name_is_label { is_label(name) } else { is_dns_name(name) }) {
        let what = if name_is_label { "a DNS label (RFC 1123)" } else { "a DNS name (RFC 1123)" };
        return Err(problem(
            object,
            "name",
            format!("{name:?} is not {what}: lower-case letters, digits, '-' and, in names, '.'"),
        ));
    }
    if kind.namespaced() && !is_label(namespace) {
        return Err(problem(object, "namespace", format!("{namespace:?} is not a DNS label (RFC 1123)")));
    }
    Ok(ObjectKey { kind, name: NsName::new(namespace, name) })
}

fn is_label(text: &str) -> bool {
    let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let bytes = text.as_bytes();
    (1..=63).contains(&bytes.len())
        && bytes.iter().all(|b| inner(*b) || *b == b'-')
        && bytes.first().is_some_and(|b| inner(*b))
        && bytes.last().is_some_and(|b| inner(*b))
}

pub(crate) fn is_dns_name(text: &str) -> bool {
    let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let element = |e: &str| {
        let bytes = e.as_bytes();
        bytes.iter().all(|b| inner(*b) || *b == b'-')
            && bytes.first().is_some_and(|b| inner(*b))
            && bytes.last().is_some_and(|b| inner(*b))
    };
    text.len() <= 253 && text.split('.').all(element)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(api_version: &str, kind: &str) -> String {
        let text = format!("apiVersion: {api_version}\nkind: {kind}\nmetadata: {{name: a}}\n");
        match identify(&crate::yaml::read(&text).unwrap()[0]) {
            Ok(Identity::Known(key)) => key.to_string(),
            Ok(Identity::Other(other)) => format!("other {other}"),
            Ok(Identity::List) => "list".to_owned(),
            Err(problem) => format!("{}: {}", problem.path, problem.message),
        }
    }

    #[test]
    fn what_is_meant_for_us_is_never_ignored() {
        for (api_version, kind, wanted) in [
            (
                "gateway.networking.k8s.io/v1",
                "HTTPRuote",
                "kind: gateway.networking.k8s.io/v1 has no HTTPRuote",
            ),
            (
                "gateway.networking.k8s.io",
                "HTTPRoute",
                "apiVersion: gateway.networking.k8s.io is a group without",
            ),
            ("v1", "Gateway", "apiVersion: v1 has no Gateway; write gateway.networking.k8s.io/v1"),
            ("v1", "Servce", "kind: v1 has no Servce; read are"),
            (
                "gateway.networking.k8s.io/v1",
                "Service",
                "apiVersion: gateway.networking.k8s.io/v1 has no Service; write v1",
            ),
            ("gateway.networking.k8s.oi/v1", "HTTPRoute", "apiVersion: HTTPRoute is of another group than"),
            (
                "gatehouse.dev/v1alpha1",
                "GatewayParameter",
                "kind: gatehouse.dev/v1alpha1 has no GatewayParameter",
            ),
            ("discovery.k8s.io/v1", "EndpointSlize", "kind: discovery.k8s.io/v1 has no EndpointSlize"),
        ] {
            let said = said(api_version, kind);
            assert!(said.starts_with(wanted), "{api_version} {kind}: {said}");
        }
    }

    #[test]
    fn what_is_others_is_ignored() {
        for (api_version, kind) in [
            ("apps/v1", "Deployment"),
            ("v1", "ConfigMap"),
            ("gateway.networking.k8s.io/v1", "GRPCRoute"),
            ("networking.istio.io/v1", "Gateway"),
            ("serving.knative.dev/v1", "Service"),
            ("gateway.networking.x-k8s.io/v1alpha1", "XBackend"),
        ] {
            assert_eq!(said(api_version, kind), format!("other {api_version} {kind}"));
        }
    }
}
