//! Files, devices and paths that cannot be used; what can be goes on.

use std::fs;
use std::thread;

use gatehouse_tests::node::Node;

use crate::CALM;
use crate::place::{Held, Loads, Place, Site};

const NO_YAML: &str = "bad: [";

#[test]
fn nobody_notices_that_an_agent_starts_while_files_are_broken() {
    let place = Place::new();
    let mut site = place.serve();
    let mut held = Held::open(&site);
    let addresses = assigned(&site);
    let services = fs::read_to_string(site.node.source().join("services.yaml")).unwrap();
    let wrong = services.replacen("port: 80,", "port: 70000,", 1);
    assert_ne!(wrong, services);
    let loads = Loads::start(&site);
    site.node.write("secret.yaml", NO_YAML).unwrap();
    wait_errors(&mut site, 1);
    let copy = site.node.folder().join("state/last-good/secret.yaml.kept");
    site.node
        .wait("the Secret to be kept", |_| fs::read_to_string(&copy).ok()?.contains("Secret").then_some(()))
        .unwrap();
    site.node.kill_agent().unwrap();
    // These break while no agent runs.
    site.node.write("gateway.yaml", NO_YAML).unwrap();
    site.node.write("services.yaml", &wrong).unwrap();
    for _ in 0..2 {
        site.node.start().unwrap();
        wait_errors(&mut site, 3);
        thread::sleep(CALM);
        assert_eq!(assigned(&site), addresses);
        site.node.stop_agent().unwrap();
    }
    site.node.start().unwrap();
    site.node.write("services.yaml", &services).unwrap();
    site.with_listener(false);
    site.rotate();
    wait_errors(&mut site, 0);
    site.route_to("two");
    site.wait_answered_by("two");
    held.exchange();
    loads.stop().undisturbed();
    assert_eq!(assigned(&site), addresses);
}

#[test]
fn a_gateway_whose_file_nobody_could_read_gets_its_addresses_back() {
    let place = Place::new();
    let mut site = place.serve();
    let addresses = assigned(&site);
    let gateway = fs::read_to_string(site.node.source().join("gateway.yaml")).unwrap();
    site.node.kill_agent().unwrap();
    fs::remove_dir_all(site.node.folder().join("state/last-good")).unwrap();
    site.node.write("gateway.yaml", NO_YAML).unwrap();
    site.node.start_agent().unwrap();
    wait_errors(&mut site, 1);
    site.node.write("another.yaml", &gateway.replace("name: gateway", "name: another")).unwrap();
    let (other, _) = site.node.wait_addresses("site", "another").unwrap();
    assert_ne!(other.unwrap(), site.v4);
    site.with_listener(false);
    site.wait_answered_by("one");
    let now = assigned(&site);
    assert_eq!(now["site/gateway"], addresses["site/gateway"]);
}

#[test]
fn a_device_without_room_for_the_programs_is_logged_once() {
    let place = Place::new();
    place.topology.node.ip("link add nix0 type bridge\nlink set nix0 up").unwrap();
    let attach = ["--device", "eth0", "--device", "nix0", "--xdp", "native"];
    let mut site = place.serve_with(|node| node.with_arguments(&attach));
    for _ in 0..2 {
        // Has the agent look at its devices again.
        place.topology.node.ip("addr add 192.0.2.77/32 dev nix0").unwrap();
        place.topology.node.ip("addr del 192.0.2.77/32 dev nix0").unwrap();
        thread::sleep(CALM);
    }
    site.route_to("two");
    site.wait_answered_by("two");
    let log = site.node.log();
    let told: Vec<_> = log.lines().filter(|line| line.contains("not in place")).collect();
    assert_eq!(told.len(), 1, "{log}");
    assert!(told[0].contains("nix0") && told[0].contains("not supported"), "{told:?}");
}

#[test]
fn an_access_log_that_cannot_be_opened_costs_no_traffic() {
    let place = Place::new();
    let target = ["--access-log", "/nonexistent/access.log"];
    let mut site = place.serve_with(|node: Node<'_>| node.with_arguments(&target));
    let proxy = site.node.proxies().unwrap();
    site.route_to("two");
    site.wait_answered_by("two");
    assert_eq!(site.node.proxies().unwrap(), proxy);
    let log = site.node.log();
    assert_eq!(log.matches("access log cannot be written").count(), 1, "{log}");
}

fn assigned(site: &Site<'_>) -> serde_json::Value {
    let text = fs::read(site.node.folder().join("state/addresses.json")).unwrap();
    serde_json::from_slice(&text).unwrap()
}

fn wait_errors(site: &mut Site<'_>, count: usize) {
    let what = format!("{count} errors of the source");
    let seen = |node: &mut Node<'_>| (node.agent_status().ok()?.source_errors.len() == count).then_some(());
    site.node.wait(&what, seen).unwrap();
}
