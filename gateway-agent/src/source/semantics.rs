//! The rules that the CRDs write in CEL, checked on a spec after its schema. Those about fields that this version does not
//! serve (session persistence, CORS, external authorisation, listener filters) are left to the API server.

mod gateway;
mod http_route;
mod references;

use serde_json::Value;

use crate::object::Kind;
use crate::yaml::Path;

pub(super) type Problems = Vec<(Path, String)>;

pub(super) fn check(kind: Kind, spec: &Value) -> Problems {
    let mut problems = Vec::new();
    match kind {
        Kind::HttpRoute => {
            references::route(spec, &mut problems);
            http_route::check(spec, &mut problems);
        }
        Kind::TlsRoute | Kind::TcpRoute | Kind::UdpRoute => references::route(spec, &mut problems),
        Kind::Gateway => gateway::check(spec, &mut problems),
        Kind::GatewayClass
        | Kind::GatewayParameters
        | Kind::ReferenceGrant
        | Kind::Namespace
        | Kind::Service
        | Kind::EndpointSlice
        | Kind::Secret => {}
    }
    problems
}

/// The items of a list field, with their paths; none if it is absent.
fn items<'a>(value: &'a Value, path: &Path, name: &str) -> Vec<(Path, &'a Value)> {
    let list = value.get(name).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let path = path.then(name);
    list.iter().enumerate().map(|(index, item)| (path.at(index), item)).collect()
}

fn text<'a>(value: &'a Value, name: &str) -> Option<&'a str> {
    value.get(name).and_then(Value::as_str)
}

/// Reports items whose key an earlier item has.
fn unique(items: &[(Path, String)], problems: &mut Problems) {
    for (index, (path, key)) in items.iter().enumerate() {
        if items[..index].iter().any(|(_, earlier)| earlier == key) {
            problems
                .push((path.clone(), format!("has the same {key} as an earlier one; keep one of the two")));
        }
    }
}

#[cfg(test)]
mod tests;
