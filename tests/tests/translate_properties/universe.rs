//! A small universe of objects, each in several shapes.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use gatehouse_tests::world::object;
use gateway_agent::object::{Kind, NsName, ObjectKey};
use gateway_agent::translate::Params;
use gateway_agent::world::{Event, World};
use proptest::prelude::*;
use serde_json::{Value, json};

pub(crate) const CONTROLLER: &str = "gatehouse.dev/gateway-controller";

pub(crate) fn params() -> Params {
    Params {
        controller_name: CONTROLLER.to_owned(),
        pools: vec!["192.0.2.0/30".parse().unwrap(), "2001:db8::/64".parse().unwrap()],
        devices: BTreeMap::new(),
        held: BTreeMap::new(),
    }
}

/// One object of a small universe, in one of its shapes; None: it is deleted.
pub(crate) type Step = (usize, usize, Option<usize>);

pub(crate) fn steps(count: usize) -> impl Strategy<Value = Vec<Vec<Step>>> {
    let step = (0..KINDS.len(), 0..4usize, prop::option::weighted(0.8, 0..8usize));
    prop::collection::vec(prop::collection::vec(step, 1..4), 1..count)
}

pub(crate) const KINDS: [Kind; 12] = Kind::ALL;

pub(crate) fn name_of(kind: Kind, number: usize) -> NsName {
    let (namespace, name) = (["a", "b"][number % 2], ["x", "y"][number / 2]);
    match kind {
        Kind::GatewayClass => NsName::new("", name),
        Kind::Namespace => NsName::new("", namespace),
        Kind::GatewayParameters
        | Kind::Gateway
        | Kind::HttpRoute
        | Kind::TlsRoute
        | Kind::TcpRoute
        | Kind::UdpRoute
        | Kind::ReferenceGrant
        | Kind::Service
        | Kind::EndpointSlice
        | Kind::Secret => NsName::new(namespace, name),
    }
}

pub(crate) fn event((kind, name, shape): Step) -> Event {
    let kind = KINDS[kind];
    let NsName { namespace, name } = name_of(kind, name);
    let Some(shape) = shape else {
        return Event::Delete(ObjectKey { kind, name: NsName::new(namespace, name) });
    };
    let mut document = body(kind, &name, shape);
    document["kind"] = json!(kind.name());
    document["metadata"]["name"] = json!(name);
    document["metadata"]["generation"] = json!(shape);
    if !namespace.is_empty() {
        document["metadata"]["namespace"] = json!(namespace);
    }
    Event::Apply(object(&document).unwrap().unwrap())
}

/// Most objects mean nothing without a class and a Gateway of ours.
pub(crate) fn base() -> World {
    let mut world = World::default();
    for kind in [Kind::GatewayClass, Kind::Gateway, Kind::Service] {
        let kind = KINDS.iter().position(|k| *k == kind).unwrap();
        world.apply(event((kind, 0, Some(0))));
    }
    world
}

fn pick<T: Clone>(shape: usize, of: &[T]) -> T {
    of[shape % of.len()].clone()
}

fn body(kind: Kind, name: &str, shape: usize) -> Value {
    match kind {
        Kind::GatewayClass => {
            json!({"spec": {"controllerName": pick(shape, &[CONTROLLER, CONTROLLER, CONTROLLER, "other.test/x"])}})
        }
        Kind::GatewayParameters => json!({"spec": pick(shape, &[
            json!({}), json!({"backends": [{"service": {"name": "x"}, "proxyProtocol": "V1"}]}),
            json!({"timeouts": {"idle": "soon"}}), json!({"noListener": "Drop"})])}),
        Kind::Gateway => gateway(shape),
        Kind::HttpRoute => json!({"spec": {
            "parentRefs": pick(shape, &[json!([{"name": "x"}]), json!([{"name": "x", "namespace": "a"}, {"name": "y", "sectionName": "two"}])]),
            "hostnames": pick(shape / 2, &[json!([]), json!(["a.test"]), json!(["*.test", "b.test"])]),
            "rules": [{
                "matches": [{"path": pick(shape, &[json!({"value": "/"}), json!({"type": "RegularExpression", "value": "("})])}],
                "backendRefs": [{"name": name, "port": pick(shape, &[80, 81]), "namespace": pick(shape / 2, &["a", "b"])}]
            }, {"backendRefs": [{"name": "x", "port": 80}]}]
        }}),
        Kind::TlsRoute => {
            json!({"spec": {"parentRefs": [{"name": "y"}], "hostnames": ["a.test"], "rules": rules(shape)}})
        }
        Kind::TcpRoute | Kind::UdpRoute => json!({
            "metadata": {"creationTimestamp": pick(shape, &["2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"])},
            "spec": {"parentRefs": [{"name": pick(shape, &["x", "y"])}], "rules": rules(shape)}}),
        Kind::ReferenceGrant => json!({"spec": {
            "from": [{"group": "gateway.networking.k8s.io", "kind": pick(shape, &["HTTPRoute", "Gateway"]), "namespace": pick(shape / 2, &["a", "b"])}],
            "to": [{"group": "", "kind": pick(shape, &["Service", "Secret"])}]}}),
        Kind::Namespace => json!({"metadata": {"labels": {"team": pick(shape, &["x", "y"])}}}),
        Kind::Service => json!({"spec": {"ports": pick(shape, &[
            json!([{"port": 80}]), json!([{"name": "a", "port": 80}, {"name": "b", "port": 81, "protocol": "UDP"}])])}}),
        Kind::EndpointSlice => json!({
            "metadata": {"labels": {"kubernetes.io/service-name": pick(shape, &["x", "y"])}},
            "addressType": "IPv4", "ports": [{"port": 8080}, {"name": "b", "port": 8081, "protocol": "UDP"}],
            "endpoints": [{"addresses": [format!("10.0.0.{shape}")]}]}),
        Kind::Secret => {
            json!({"type": "kubernetes.io/tls", "stringData": pick(shape, &[certificate().clone(), certificate().clone(), json!({"tls.crt": "no"})])})
        }
    }
}

fn rules(shape: usize) -> Value {
    json!([{"backendRefs": [{"name": pick(shape, &["x", "y"]), "port": pick(shape / 2, &[80, 81])}]}])
}

fn gateway(shape: usize) -> Value {
    let selector = json!({"namespaces": {"from": "Selector", "selector": {"matchLabels": {"team": "x"}}}});
    json!({
    "metadata": {"creationTimestamp": pick(shape, &["2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"])},
    "spec": {
        "gatewayClassName": "x",
        "infrastructure": pick(shape, &[json!({}), json!({"parametersRef": {"group": "gatehouse.dev", "kind": "GatewayParameters", "name": "y"}})]),
        "addresses": pick(shape / 2, &[json!([]), json!([{"value": "192.0.2.1"}]), json!([{}, {"value": "2001:db8::7"}]), json!([])]),
        "listeners": [
            {"name": "one", "port": 80, "protocol": "HTTP", "hostname": pick(shape, &["a.test", "*.test", "b.test"]), "allowedRoutes": {"namespaces": {"from": "All"}}},
            {"name": "two", "port": pick(shape, &[80, 81, 443]), "protocol": "HTTP", "allowedRoutes": selector},
            {"name": "tls", "port": 443, "protocol": pick(shape / 4, &["HTTPS", "TLS"]), "tls": {
                "mode": pick(shape / 4, &["Terminate", "Passthrough"]), "certificateRefs": [{"name": "x", "namespace": pick(shape / 2, &["a", "b"])}]}},
            {"name": "tcp", "port": pick(shape, &[53, 54]), "protocol": "TCP"},
            {"name": "udp", "port": 53, "protocol": "UDP"},
        ]}})
}

fn certificate() -> &'static Value {
    static PAIR: OnceLock<Value> = OnceLock::new();
    PAIR.get_or_init(|| {
        let key = rcgen::KeyPair::generate().unwrap();
        let chain =
            rcgen::CertificateParams::new(vec!["a.test".to_owned()]).unwrap().self_signed(&key).unwrap();
        json!({"tls.crt": chain.pem(), "tls.key": key.serialize_pem()})
    })
}
