//! A snapshot does not depend on the way to it, and what did not change stays the same object.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use gateway_common::ir::{
    Attachment, BackendProtocol, BackendRef, Endpoint, EndpointState, Hostname, HttpMatch, HttpRule, L4Rule,
    PathMatch, Problem, Resource, RouteRules, Timeouts,
};
use http::{HeaderMap, Method};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use super::*;
use crate::route;

const GATEWAYS: [&str; 2] = ["default/g", "default/h"];
const HOSTS: [&str; 4] = ["a.example", "b.example", "*.example", "c.test"];
const PATHS: [&str; 3] = ["/", "/x", "/x/y"];
const NAMES: [&str; 3] = ["one", "two", "three"];
const HTTP: u16 = 80;
const HTTPS: u16 = 443;

/// One message of the agent.
#[derive(Clone, Debug)]
enum Step {
    Update(Box<Resource>),
    Remove(Key),
    Commit { full: bool },
}

static PAIRS: LazyLock<[(String, String); 2]> = LazyLock::new(|| {
    [0, 1].map(|_| {
        let pair = rcgen::generate_simple_self_signed(["a.example".to_owned()]).unwrap();
        (pair.cert.pem(), pair.signing_key.serialize_pem())
    })
});

fn certificate(name: &str, pair: usize) -> Resource {
    let broken = || ("nonsense".to_owned(), String::new());
    let (chain, key) = PAIRS.get(pair).cloned().unwrap_or_else(broken);
    let id = CertificateId::new(format!("default/{name}"));
    Resource::Certificate(ir::Certificate { id, chain, key })
}

fn backend(name: &str, port: u16) -> Resource {
    let address = ([127, 0, 0, 1], port).into();
    Resource::Backend(ir::Backend {
        id: BackendId::new(format!("default/{name}:80")),
        protocol: BackendProtocol::Http1,
        endpoints: vec![Endpoint { address, state: EndpointState::Ready }],
        proxy_protocol: None,
    })
}

fn listener(name: &str, hostname: Option<&str>, protocol: ListenerProtocol) -> ir::Listener {
    ir::Listener { name: name.to_owned(), hostname: hostname.map(Hostname::new), protocol }
}

fn gateway(id: &str, hostname: Option<&str>, certificates: &[&str], merge_slashes: bool) -> Resource {
    let ids = certificates.iter().map(|name| CertificateId::new(format!("default/{name}"))).collect();
    let https = ListenerProtocol::Https { certificates: ids };
    let port = |port, protocol, listeners| ir::Port { port, protocol, proxy_protocol: None, listeners };
    let ports = vec![
        port(
            HTTP,
            PortProtocol::Http,
            vec![
                listener("one", None, ListenerProtocol::Http),
                listener("two", hostname, ListenerProtocol::Http),
            ],
        ),
        port(
            HTTPS,
            PortProtocol::Tls,
            vec![
                listener("one", hostname, https),
                listener("two", Some("*.test"), ListenerProtocol::TlsPassthrough),
            ],
        ),
    ];
    let settings = Settings { merge_slashes, ..Settings::default() };
    Resource::Gateway(ir::Gateway { id: GatewayId::new(id), ports, settings })
}

fn attachment(gateway: &str, port: u16, listener: &str, hostnames: &[&str]) -> Attachment {
    let hostnames = hostnames.iter().map(|name| Hostname::new(*name)).collect();
    Attachment { gateway: GatewayId::new(gateway), port, listener: listener.to_owned(), hostnames }
}

fn http_route(name: &str, created: i64, attachments: Vec<Attachment>, paths: &[PathMatch]) -> Resource {
    let of =
        |path: &PathMatch| HttpMatch { path: path.clone(), method: None, headers: vec![], query: vec![] };
    let rules = paths.iter().map(|path| HttpRule {
        name: None,
        matches: vec![of(path)],
        filters: vec![],
        backends: vec![],
        timeouts: Timeouts::default(),
    });
    let id = RouteId::new(format!("HTTPRoute/default/{name}"));
    Resource::Route(ir::Route { id, created, attachments, rules: RouteRules::Http(rules.collect()) })
}

fn tls_route(name: &str, created: i64, attachments: Vec<Attachment>) -> Resource {
    let share = BackendRef { weight: 1, backend: None, filters: vec![] };
    let rules = RouteRules::Tls(L4Rule { backends: vec![share] });
    let id = RouteId::new(format!("TLSRoute/default/{name}"));
    Resource::Route(ir::Route { id, created, attachments, rules })
}

fn attachments() -> impl Strategy<Value = Vec<Attachment>> {
    let one = (select(&GATEWAYS), select(&[HTTP, HTTPS]), select(&["one", "two"]), vec(select(&HOSTS), 0..3));
    vec(one.prop_map(|(gateway, port, listener, hosts)| attachment(gateway, port, listener, &hosts)), 0..3)
}

fn path() -> impl Strategy<Value = PathMatch> {
    prop_oneof![
        select(&PATHS).prop_map(|path| PathMatch::Prefix(path.to_owned())),
        select(&PATHS).prop_map(|path| PathMatch::Exact(path.to_owned())),
        Just(PathMatch::Regex("/x/[a-z]".to_owned())),
        Just(PathMatch::Regex("(".to_owned())),
    ]
}

fn resource() -> impl Strategy<Value = Resource> {
    let hostname = || proptest::option::of(select(&HOSTS));
    prop_oneof![
        2 => (select(&GATEWAYS), hostname(), vec(select(&NAMES), 1..3), any::<bool>())
            .prop_map(|(id, hostname, names, merge)| gateway(id, hostname, &names, merge)),
        4 => (select(&NAMES), 0..3_i64, attachments(), vec(path(), 0..3))
            .prop_map(|(name, created, at, paths)| http_route(name, created, at, &paths)),
        2 => (select(&NAMES), 0..3_i64, attachments())
            .prop_map(|(name, created, at)| tls_route(name, created, at)),
        1 => (select(&NAMES), 1..3_u16).prop_map(|(name, port)| backend(name, port)),
        1 => (select(&NAMES), 0..3_usize).prop_map(|(name, pair)| certificate(name, pair)),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => resource().prop_map(|resource| Step::Update(Box::new(resource))),
        2 => resource().prop_map(|resource| Step::Remove(resource.key())),
        3 => proptest::bool::weighted(0.2).prop_map(|full| Step::Commit { full }),
    ]
}

/// Everything that a request or connection could find out about a snapshot.
fn behaviour(snapshot: &Snapshot, problems: &[Problem]) -> Vec<String> {
    let mut seen = vec![format!("{problems:?}")];
    seen.extend(snapshot.routes.values().map(|route| format!("{:?}", route.ir)));
    let mut backends: Vec<_> =
        snapshot.backends.values().map(|backend| format!("{:?}", backend.ir)).collect();
    backends.sort();
    seen.extend(backends);
    for certificate in snapshot.certificates.values() {
        let key = certificate.key.as_ref().map(|key| key.cert.clone());
        seen.push(format!("{} {key:?}", certificate.ir.id));
    }
    for gateway in snapshot.gateways.values() {
        seen.push(format!("{:?} {:?} {:?}", gateway.ir, gateway.settings, gateway.path_policy.merge_slashes));
        for port in &gateway.ports {
            see_port(port, &mut seen);
        }
    }
    seen
}

fn see_port(port: &Port, seen: &mut Vec<String>) {
    let (method, headers) = (Method::GET, HeaderMap::new());
    seen.push(format!("{:?} {:?}", port.ir, port.tls.as_ref().map(|server| &server.config.cert_resolver)));
    for host in ["a.example", "b.example", "z.example", "c.test", "else"] {
        let listener = port.listener_for(host).map(|listener| listener.name.clone());
        seen.push(format!("{host} {listener:?}"));
        for listener in &port.listeners {
            let to = port.l4.by_sni(&listener.name, host);
            seen.push(format!("{} {:?} {:?}", listener.name, to, port.l4.any()));
            for path in PATHS.into_iter().chain(["/x/z", "/elsewhere"]) {
                let request =
                    route::Request { authority: host, method: &method, path, query: None, headers: &headers };
                let found = listener.router.find(&request);
                let found = found.map(|found| (found.route(), found.rule.index, found.match_index));
                seen.push(format!("{} {host}{path} {found:?}", listener.name));
            }
        }
    }
}

/// All of `resources` on nothing.
fn from_scratch(resources: impl Iterator<Item = Resource>, metrics: &Arc<Metrics>) -> Vec<String> {
    let mut pending = Pending::default();
    pending.update(resources.collect(), Vec::new());
    let applied = pending.commit(&Snapshot::empty(metrics.clone()), 1, true);
    behaviour(&applied.snapshot, &applied.problems)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn the_way_to_a_snapshot_does_not_matter(steps in vec(step(), 1..40)) {
        let metrics = Arc::new(Metrics::new(1));
        let mut held = Snapshot::empty(metrics.clone());
        let mut pending = Pending::default();
        let mut wanted: BTreeMap<Key, Resource> = BTreeMap::new();
        let mut waiting: BTreeMap<Key, Option<Resource>> = BTreeMap::new();
        for step in steps.into_iter().chain([Step::Commit { full: false }]) {
            match step {
                Step::Update(resource) => {
                    waiting.insert(resource.key(), Some((*resource).clone()));
                    pending.update(vec![*resource], Vec::new());
                }
                Step::Remove(key) => {
                    waiting.insert(key.clone(), None);
                    pending.update(Vec::new(), vec![key]);
                }
                Step::Commit { full } => {
                    if full {
                        wanted.clear();
                    }
                    for (key, change) in std::mem::take(&mut waiting) {
                        match change {
                            Some(resource) => drop(wanted.insert(key, resource)),
                            None => drop(wanted.remove(&key)),
                        }
                    }
                    let applied = std::mem::take(&mut pending).commit(&held, held.generation + 1, full);
                    let seen = behaviour(&applied.snapshot, &applied.problems);
                    prop_assert_eq!(seen, from_scratch(wanted.values().cloned(), &metrics));
                    held = applied.snapshot;
                }
            }
        }
    }
}

fn everything() -> Vec<Resource> {
    vec![
        gateway("default/g", Some("a.example"), &["one"], true),
        gateway("default/h", Some("a.example"), &["two"], true),
        http_route(
            "one",
            0,
            vec![attachment("default/g", HTTP, "one", &[])],
            &[PathMatch::Prefix("/".to_owned())],
        ),
        tls_route("one", 0, vec![attachment("default/g", HTTPS, "two", &["c.test"])]),
        backend("one", 1),
        backend("two", 1),
        certificate("one", 0),
        certificate("two", 1),
        certificate("three", 2),
    ]
}

fn commit(held: &Snapshot, upsert: Vec<Resource>, remove: Vec<Key>, full: bool) -> Snapshot {
    let mut pending = Pending::default();
    pending.update(upsert, remove);
    pending.commit(held, held.generation + 1, full).snapshot
}

/// What of `a` is the same object in `b`.
fn shared(a: &Snapshot, b: &Snapshot) -> BTreeMap<String, bool> {
    let mut same = BTreeMap::new();
    for (id, route) in &a.routes {
        same.insert(id.to_string(), b.routes.get(id).is_some_and(|other| Arc::ptr_eq(route, other)));
    }
    for (id, backend) in &a.backends {
        same.insert(id.to_string(), b.backend(id).is_some_and(|other| Arc::ptr_eq(backend, other)));
    }
    for (id, certificate) in &a.certificates {
        let other = b.certificates.get(id);
        same.insert(format!("cert {id}"), other.is_some_and(|other| Arc::ptr_eq(certificate, other)));
    }
    for (id, gateway) in &a.gateways {
        let other = b.gateway(id);
        same.insert(id.to_string(), other.is_some_and(|other| Arc::ptr_eq(gateway, other)));
        for port in &gateway.ports {
            let other = other.and_then(|other| other.stream_port(port.number));
            let is_same = other.is_some_and(|other| Arc::ptr_eq(port, other));
            same.insert(format!("{id} {}", port.number), is_same);
            if let Some(tls) = &port.tls {
                let is_same =
                    other.and_then(|other| other.tls.as_ref()).is_some_and(|new| Arc::ptr_eq(tls, new));
                same.insert(format!("{id} tls"), is_same);
            }
        }
    }
    same
}

fn changed(a: &Snapshot, b: &Snapshot) -> Vec<String> {
    shared(a, b).into_iter().filter(|(_, same)| !same).map(|(name, _)| name).collect()
}

#[test]
fn a_full_resend_of_the_same_changes_no_object() {
    let first = commit(&Snapshot::empty(Arc::new(Metrics::new(1))), everything(), Vec::new(), true);
    let mut pending = Pending::default();
    pending.update(everything(), Vec::new());
    let again = pending.commit(&first, 2, true);
    assert_eq!(changed(&first, &again.snapshot), Vec::<String>::new());
    let problems: Vec<_> = again.problems.iter().map(|problem| &problem.key).collect();
    assert_eq!(problems, [&certificate("three", 2).key()], "a problem lasts as long as its cause");
}

#[test]
fn a_change_is_new_objects_for_what_depends_on_it_alone() {
    let first = commit(&Snapshot::empty(Arc::new(Metrics::new(1))), everything(), Vec::new(), true);
    let after = |resource| changed(&first, &commit(&first, vec![resource], Vec::new(), false));
    assert_eq!(after(backend("two", 2)), ["default/two:80"]);
    assert_eq!(
        after(certificate("two", 0)),
        ["cert default/two", "default/h", "default/h 443", "default/h tls"]
    );
    let moved = http_route(
        "one",
        0,
        vec![attachment("default/h", HTTP, "one", &[])],
        &[PathMatch::Prefix("/".to_owned())],
    );
    assert_eq!(
        after(moved),
        ["HTTPRoute/default/one", "default/g", "default/g 80", "default/h", "default/h 80"]
    );
    let settings = gateway("default/g", Some("a.example"), &["one"], false);
    assert_eq!(after(settings), ["default/g"]);
}

#[test]
fn what_is_removed_is_gone() {
    let first = commit(&Snapshot::empty(Arc::new(Metrics::new(1))), everything(), Vec::new(), true);
    let keys: Vec<_> = everything().iter().map(Resource::key).collect();
    for next in [commit(&first, Vec::new(), keys, false), commit(&first, Vec::new(), Vec::new(), true)] {
        let held = [next.gateways.len(), next.routes.len(), next.backends.len(), next.certificates.len()];
        assert_eq!((held, next.problems.len()), ([0; 4], 0));
    }
    let route = everything().into_iter().filter(|resource| !matches!(resource, Resource::Route(_)));
    let without = commit(&first, route.collect(), Vec::new(), true);
    let port = without.gateway(&GatewayId::new("default/g")).unwrap().stream_port(HTTP).unwrap();
    assert!(port.listeners.iter().all(|listener| listener.router.is_empty()));
    assert_eq!(changed(&first, &without).len(), 5, "{:?}", changed(&first, &without));
}
