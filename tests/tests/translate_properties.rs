//! What must hold for every world: a translation kept up to date is the one made anew, order means nothing, addresses
//! stay, written statuses are left alone, and a change costs what depends on it.
#![expect(clippy::unwrap_used, reason = "a test that cannot set itself up fails")]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::OnceLock;

use gatehouse_tests::world::{object, read};
use gateway_agent::desired::Outcomes;
use gateway_agent::object::{Kind, NsName, ObjectKey};
use gateway_agent::translate::{Params, Translation, Translator, status, translate};
use gateway_agent::world::{Event, World};
use gateway_common::ir::Key;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use proptest::prelude::*;
use serde_json::{Value, json};

const CONTROLLER: &str = "gatehouse.dev/gateway-controller";

fn params() -> Params {
    Params {
        controller_name: CONTROLLER.to_owned(),
        pools: vec!["192.0.2.0/30".parse().unwrap(), "2001:db8::/64".parse().unwrap()],
        held: BTreeMap::new(),
    }
}

/// One object of a small universe, in one of its shapes; None: it is deleted.
type Step = (usize, usize, Option<usize>);

fn steps(count: usize) -> impl Strategy<Value = Vec<Vec<Step>>> {
    let step = (0..KINDS.len(), 0..4usize, prop::option::weighted(0.8, 0..8usize));
    prop::collection::vec(prop::collection::vec(step, 1..4), 1..count)
}

const KINDS: [Kind; 12] = Kind::ALL;

fn name_of(kind: Kind, number: usize) -> NsName {
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

fn event((kind, name, shape): Step) -> Event {
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
fn base() -> World {
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

fn kept(translator: &Translator) -> Translation {
    Translation {
        resources: translator.resources().clone(),
        datapath: translator.datapath().clone(),
        held: translator.held(),
        verdicts: translator.verdicts().clone(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    /// Also: the changes that are told are all changes that there are, and nothing is told twice.
    #[test]
    fn kept_up_to_date_is_made_anew(batches in steps(24)) {
        let (mut world, mut params, mut translator) = (base(), params(), Translator::default());
        translator.update(&world, &params, &world.keys());
        let mut mirror = translator.resources().clone();
        for batch in batches {
            let changed: BTreeSet<_> = batch.into_iter().filter_map(|step| world.apply(event(step))).collect();
            let before = kept(&translator);
            let change = translator.update(&world, &params, &changed);
            let after = kept(&translator);
            prop_assert_eq!(&after, &translate(&world, &params));
            for resource in change.upsert {
                prop_assert!(mirror.insert(resource.key(), resource.clone()) != Some(resource));
            }
            for key in &change.remove {
                prop_assert!(mirror.remove(key).is_some());
            }
            prop_assert_eq!(&mirror, &after.resources);
            prop_assert_eq!(change.datapath, before.datapath != after.datapath);
            let told = |key: &ObjectKey| change.verdicts.contains(key);
            for (name, verdict) in &after.verdicts.gateways {
                let key = ObjectKey { kind: Kind::Gateway, name: name.clone() };
                prop_assert_eq!(told(&key), before.verdicts.gateways.get(name) != Some(verdict));
            }
            for (key, verdict) in &after.verdicts.routes {
                prop_assert_eq!(told(key), before.verdicts.routes.get(key) != Some(verdict));
            }
            params.held = after.held;
            let again = translator.update(&world, &params, &changed);
            prop_assert!(again.is_empty(), "{:?}", again);
        }
    }

    #[test]
    fn order_means_nothing(batches in steps(24), seed in any::<u64>()) {
        let mut last = BTreeMap::new();
        for step in batches.into_iter().flatten() {
            last.insert((step.0, name_of(KINDS[step.0], step.1)), step);
        }
        let mut steps: Vec<_> = last.into_values().collect();
        let mut forward = base();
        steps.iter().for_each(|step| { forward.apply(event(*step)); });
        steps.sort_by_key(|step| (step.0 as u64 * 7 + step.1 as u64 * 13).wrapping_mul(seed | 1));
        let (mut world, params, mut translator) = (base(), params(), Translator::default());
        translator.update(&world, &params, &world.keys());
        for step in steps {
            let changed = world.apply(event(step)).into_iter().collect();
            translator.update(&world, &params, &changed);
        }
        prop_assert_eq!(kept(&translator), translate(&forward, &params));
    }

    /// A Gateway without a word about addresses keeps the ones it has while it is there.
    #[test]
    fn addresses_are_never_taken_away(batches in steps(16), pools in 0..3usize) {
        let (mut world, mut params) = (base(), params());
        for (index, batch) in batches.into_iter().enumerate() {
            if index % 3 == pools {
                params.pools.rotate_left(1);
                params.pools.truncate(1 + index % 2);
            }
            batch.into_iter().for_each(|step| { world.apply(event(step)); });
            let got = translate(&world, &params).held;
            for (id, before) in &params.held {
                let asks = world.gateways.iter().find(|(name, _)| name.to_string() == id.as_str());
                let default = asks.is_some_and(|(_, g)| g.spec.addresses.as_ref().is_none_or(Vec::is_empty));
                if let (true, Some(after)) = (default, got.get(id)) {
                    for v4 in [true, false] {
                        let first = |list: &[std::net::IpAddr]| list.iter().find(|a| a.is_ipv4() == v4).copied();
                        prop_assert!(first(before).is_none() || first(before) == first(after), "{} {:?} {:?}", id, before, after);
                    }
                }
            }
            prop_assert_eq!(&translate(&world, &Params { held: got.clone(), ..params.clone() }).held, &got);
            params.held = got;
        }
    }

    /// A status that has been written is right until something changes, and writing it changes no translation.
    #[test]
    fn written_statuses_are_left_alone(batches in steps(16)) {
        let (mut world, params, mut translator) = (base(), params(), Translator::default());
        batches.into_iter().flatten().for_each(|step| { world.apply(event(step)); });
        translator.update(&world, &params, &world.keys());
        let now: Time = serde_json::from_value(json!("2026-01-01T00:00:00Z")).unwrap();
        let later: Time = serde_json::from_value(json!("2026-01-02T00:00:00Z")).unwrap();
        let outcomes = Outcomes { proxy: Some(1), ..Outcomes::default() };
        let statuses = status(&world, translator.verdicts(), &outcomes, &now);
        let mut changed = BTreeSet::new();
        for (key, value) in statuses {
            let mut document = document(&world, &key);
            document["kind"] = json!(key.kind.name());
            document["status"] = value;
            changed.extend(world.apply(Event::Apply(object(&document).unwrap().unwrap())));
        }
        prop_assert_eq!(status(&world, translator.verdicts(), &outcomes, &later), BTreeMap::new());
        let change = translator.update(&world, &Params { held: translator.held(), ..params }, &changed);
        prop_assert!(change.is_empty() && change.work == 0, "{:?}", change);
    }
}

fn document(world: &World, key: &ObjectKey) -> Value {
    let name = &key.name;
    match key.kind {
        Kind::GatewayClass => serde_json::to_value(&*world.gateway_classes[name]),
        Kind::Gateway => serde_json::to_value(&*world.gateways[name]),
        Kind::HttpRoute => serde_json::to_value(&*world.http_routes[name]),
        Kind::TlsRoute => serde_json::to_value(&*world.tls_routes[name]),
        Kind::TcpRoute => serde_json::to_value(&*world.tcp_routes[name]),
        Kind::UdpRoute => serde_json::to_value(&*world.udp_routes[name]),
        Kind::GatewayParameters
        | Kind::ReferenceGrant
        | Kind::Namespace
        | Kind::Service
        | Kind::EndpointSlice
        | Kind::Secret => unreachable!("{key} has no status of ours"),
    }
    .unwrap()
}

/// Many routes at one Gateway, each with a Service of its own.
fn big_world(routes: usize) -> World {
    let mut text = format!(
        "kind: GatewayClass\nmetadata: {{name: gatehouse}}\nspec: {{controllerName: {CONTROLLER}}}\n---\n\
         kind: Gateway\nmetadata: {{namespace: a, name: gw}}\nspec:\n  gatewayClassName: gatehouse\n  \
         listeners: [{{name: http, port: 80, protocol: HTTP}}]\n"
    );
    for number in 0..routes {
        text.push_str(&route(number, "/"));
        text.push_str(&format!(
            "---\nkind: Service\nmetadata: {{namespace: a, name: s{number}}}\nspec: {{ports: [{{port: 80}}]}}\n{}",
            slice(number, "10.0.0.1")
        ));
    }
    read(&text).unwrap().0
}

fn route(number: usize, path: &str) -> String {
    format!(
        "---\nkind: HTTPRoute\nmetadata: {{namespace: a, name: r{number}}}\nspec:\n  parentRefs: [{{name: gw}}]\n  \
         hostnames: [h{number}.test]\n  rules: [{{matches: [{{path: {{value: {path}}}}}], backendRefs: [{{name: s{number}, port: 80}}]}}]\n"
    )
}

fn slice(number: usize, address: &str) -> String {
    format!(
        "---\nkind: EndpointSlice\nmetadata: {{namespace: a, name: s{number}, labels: {{kubernetes.io/service-name: s{number}}}}}\n\
         addressType: IPv4\nports: [{{port: 8080}}]\nendpoints: [{{addresses: [{address}]}}]\n"
    )
}

#[test]
fn a_change_costs_what_depends_on_it() {
    let mut world = big_world(300);
    let mut params = params();
    let mut translator = Translator::default();
    let first = translator.update(&world, &params, &world.keys());
    assert_eq!((first.work, first.upsert.len()), (601, 601));
    params.held = translator.held();

    let mut change =
        |text: &str| {
            let (part, _) = read(text).unwrap();
            let mut changed = BTreeSet::new();
            for (_, object) in part.http_routes {
                changed.extend(world.apply(Event::Apply(gateway_agent::object::Object::HttpRoute(
                    Box::new((*object).clone()),
                ))));
            }
            for (_, object) in part.endpoint_slices {
                changed.extend(world.apply(Event::Apply(gateway_agent::object::Object::EndpointSlice(
                    Box::new((*object).clone()),
                ))));
            }
            let change = translator.update(&world, &params, &changed);
            let keys: Vec<String> = change.upsert.iter().map(|r| format!("{:?}", r.key())).collect();
            (change.work, keys, change.remove, change.datapath, change.verdicts.len())
        };
    let key = |key: Key| vec![format!("{key:?}")];
    let want = key(Key::Route(gateway_common::ir::RouteId::new("HTTPRoute/a/r7")));
    assert_eq!(change(&route(7, "/new")), (1, want, vec![], false, 0));
    let want = key(Key::Backend(gateway_common::ir::BackendId::new("a/s9:80")));
    assert_eq!(change(&slice(9, "10.0.0.2")), (1, want, vec![], false, 0));
}
