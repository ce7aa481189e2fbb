//! A change costs what depends on it, however much else there is.

use std::collections::BTreeSet;
use std::time::Instant;

use gatehouse_tests::world::object;
use gateway_agent::admin::View;
use gateway_agent::desired::{Outcomes, Proxy};
use gateway_agent::object::{Kind, NsName, ObjectKey};
use gateway_agent::objects_file::{self, Objects, ObjectsFile};
use gateway_agent::reconcile::{Facts, News, Publisher, Work};
use gateway_agent::source::Origins;
use gateway_agent::translate::{Change, Params, Translator};
use gateway_agent::world::{Event, World};
use gateway_common::admin::AgentStatus;
use gateway_common::ir::{BackendId, Key, RouteId};
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::universe::{CONTROLLER, params};

const ROUTES: usize = 5_000;
/// A class and a Gateway; each route has a Service and an EndpointSlice of its own.
const OBJECTS: usize = 2 + 3 * ROUTES;

fn class() -> Value {
    json!({"kind": "GatewayClass", "metadata": {"name": "gatehouse"}, "spec": {"controllerName": CONTROLLER}})
}

fn gateway() -> Value {
    json!({"kind": "Gateway", "metadata": {"namespace": "a", "name": "gw"}, "spec": {
        "gatewayClassName": "gatehouse", "listeners": [{"name": "http", "port": 80, "protocol": "HTTP"}]}})
}

fn route(number: usize, path: &str) -> Value {
    let name = format!("r{number}");
    let rule = json!({"matches": [{"path": {"value": path}}], "backendRefs": [{"name": format!("s{number}"), "port": 80}]});
    json!({"kind": "HTTPRoute", "metadata": {"namespace": "a", "name": name}, "spec": {
        "parentRefs": [{"name": "gw"}], "hostnames": [format!("h{number}.test")], "rules": [rule]}})
}

fn service(number: usize) -> Value {
    json!({"kind": "Service", "metadata": {"namespace": "a", "name": format!("s{number}")}, "spec": {"ports": [{"port": 80}]}})
}

fn slice(number: usize, address: &str) -> Value {
    let name = format!("s{number}");
    json!({"kind": "EndpointSlice", "addressType": "IPv4", "ports": [{"port": 8080}], "endpoints": [{"addresses": [address]}],
        "metadata": {"namespace": "a", "name": name, "labels": {"kubernetes.io/service-name": name}}})
}

/// Everything between the source and the edges.
struct Agent {
    world: World,
    params: Params,
    translator: Translator,
    publisher: Publisher,
    outcomes: Outcomes,
    folder: tempfile::TempDir,
}

impl Agent {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let status = AgentStatus {
            pid: 0,
            version: String::new(),
            uptime_seconds: 0,
            node: String::new(),
            source: String::new(),
            generation: 0,
            proxies: Vec::new(),
            spawns_proxies: true,
            devices: Vec::new(),
            exclude_devices: Vec::new(),
            source_errors: Vec::new(),
            errors: Vec::new(),
        };
        let publisher = Publisher {
            origins: Origins::default(),
            objects_file: ObjectsFile::new(folder.path().join(objects_file::NAME)),
            status_dir: None,
            view: watch::channel(View { status, objects: Objects::new() }).0,
            started: Instant::now(),
            news: News::default(),
        };
        let outcomes = Outcomes { proxy: Proxy::Serving, ..Outcomes::default() };
        let (world, translator) = (World::default(), Translator::default());
        Self { world, params: params(), translator, publisher, outcomes, folder }
    }

    fn apply(&mut self, documents: impl IntoIterator<Item = Value>) -> (Change, Work) {
        let events = documents.into_iter().map(|document| Event::Apply(object(&document).unwrap().unwrap()));
        let changed: BTreeSet<_> = events.filter_map(|event| self.world.apply(event)).collect();
        self.reconcile(&changed)
    }

    fn reconcile(&mut self, changed: &BTreeSet<ObjectKey>) -> (Change, Work) {
        let change = self.translator.update(&self.world, &self.params, changed);
        self.params.held = self.translator.held();
        self.publisher.note(changed.clone());
        self.publisher.note(change.verdicts.clone());
        (change, self.publish())
    }

    fn publish(&mut self) -> Work {
        let facts = Facts {
            verdicts: self.translator.verdicts(),
            outcomes: &self.outcomes,
            generation: 1,
            proxies: Vec::new(),
            source_errors: &[],
            errors: Vec::new(),
        };
        self.publisher.publish(&mut self.world, facts)
    }
}

fn key(key: Key) -> Vec<Key> {
    vec![key]
}

#[test]
fn one_change_among_five_thousand_routes_is_one() {
    let mut agent = Agent::new();
    let routes = (0..ROUTES).flat_map(|n| [route(n, "/"), service(n), slice(n, "10.0.0.1")]);
    let (change, work) = agent.apply([class(), gateway()].into_iter().chain(routes));
    assert_eq!((change.work, change.upsert.len()), (2 * ROUTES + 1, 2 * ROUTES + 1));
    assert_eq!(work, Work { statuses: ROUTES + 2, shown: OBJECTS, lines: OBJECTS });
    let told = |change: &Change| change.upsert.iter().map(|resource| resource.key()).collect::<Vec<_>>();

    // A rule: the route. Its status says the same, nothing else is looked at.
    let (change, work) = agent.apply([route(7, "/new")]);
    assert_eq!((change.work, told(&change)), (1, key(Key::Route(RouteId::new("HTTPRoute/a/r7")))));
    assert_eq!(work, Work { statuses: 1, shown: 1, lines: 0 });
    // An endpoint: the backend.
    let (change, work) = agent.apply([slice(9, "10.0.0.2")]);
    assert_eq!((change.work, told(&change)), (1, key(Key::Backend(BackendId::new("a/s9:80")))));
    assert_eq!(work, Work { statuses: 0, shown: 1, lines: 0 });
    // A route that breaks and is attached no more: its status, the listener's count, the backend that nobody uses.
    let (change, work) = agent.apply([route(8, "no path")]);
    assert_eq!((change.work, work), (2, Work { statuses: 2, shown: 2, lines: 2 }));
    // A route that goes: the same.
    let gone = ObjectKey { kind: Kind::HttpRoute, name: NsName::new("a", "r3") };
    agent.world.apply(Event::Delete(gone.clone()));
    let (change, work) = agent.reconcile(&BTreeSet::from([gone]));
    assert_eq!((change.work, work), (2, Work { statuses: 2, shown: 2, lines: 2 }));
    // What the proxy says of one route.
    let problem = (Key::Route(RouteId::new("HTTPRoute/a/r5")), "too large".to_owned());
    agent.outcomes.proxy_problems.extend([problem]);
    assert_eq!(agent.publish(), Work { statuses: 1, shown: 1, lines: 1 });
    assert_eq!(agent.publish(), Work::default());

    let left = objects_file::read(&agent.folder.path().join(objects_file::NAME)).unwrap();
    assert_eq!(left.len(), OBJECTS - 1);
}

/// What was said of an object while it was ours is not left standing.
#[test]
fn what_is_ours_no_more_has_no_status() {
    let mut agent = Agent::new();
    let shown = |agent: &Agent| {
        let view = agent.publisher.view.borrow();
        let mine =
            |kind| view.objects.iter().find(|(key, _)| key.kind == kind).map(|(_, it)| !it.status.is_null());
        [Kind::GatewayClass, Kind::Gateway].map(mine)
    };
    agent.apply([class(), gateway()]);
    assert_eq!(shown(&agent), [Some(true); 2]);
    let mut foreign = gateway();
    foreign["spec"]["gatewayClassName"] = json!("gatehose");
    agent.apply([foreign]);
    assert_eq!(shown(&agent), [Some(true), Some(false)]);
    agent.apply([gateway()]);
    assert_eq!(shown(&agent), [Some(true); 2]);
    let mut foreign = class();
    foreign["spec"]["controllerName"] = json!("other.test/controller");
    agent.apply([foreign]);
    assert_eq!(shown(&agent), [Some(false); 2]);
}
