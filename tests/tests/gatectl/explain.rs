//! `gatectl explain` on a chain that holds, and on one whose links break in turn.

use gatehouse_tests::backend::Backend;
use gatehouse_tests::topology::{CLIENT_V4, CLIENT_V6, NODE_V4, pod_v4};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::scene::{EMPTY, GATEWAY, HOST, Held, Place, Scene, TCP_ROUTE};

#[test]
fn the_broken_link_is_named() {
    let place = Place::new();
    let mut scene = place.serve();
    holds(&scene);
    misasked(&scene);
    route_missing(&mut scene);
    proxy_stuck(&scene);
    backends_stopped(&mut scene);
    holds(&scene);
    let mut held = Held::open(&scene);
    scene.node.kill_agent().unwrap();
    route_deleted(&scene);
    held.exchange();
    proxy_dead(&mut scene);
    holds(&scene);
}

/// Filters of the `clsact` qdisc have no pins to be found by.
#[test]
fn a_denied_client_and_a_filter_without_a_link_are_seen() {
    let place = Place::new();
    let denied = "198.51.100.0/25";
    let scene = place.serve_with(&["--tc", "netlink", "--xdp", "generic", "--deny", denied]);
    let verdicts = sound(&scene, &[&scene.at(80), "--from", "198.51.100.200"]);
    assert_eq!(verdicts[3]["state"], "ok", "{verdicts:#?}");
    assert!(verdicts[3]["text"].as_str().unwrap().contains("eth0"), "{verdicts:#?}");
    let (text, _) = broken(&scene, &[&scene.at(81), "--from", "198.51.100.200"], 15, "port");
    assert!(text.contains("in silence by XDP"), "{text}");
    let (text, _) = broken(&scene, &[&scene.at(80), "--from", "198.51.100.7"], 14, "device");
    assert!(text.contains(denied), "{text}");
    let programs: Vec<Value> = scene.node.gatectl_json(&["prog", "list"]).unwrap();
    let filter = programs.iter().find(|program| program["hook"] == "clsact ingress").unwrap();
    assert_eq!((&filter["device"], &filter["ours"]), (&"eth0".into(), &true.into()), "{filter}");
}

#[test]
fn a_proxy_that_gives_way_to_a_successor_is_no_trouble() {
    let place = Place::new();
    let scene = place.serve();
    for _ in 0..4 {
        let ask = || sound(&scene, &[&scene.at(80), "--from", &CLIENT_V4.to_string()]);
        let before = scene.node.proxies().unwrap();
        scene.gatectl(&["replace-proxy"]);
        ask();
        while scene.node.proxies().is_ok_and(|now| now.len() != 1 || now == before) {
            ask();
        }
        ask();
    }
}

#[test]
fn what_the_agent_was_told_to_leave_alone_is_no_trouble() {
    let place = Place::new();
    let scene = place.serve_with(&["--exclude-device", "eth0"]);
    let (_, said, _) = scene.ends(&["doctor"]);
    assert!(!said.contains("does not carry the TC program"), "{said}");
    let (_, said, _) = scene.ends(&["doctor", "--device", "eth0"]);
    assert!(said.contains("does not carry the TC program"), "{said}");
    let verdicts = sound(&scene, &[&scene.at(80)]);
    assert_eq!(verdicts[14]["stage"], "system");
    assert!(!verdicts[14]["text"].as_str().unwrap().contains("does not carry"), "{verdicts:#?}");
}

/// Exit code and verdicts.
fn explain(scene: &Scene<'_>, arguments: &[&str]) -> (i32, Vec<Value>) {
    let host: &[&str] = if arguments.contains(&"--host") { &[] } else { &["--host", HOST] };
    let (code, said, noted) = scene.ends(&[&["-o", "json", "explain"], arguments, host].concat());
    let verdicts = serde_json::from_str(&said).unwrap_or_else(|error| panic!("{error}: {said}{noted}"));
    (code, verdicts)
}

/// The chain holds to its end.
pub(crate) fn sound(scene: &Scene<'_>, arguments: &[&str]) -> Vec<Value> {
    let (code, verdicts) = explain(scene, arguments);
    assert_eq!((code, verdicts.len()), (0, 15), "{arguments:?}: {verdicts:#?}\n{}", scene.node.log());
    verdicts
}

/// The last verdict is the broken link, with a remedy; what it says.
pub(crate) fn broken(scene: &Scene<'_>, arguments: &[&str], code: i32, stage: &str) -> (String, String) {
    let (ended, verdicts) = explain(scene, arguments);
    let last = verdicts.last().unwrap();
    let found = (ended, last["stage"].as_str().unwrap(), last["state"].as_str().unwrap());
    assert_eq!(found, (code, stage, "broken"), "{arguments:?}: {verdicts:#?}");
    let text = |name: &str| last[name].as_str().unwrap().to_owned();
    assert!(!text("remedy").is_empty(), "{last}");
    (text("text"), text("remedy"))
}

pub(crate) fn holds(scene: &Scene<'_>) {
    let (v4, v6) = (CLIENT_V4.to_string(), CLIENT_V6.to_string());
    for port in [80, 9000] {
        let verdicts = sound(scene, &[&scene.at(port), "--from", &v4]);
        let well = |verdict: &Value| ["ok", "skipped"].contains(&verdict["state"].as_str().unwrap());
        assert!(verdicts.iter().all(well), "{verdicts:#?}");
        assert_eq!(verdicts[12]["state"], "ok", "the backend is tried: {verdicts:#?}");
        sound(scene, &[&scene.at_v6(port), "--from", &v6]);
        sound(scene, &[&scene.at(port)]);
        sound(scene, &[&scene.at(port), "--from", &NODE_V4.to_string()]);
    }
    sound(scene, &[&scene.at(9001), "--proto", "udp", "--from", &v4]);
    sound(scene, &[&scene.at_v6(9001), "--proto", "udp", "--from", &v6]);
    let verdicts = sound(scene, &[&scene.at(9001), "--proto", "udp"]);
    assert_ne!(verdicts[12]["text"], "no endpoint to connect to", "{verdicts:#?}");
    sound(scene, &[&scene.at(80), "--from", &pod_v4(2).to_string()]);
    let table = scene.gatectl(&["explain", &scene.at(80), "--host", HOST, "--path", "/old"]);
    assert!(table.contains("answers 301"), "{table}");
}

/// Nothing is wrong but what is asked for.
fn misasked(scene: &Scene<'_>) {
    broken(scene, &["203.0.113.250:80"], 11, "address");
    broken(scene, &["--pin-dir", "/sys/fs/bpf/nothing", &scene.at(80)], 12, "kernel");
    let (text, _) = broken(scene, &[&scene.at(81)], 15, "port");
    assert!(text.contains("refused") && text.contains("9000/TCP"), "{text}");
    broken(scene, &[&scene.at(80), "--proto", "udp"], 15, "port");
    let (text, _) = broken(scene, &[&scene.at(80), "--host", "nowhere.example.com"], 20, "routing");
    assert!(text.contains("404"), "{text}");
    let (text, _) = broken(scene, &[&scene.at(80), "--host", EMPTY], 21, "endpoints");
    assert!(text.contains("shop/empty"), "{text}");
    for (argument, value, says) in
        [("--path", "nopath", "begins with /"), ("--from", "2001:db8::7", "different families")]
    {
        let (code, said, noted) = scene.ends(&["explain", &scene.at(80), argument, value]);
        assert_eq!((code, said.as_str()), (2, ""), "{noted}");
        assert!(noted.contains(says), "{noted}");
    }
}

fn route_missing(scene: &mut Scene<'_>) {
    let target = scene.at(9000);
    let test = ["route", "test", "--host", "any", "--port", "9000", "--gateway", GATEWAY];
    let (code, said, _) = scene.ends(&test);
    assert!(code == 0 && said.contains("from the backend"), "{code}: {said}");
    scene.node.remove("tcp.yaml").unwrap();
    wait_code(scene, &target, 20);
    let (code, said, _) = scene.ends(&test);
    assert!(code == 3 && said.contains("the connection is closed"), "{code}: {said}");
    broken(scene, &[&target], 20, "routing");
    scene.node.write("tcp.yaml", TCP_ROUTE).unwrap();
    wait_code(scene, &target, 0);
}

fn wait_code(scene: &mut Scene<'_>, target: &str, wanted: i32) {
    let what = format!("exit code {wanted} for {target}");
    let found =
        |node: &gatehouse_tests::node::Node<'_>| node.gatectl(&["explain", target]).ok()?.status.code();
    scene.node.wait(&what, |node| (found(node)? == wanted).then_some(())).unwrap();
}

/// It lives and answers nobody.
fn proxy_stuck(scene: &Scene<'_>) {
    let proxy = scene.node.proxies().unwrap()[0];
    let pid = Pid::from_raw(i32::try_from(proxy).unwrap()).unwrap();
    kill_process(pid, Signal::STOP).unwrap();
    let (_, remedy) = broken(scene, &[&scene.at(80)], 17, "proxy");
    kill_process(pid, Signal::CONT).unwrap();
    assert!(remedy.contains("replace-proxy"), "{remedy}");
    sound(scene, &[&scene.at(80)]);
}

fn backends_stopped(scene: &mut Scene<'_>) {
    scene.pod = None;
    for port in [80, 9000] {
        let (text, _) = broken(scene, &[&scene.at(port)], 22, "backend");
        assert!(text.contains("10.0.1.2") && text.contains("refused"), "{text}");
    }
    scene.pod = Some(Backend::start(&scene.place.topology.pods, 2, "one", None).unwrap());
    scene.wait_answered();
}

/// The remedy is taken at its word.
fn route_deleted(scene: &Scene<'_>) {
    for (vip, target) in [(scene.v4, scene.at(80)), (scene.v6, scene.at_v6(80))] {
        scene.ip(&["route", "del", "local", &vip.to_string(), "dev", "lo", "proto", "71"]);
        let (_, remedy) = broken(scene, &[&target], 13, "route");
        let address = if vip.is_ipv4() { format!("{vip}/32") } else { format!("{vip}/128") };
        scene.ip(&["address", "add", &address, "dev", "eth0"]);
        sound(scene, &[&target]);
        scene.ip(&["address", "del", &address, "dev", "eth0"]);
        let (_, command) = remedy.split_once("or: ip ").unwrap();
        scene.ip(&command.split(' ').collect::<Vec<_>>());
        let verdicts = sound(scene, &[&target]);
        assert_eq!(verdicts[0]["state"], "warning", "the agent is dead: {verdicts:#?}");
    }
}

fn proxy_dead(scene: &mut Scene<'_>) {
    let socket = std::fs::read_dir(scene.node.folder().join("run/proxy")).unwrap().next().unwrap().unwrap();
    let name = socket.file_name().into_string().unwrap();
    let pid = Pid::from_raw(name.trim_end_matches(".sock").parse().unwrap()).unwrap();
    kill_process(pid, Signal::KILL).unwrap();
    let gone = || rustix::process::test_kill_process(pid).is_err().then_some(());
    scene.node.wait("the proxy to be gone", |_| gone()).unwrap();
    for target in [scene.at(80), scene.at(9000)] {
        let (_, remedy) = broken(scene, &[&target], 17, "proxy");
        assert!(remedy.contains("start gateway-agent"), "{remedy}");
    }
    scene.node.start().unwrap();
    scene.wait_answered();
}
