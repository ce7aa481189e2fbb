//! What the commands show of a node that is well.

use std::net::{SocketAddr, TcpStream};
use std::process::Stdio;

use gatehouse_tests::backend::TCP;
use gatehouse_tests::topology::pod_v4;
use gateway_common::abi::names::PINNED_MAPS;
use gateway_common::admin::{
    BackendStatus, Connection, ListenerStatus, ObjectStatus, RouteAnswer, RouteStatus,
};
use serde_json::Value;

use crate::scene::{EMPTY, GATEWAY, HOST, Held, Place, Scene};

#[test]
fn everything_is_shown() {
    let place = Place::new();
    let scene = place.serve();
    kernel(&scene);
    drops(&scene);
    proxy(&scene);
    connections(&scene);
    objects(&scene);
    route_test(&scene);
    doctor(&scene);
    closed_pipe(&scene);
    for shell in ["bash", "zsh", "fish"] {
        let script = scene.gatectl(&["completion", shell]);
        assert!(script.contains("replace-proxy"), "{shell}: {script}");
    }
}

fn json(scene: &Scene<'_>, arguments: &[&str]) -> Vec<Value> {
    scene.node.gatectl_json(arguments).unwrap()
}

fn find(list: &[Value], wanted: impl Fn(&Value) -> bool) -> &Value {
    list.iter().find(|value| wanted(value)).unwrap_or_else(|| panic!("not in {list:#?}"))
}

fn kernel(scene: &Scene<'_>) {
    let vips = json(scene, &["vip", "list"]);
    for address in [scene.v4, scene.v6] {
        let vip = find(&vips, |vip| vip["address"] == address.to_string());
        assert_eq!(vip["holder"], GATEWAY);
        let ports = vip["ports"].as_array().unwrap();
        for (port, protocol) in [(80, "TCP"), (9000, "TCP"), (9001, "UDP")] {
            find(ports, |entry| entry["port"] == port && entry["protocol"] == protocol);
        }
    }
    let web = find(&vips, |vip| vip["address"] == scene.v4.to_string());
    let web = find(web["ports"].as_array().unwrap(), |entry| entry["port"] == 80);
    assert!(web["packets"].as_u64().unwrap() > 0, "the scene's own request is counted: {web}");
    assert!(scene.gatectl(&["vip", "list"]).contains(GATEWAY));

    for name in PINNED_MAPS {
        let entries = json(scene, &["map", "dump", name]);
        assert_eq!(entries.is_empty(), name == "DENY", "{name}: {entries:?}");
        scene.gatectl(&["map", "dump", &name.to_lowercase(), "-o", "yaml"]);
    }
    let ports = json(scene, &["map", "dump", "PORTS"]);
    find(&ports, |entry| entry["key"] == format!("{}/TCP", scene.at(80)));
    find(&ports, |entry| entry["key"] == format!("{}/UDP", scene.at_v6(9001)));
    assert_eq!(scene.ends(&["map", "dump", "NOTHING"]).0, 2);

    let programs = json(scene, &["prog", "list"]);
    let ingress = find(&programs, |program| program["device"] == "eth0" && program["ours"] == true);
    assert_eq!((&ingress["hook"], &ingress["position"]), (&"tcx ingress".into(), &serde_json::json!([1, 1])));
    let lookup = find(&programs, |program| program["hook"] == "sk_lookup" && program["ours"] == true);
    assert_eq!(lookup["position"], serde_json::json!([1, 1]));
    assert!(scene.gatectl(&["prog", "list"]).contains("sk_lookup"));
}

fn drops(scene: &Scene<'_>) {
    let rejected = || {
        let drops = json(scene, &["drops", "--all"]);
        find(&drops, |drop| drop["reason"] == "no_listener_reject")["count"].as_u64().unwrap()
    };
    let before = rejected();
    let nowhere = SocketAddr::new(scene.v4, 4444);
    let refused = scene.place.topology.client.run(|| TcpStream::connect(nowhere)).unwrap_err();
    assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
    assert!(rejected() > before);
    assert!(scene.gatectl(&["drops"]).contains("no_listener_reject"));
}

fn proxy(scene: &Scene<'_>) {
    let listeners: Vec<ListenerStatus> = scene.node.gatectl_json(&["listener", "list"]).unwrap();
    for (name, port, protocol) in [("http", 80, "HTTP"), ("tcp", 9000, "TCP"), ("udp", 9001, "UDP")] {
        let is =
            |l: &&ListenerStatus| l.gateway.as_str() == GATEWAY && l.name == name && l.protocol == protocol;
        let listener = listeners.iter().find(is).unwrap_or_else(|| panic!("{listeners:#?}"));
        assert_eq!(listener.port, port);
        assert!(listener.routes > 0, "{listener:?}");
    }
    let routes: Vec<RouteStatus> = scene.node.gatectl_json(&["route", "list"]).unwrap();
    let web = routes.iter().find(|route| route.id.as_str().ends_with("shop/web")).unwrap();
    assert_eq!((web.hostnames.as_slice(), web.port), ([HOST.to_owned()].as_slice(), 80));
    assert_eq!(web.rules.len(), 3, "{web:#?}");
    for name in ["shop/tcp", "shop/udp", "shop/empty"] {
        assert!(routes.iter().any(|route| route.id.as_str().ends_with(name)), "{name}: {routes:#?}");
    }
    let backends: Vec<BackendStatus> = scene.node.gatectl_json(&["backend", "list"]).unwrap();
    let endpoints = backends.iter().flat_map(|backend| &backend.endpoints);
    let states: Vec<_> = endpoints.filter(|e| e.address == SocketAddr::new(pod_v4(2), TCP)).collect();
    assert_eq!(states.iter().map(|e| e.state.as_str()).collect::<Vec<_>>(), ["ready"], "{backends:#?}");
    for (noun, shows) in [("listener", "udp"), ("route", HOST), ("backend", "no endpoints")] {
        let table = scene.gatectl(&[noun, "list"]);
        assert!(table.contains(shows), "{noun}: {table}");
    }
}

fn connections(scene: &Scene<'_>) {
    let held = Held::open(scene);
    let list = |more: &[&str]| -> Vec<Connection> {
        let arguments = [&["conn", "list"], more].concat();
        scene.node.gatectl_json(&arguments).unwrap()
    };
    let all = list(&[]);
    let connection = all.iter().find(|c| c.client == held.client()).unwrap_or_else(|| panic!("{all:#?}"));
    assert_eq!(connection.vip, SocketAddr::new(scene.v4, 9000));
    assert!(connection.backend.is_some_and(|backend| backend.port() == TCP), "{connection:?}");
    assert_eq!((connection.protocol.as_str(), connection.gateway.as_str()), ("TCP", GATEWAY));
    assert!(connection.bytes_out > 0 && connection.rtt_us.is_some(), "{connection:?}");
    let has = |more: &[&str]| list(more).iter().any(|c| c.client == held.client());
    assert!(has(&["--vip", &scene.at(9000)]) && has(&["--vip", &scene.v4.to_string()]));
    assert!(has(&["--client", &held.client().ip().to_string()]) && has(&["--gateway", GATEWAY]));
    assert!(!has(&["--vip", &scene.at(80)]) && !has(&["--client", "192.0.2.99"]));
    assert!(!has(&["--gateway", "shop/other"]));
}

fn objects(scene: &Scene<'_>) {
    let get = |arguments: &[&str]| -> Vec<ObjectStatus> {
        scene.node.gatectl_json(&[&["get"], arguments].concat()).unwrap()
    };
    let gateways = get(&["gateways"]);
    assert_eq!(gateways.iter().map(|o| o.name.as_str()).collect::<Vec<_>>(), ["public"]);
    assert!(gateways[0].status.to_string().contains(&scene.v4.to_string()));
    assert_eq!(get(&["gatewayclasses"]).len(), 1);
    assert_eq!(get(&["HTTPRoute", "-n", "shop"]).len(), 2);
    assert!(get(&["httproute", "-n", "elsewhere"]).is_empty());
    assert!(scene.gatectl(&["get", "udproute", "udp"]).contains("Accepted"));
    let (code, _, noted) = scene.ends(&["get", "gatway"]);
    assert!(code == 1 && noted.contains("no kind \"gatway\"; there are GatewayClass"), "{code}: {noted}");
    let (code, said, noted) = scene.ends(&["get", "gateway", "nobody"]);
    assert_eq!(code, 1, "{said}");
    assert!(noted.contains("no such object"), "{noted}");
}

fn route_test(scene: &Scene<'_>) {
    let ask = |arguments: &[&str]| -> (i32, RouteAnswer) {
        let (code, said, noted) = scene.ends(
            &[&["-o", "json", "route", "test", "--gateway", GATEWAY, "--port", "80"], arguments].concat(),
        );
        (code, serde_json::from_str(&said).unwrap_or_else(|error| panic!("{error}: {said}{noted}")))
    };
    let (code, canary) = ask(&["--host", HOST, "--path", "/api/1?q=2", "--header", "X-Canary=always"]);
    let found = &canary.results[0];
    assert_eq!((code, found.rule, found.status), (0, Some(1), None), "{canary:#?}");
    assert!(found.matched.as_ref().is_some_and(|text| text.contains("/api")), "{canary:#?}");
    assert_eq!((found.filters.len(), found.backends[0].endpoints), (1, 2), "{canary:#?}");
    let (code, plain) = ask(&["--host", HOST, "--path", "/api/1", "--method", "POST"]);
    assert_eq!((code, plain.results[0].rule), (0, Some(2)), "{plain:#?}");
    let (code, moved) = ask(&["--host", HOST, "--path", "/old/page"]);
    assert_eq!((code, moved.results[0].status), (0, Some(301)), "{moved:#?}");
    let (code, unknown) = ask(&["--host", "nowhere.example.com"]);
    assert_eq!(code, 3, "{unknown:#?}");
    let (code, empty) = ask(&["--host", EMPTY]);
    assert_eq!((code, empty.results[0].status), (4, Some(503)), "{empty:#?}");
    let table = scene.gatectl(&["route", "test", "--host", HOST]);
    assert!(table.contains("shop/web") && table.contains("from the backend"), "{table}");
    assert_eq!(scene.ends(&["route", "test", "--host", HOST, "--header", "nonsense"]).0, 2);
}

fn doctor(scene: &Scene<'_>) {
    let finds = |subject: &str| {
        let findings = json(scene, &["doctor"]);
        findings.iter().find(|finding| finding["subject"] == subject).cloned()
    };
    let node = &scene.place.topology.node;
    scene.gatectl(&["doctor"]);
    for (key, value, severity) in [
        ("net.ipv4.conf.all.src_valid_mark", "1", "info"),
        ("net.ipv4.conf.eth0.rp_filter", "1", "info"),
        ("net.ipv4.tcp_syncookies", "0", "warning"),
        ("net.core.somaxconn", "16", "warning"),
        ("net.ipv4.ip_local_port_range", "9000 60000", "warning"),
    ] {
        let before = node.read_sysctl(key).unwrap();
        node.sysctl(key, value).unwrap();
        let finding = finds(key).unwrap_or_else(|| panic!("nothing is said of {key}={value}"));
        assert_eq!(finding["severity"], severity, "{finding}");
        assert!(severity == "info" || finding["remedy"].as_str().unwrap().contains("sysctl -w"), "{finding}");
        node.sysctl(key, &before.replace('\t', " ")).unwrap();
    }
    let nothing = ["--pin-dir", "/sys/fs/bpf/nothing"];
    let (code, said, _) = scene.ends(&[&nothing[..], &["doctor"]].concat());
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("start gateway-agent"), "{said}");
    let (code, said, noted) = scene.ends(&[&nothing[..], &["vip", "list"]].concat());
    assert_eq!(code, 1, "{said}");
    assert!(noted.contains("no pins at /sys/fs/bpf/nothing"), "{noted}");
}

/// As `gatectl … | head` when head has seen enough.
fn closed_pipe(scene: &Scene<'_>) {
    for arguments in [
        &["vip", "list"][..],
        &["get", "-o", "yaml"],
        &["route", "test", "--host", HOST],
        &["completion", "bash"],
        &["explain", &scene.at(80)],
    ] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let mut command = scene.node.gatectl_command().unwrap();
        let output = command.args(arguments).stdout(writer).stderr(Stdio::piped()).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!((output.status.code(), said.as_ref()), (Some(141), ""), "{arguments:?}");
    }
}
