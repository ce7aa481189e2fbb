//! Each link broken in turn: the walk names it, and nothing behind it.

use super::*;

fn healthy() -> Facts {
    Facts {
        vip: "203.0.113.10".parse().unwrap(),
        port: 80,
        proto: Proto::Tcp,
        agent: Ok(Agent { generation: 3, spawns_proxies: true, errors: Vec::new() }),
        holder: Some(Holder { name: "default/web".into(), problem: None }),
        vip_in_kernel: Ok(true),
        route: Ok(Locality::AnyIp),
        device: Ok(Device {
            name: Some("eth0".into()),
            attached: true,
            carrier: true,
            all: vec!["eth0".into()],
            denied: None,
            xdp: false,
        }),
        port_in_kernel: true,
        ports: vec!["80/TCP".into()],
        drops_without_listener: false,
        selected: Ok(Selected::Listener),
        proxy: Ok(Proxy {
            pid: 7,
            generation: 3,
            draining: false,
            problems: Vec::new(),
            queue: Some((0, 4096)),
        }),
        listeners: vec![Listener {
            gateway: "default/web".into(),
            name: "http".into(),
            protocol: "HTTP".into(),
            routes: 1,
            certificates: 0,
        }],
        routing: Routing::Answer {
            host: "a.example".into(),
            path: "/".into(),
            listener: Some("http".into()),
            status: None,
            route: Some("HTTPRoute/default/a".into()),
        },
        backends: vec![target("default/a:80", 1, 1)],
        endpoints: vec![Endpoint {
            backend: "default/a:80".into(),
            address: "10.0.0.1:8080".parse().unwrap(),
            state: "ready".into(),
            reachable: Some(Ok(())),
        }],
        mtu: PathMtu {
            client: Some(("198.51.100.7".parse().unwrap(), 1500)),
            endpoints: vec![("10.0.0.1:8080".parse().unwrap(), 1450)],
            deaf: false,
        },
        system: Vec::new(),
    }
}

fn target(id: &str, weight: u32, endpoints: usize) -> Target {
    Target { id: Some(id.to_owned()).filter(|id| !id.is_empty()), weight, endpoints }
}

fn state_of(facts: &Facts, stage: Stage) -> (State, String) {
    let verdict = walk(facts).into_iter().find(|verdict| verdict.stage == stage).unwrap();
    (verdict.state, verdict.text)
}

/// Not every client is served, and the walk says how many are not.
#[test]
fn backends_that_get_traffic_must_have_endpoints() {
    let mut facts = healthy();
    for (backends, wanted, says) in [
        (vec![target("a", 1, 1), target("b", 3, 0)], State::Warning, "75 % of the traffic"),
        (vec![target("a", 1, 1), target("", 1, 0)], State::Warning, "50 % of the traffic"),
        (vec![target("a", 1, 1), target("b", 0, 0)], State::Ok, "1 of 1 endpoints"),
        (vec![target("a", 0, 1), target("b", 1, 0)], State::Broken, "no endpoint behind b"),
        (vec![target("", 1, 0)], State::Broken, "no endpoint behind a backendRef that does not resolve"),
        (vec![target("a", 1, 0), target("", 1, 0)], State::Broken, "no endpoint behind a, a backendRef"),
    ] {
        facts.backends = backends;
        let (state, text) = state_of(&facts, Stage::Endpoints);
        assert_eq!(state, wanted, "{text}");
        assert!(text.contains(says), "{text}");
    }
}

#[test]
fn a_closed_port_is_silent_where_xdp_runs() {
    let mut facts = healthy();
    facts.port_in_kernel = false;
    assert!(state_of(&facts, Stage::Port).1.contains("refused"));
    facts.device.as_mut().unwrap().xdp = true;
    assert!(state_of(&facts, Stage::Port).1.contains("in silence by XDP"));
}

#[test]
fn what_does_not_fit_is_a_warning() {
    let harms: [fn(&mut Facts); 3] = [
        |f| f.mtu.deaf = true,
        |f| f.mtu.endpoints[0].1 = 552,
        |f| f.mtu.client = Some(("2001:db8::7".parse().unwrap(), 1000)),
    ];
    assert_eq!(state_of(&healthy(), Stage::Mtu).0, State::Ok);
    for harm in harms {
        let mut facts = healthy();
        harm(&mut facts);
        assert_eq!(state_of(&facts, Stage::Mtu).0, State::Warning);
    }
}

#[test]
fn the_system_s_troubles_are_counted() {
    let mut facts = healthy();
    facts.system = vec![("eth0: is down".into(), "up".into()), ("x: y".into(), "z".into())];
    let (state, text) = state_of(&facts, Stage::System);
    assert_eq!((state, text.as_str()), (State::Warning, "eth0: is down; 1 more: `gatectl doctor`"));
}

fn answer(listener: Option<&str>, status: Option<u16>, route: Option<&str>) -> Routing {
    let (listener, route) = (listener.map(str::to_owned), route.map(str::to_owned));
    Routing::Answer { host: "x".into(), path: "/".into(), listener, status, route }
}

fn breaks(stage: Stage, harm: impl FnOnce(&mut Facts)) {
    let mut facts = healthy();
    harm(&mut facts);
    let verdicts = walk(&facts);
    let end = verdicts.last().unwrap();
    assert_eq!((end.stage, end.state), (stage, State::Broken), "{verdicts:#?}");
    assert!(!end.remedy.is_empty());
    assert!(verdicts[..verdicts.len() - 1].iter().all(|verdict| verdict.state != State::Broken));
}

#[test]
fn a_whole_chain_is_walked_to_its_end() {
    let verdicts = walk(&healthy());
    assert_eq!(verdicts.len(), Stage::ALL.len());
    assert!(verdicts.iter().all(|verdict| verdict.state == State::Ok), "{verdicts:#?}");
}

#[test]
fn the_first_broken_link_is_named() {
    breaks(Stage::Address, |f| f.holder = None);
    breaks(Stage::Kernel, |f| f.vip_in_kernel = Ok(false));
    breaks(Stage::Kernel, |f| f.vip_in_kernel = Err("no pins".into()));
    breaks(Stage::Route, |f| f.route = Ok(Locality::None));
    breaks(Stage::Device, |f| f.device.as_mut().unwrap().carrier = false);
    breaks(Stage::Device, |f| f.device.as_mut().unwrap().denied = Some("198.51.100.0/24".into()));
    breaks(Stage::Port, |f| f.port_in_kernel = false);
    breaks(Stage::Socket, |f| f.selected = Ok(Selected::Rejected));
    breaks(Stage::Socket, |f| f.selected = Err("link gone".into()));
    breaks(Stage::Proxy, |f| f.proxy = Err("nothing answers".into()));
    breaks(Stage::Proxy, |f| f.proxy.as_mut().unwrap().draining = true);
    breaks(Stage::Proxy, |f| f.proxy.as_mut().unwrap().queue = Some((4096, 4096)));
    breaks(Stage::Generation, |f| f.proxy.as_mut().unwrap().generation = 2);
    breaks(Stage::Listener, |f| f.listeners.clear());
    breaks(Stage::Listener, |f| f.listeners[0].protocol = "HTTPS".into());
    breaks(Stage::Routing, |f| f.listeners[0].routes = 0);
    breaks(Stage::Routing, |f| {
        f.routing = answer(Some("http"), Some(404), None);
    });
    breaks(Stage::Routing, |f| f.routing = answer(None, None, None));
    breaks(Stage::Routing, |f| f.routing = answer(Some("http"), None, None));
    breaks(Stage::Routing, |f| f.routing = answer(Some("http"), Some(400), None));
    breaks(Stage::Routing, |f| f.routing = answer(Some("http"), Some(500), Some("HTTPRoute/default/a")));
    breaks(Stage::Endpoints, |f| f.backends[0].endpoints = 0);
    breaks(Stage::Routing, |f| f.routing = answer(Some("tcp"), None, None));
    breaks(Stage::Proxy, |f| {
        f.selected = Ok(Selected::Rejected);
        f.proxy = Err("nothing answers".into());
    });
    breaks(Stage::Backend, |f| f.endpoints[0].reachable = Some(Err("refused".into())));
}

#[test]
fn a_dead_agent_is_a_warning_and_the_walk_goes_on() {
    let mut facts = healthy();
    facts.agent = Err(Silence::NotRunning);
    let verdicts = walk(&facts);
    assert_eq!(verdicts.len(), Stage::ALL.len());
    assert_eq!(verdicts[0].state, State::Warning);
    assert!(verdicts.iter().any(|v| v.stage == Stage::Generation && v.state == State::Skipped));
}

/// `sk_lookup` serves what arrives on any device.
#[test]
fn a_device_without_our_program_is_a_warning() {
    let mut facts = healthy();
    facts.device.as_mut().unwrap().attached = false;
    let verdicts = walk(&facts);
    assert_eq!(verdicts.len(), Stage::ALL.len());
    assert!(verdicts.iter().any(|v| v.stage == Stage::Device && v.state == State::Warning));
}

/// Of two listeners that share a port only the one that the host names must have a certificate.
#[test]
fn the_certificate_of_another_listener_is_not_asked_for() {
    let mut facts = healthy();
    facts.listeners[0].protocol = "HTTPS".into();
    facts.listeners[0].certificates = 1;
    let bare = Listener { name: "other".into(), certificates: 0, ..facts.listeners[0].clone() };
    facts.listeners.push(bare);
    assert_eq!(walk(&facts).len(), Stage::ALL.len());
    facts.routing = answer(Some("other"), None, Some("HTTPRoute/default/a"));
    assert_eq!(walk(&facts).last().unwrap().stage, Stage::Listener);
}

#[test]
fn an_address_of_a_device_is_as_local_as_an_anyip_route() {
    let mut facts = healthy();
    facts.route = Ok(Locality::Other);
    assert!(walk(&facts).iter().all(|verdict| verdict.state == State::Ok));
}

#[test]
fn endpoints_that_are_there_are_not_denied() {
    let mut facts = healthy();
    facts.endpoints[0].reachable = None;
    let verdicts = walk(&facts);
    let backend = verdicts.iter().find(|verdict| verdict.stage == Stage::Backend).unwrap();
    assert_eq!(backend.state, State::Skipped);
    assert!(backend.text.contains("UDP"), "{backend:?}");
}

/// Where the agent does not start proxies, nobody is told to have it start one.
#[test]
fn what_replaces_a_proxy_depends_on_who_starts_it() {
    let harms: [fn(&mut Facts); 3] = [
        |f| f.proxy = Err("nothing answers".into()),
        |f| f.proxy.as_mut().unwrap().queue = Some((4096, 4096)),
        |f| f.proxy.as_mut().unwrap().generation = 2,
    ];
    for harm in harms {
        let mut facts = healthy();
        harm(&mut facts);
        assert!(walk(&facts).last().unwrap().remedy.contains("replace-proxy"));
        facts.agent.as_mut().unwrap().spawns_proxies = false;
        let remedy = walk(&facts).last().unwrap().remedy.clone();
        assert!(remedy.contains("--proxy connect") && !remedy.contains("replace-proxy"), "{remedy}");
    }
}

#[test]
fn a_user_without_rights_is_told_so_and_not_to_start_the_agent() {
    let mut facts = healthy();
    facts.agent = Err(Silence::Denied);
    facts.vip_in_kernel = Err("no pins".into());
    let remedy = walk(&facts).last().unwrap().remedy.clone();
    assert!(remedy.contains("root"), "{remedy}");
}

#[test]
fn exit_codes_differ_by_stage() {
    let codes: std::collections::BTreeSet<u8> = Stage::ALL.iter().map(|stage| stage.exit_code()).collect();
    assert_eq!(codes.len(), Stage::ALL.len());
}
