//! Routes, listeners and certificates change.

use std::net::{TcpListener, TcpStream, UdpSocket};

use gatehouse_tests::client::{Connection, Target, get};
use gatehouse_tests::node::{Name, Node};
use gatehouse_tests::process::wait_for;
use gatehouse_tests::topology::vip_v4;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::place::{HOST, Held, Loads, PATIENCE, PORT_ADDED, Place};

#[test]
fn fifty_route_changes_disturb_nobody() {
    let place = Place::new();
    let mut site = place.serve();
    let mut held = Held::open(&site);
    let loads = Loads::start(&site);
    for change in 1..=50 {
        let backend = if change % 2 == 0 { "one" } else { "two" };
        site.route_to(backend);
        site.wait_answered_by(backend);
    }
    held.exchange();
    loads.stop().undisturbed();
}

#[test]
fn listeners_come_and_go_beside_others() {
    let place = Place::new();
    let mut site = place.serve();
    let mut held = Held::open(&site);
    let loads = Loads::start(&site);
    let added = Target::http((site.v4, PORT_ADDED).into());
    for _ in 0..5 {
        assert!(site.get(&added).is_err(), "nothing listens there yet");
        site.with_listener(true);
        site.node.wait("the added listener", |_| site_answers(&place, &added)).unwrap();
        site.with_listener(false);
        let gone = wait_for(PATIENCE, || site_answers(&place, &added).is_none().then_some(()));
        assert!(gone.is_some(), "the removed listener still answers\n{}", site.node.log());
    }
    held.exchange();
    loads.stop().undisturbed();
}

#[test]
fn certificates_are_rotated_under_handshakes() {
    let place = Place::new();
    let mut site = place.serve();
    let mut held = Held::open(&site);
    let loads = Loads::start(&site);
    for _ in 0..5 {
        let wanted = site.rotate();
        let target = site.https(&["http/1.1"]);
        let shown = || place.topology.client.block_on(async || Connection::open(&target).await);
        site.node
            .wait("the new certificate", |_| (shown().ok()?.certificate? == wanted).then_some(()))
            .unwrap();
    }
    held.exchange();
    loads.stop().undisturbed();
}

/// `Programmed` is the word of a proxy that has what carries it, one Gateway at a time.
#[test]
fn what_the_proxy_has_not_acknowledged_is_pending_and_nothing_else() {
    let place = Place::new();
    let mut site = place.serve();
    site.node.write("other.yaml", OTHER).unwrap();
    let of = |name| Name { kind: "Gateway", namespace: "site", name };
    site.node.wait_condition(&of("other"), "Programmed", "True").unwrap();
    let proxy = site.node.proxies().unwrap()[0];
    let proxy = Pid::from_raw(i32::try_from(proxy).unwrap()).unwrap();
    kill_process(proxy, Signal::STOP).unwrap();
    site.with_listener(true);
    site.node.wait_condition(&of("gateway"), "Programmed", "False").unwrap();
    let status = |name| site.node.object(&of(name)).unwrap().unwrap().status.to_string();
    let (gateway, other) = (status("gateway"), status("other"));
    kill_process(proxy, Signal::CONT).unwrap();
    assert!(gateway.contains("has not yet acknowledged the newest configuration"), "{gateway}");
    assert!(!other.contains("acknowledged"), "{other}");
    site.node.wait_condition(&of("gateway"), "Programmed", "True").unwrap();
}

/// The rest of the Gateway is served, and says so.
#[test]
fn a_port_that_another_process_has_costs_its_listener_alone() {
    let place = Place::new();
    let mut site = place.serve();
    let gateway = Name { kind: "Gateway", namespace: "site", name: "gateway" };
    let foreign = place.topology.node.run(|| UdpSocket::bind(("0.0.0.0", 9005))).unwrap();
    site.with_listeners("  - {name: taken, protocol: UDP, port: 9005}\n");
    let said = |node: &mut Node<'_>| {
        let status = node.object(&gateway).ok()??.status;
        let listeners = status["listeners"].as_array()?;
        let programmed = |conditions: &Value| -> Option<(String, String)> {
            let one = conditions.as_array()?.iter().find(|one| one["type"] == "Programmed")?;
            Some((one["status"].as_str()?.to_owned(), one["message"].as_str()?.to_owned()))
        };
        let of = |name: &str| {
            programmed(&listeners.iter().find(|listener| listener["name"] == name)?["conditions"])
        };
        Some((programmed(&status["conditions"])?, of("http")?, of("taken")?, status["addresses"].clone()))
    };
    let refused = |node: &mut Node<'_>| said(node).filter(|(_, _, taken, _)| taken.1.contains("9005"));
    let (whole, http, taken, addresses) = site.node.wait("the taken port to be told", refused).unwrap();
    assert_eq!((&*whole.0, &*http.0, &*taken.0), ("True", "True", "False"), "{whole:?} {http:?} {taken:?}");
    let holder = format!("(pid {})", std::process::id());
    assert!(taken.1.contains("the port is taken by") && taken.1.contains(&holder), "{taken:?}");
    assert_eq!(addresses.as_array().unwrap().len(), 2, "{addresses}");
    let explained = site.node.gatectl(&["explain", &format!("{}:80", site.v4)]).unwrap();
    assert!(explained.status.success(), "{explained:?}");
    drop(foreign);
    let served = |node: &mut Node<'_>| said(node).filter(|(_, _, taken, _)| taken.0 == "True");
    site.node.wait("the port to be taken over", served).unwrap();
}

/// A VIP takes every port of its address, so what makes the node reachable must not become one.
#[test]
fn an_address_of_a_device_is_refused_until_it_leaves_and_kept_when_it_comes() {
    let place = Place::new();
    let mut site = place.serve();
    let address = vip_v4(13);
    let gateway = Name { kind: "Gateway", namespace: "site", name: "other" };
    place.topology.node.ip(&format!("addr add {address}/32 dev eth0")).unwrap();
    let named = OTHER.replace("listeners:", &format!("addresses: [{{value: {address}}}]\n  listeners:"));
    site.node.write("other.yaml", &named).unwrap();
    let refusal =
        format!("{address} is an address of eth0 on this node: its other ports would stop answering");
    let refused = |node: &mut Node<'_>| {
        let status = node.object(&gateway).ok()??.status.to_string();
        (status.contains("AddressNotUsable") && status.contains(&refusal)).then_some(())
    };
    site.node.wait("the refusal", refused).unwrap();
    assert_eq!(site.node.log().matches(&refusal).count(), 1);
    let server = place.topology.node.run(|| TcpListener::bind((address, 22))).unwrap();
    place.topology.client.run(|| TcpStream::connect_timeout(&(address, 22).into(), PATIENCE)).unwrap();
    drop(server);
    let target = Target::http((address, 80).into());
    for _ in 0..2 {
        place.topology.node.ip(&format!("addr del {address}/32 dev eth0")).unwrap();
        site.node.wait_condition(&gateway, "Programmed", "True").unwrap();
        assert_eq!(get(&place.topology.client, &target, HOST, "/").unwrap().status, 404, "it has no route");
        place.topology.node.ip(&format!("addr add {address}/32 dev eth0")).unwrap();
        let words = format!("{address} is now an address of eth0");
        site.node.wait("a warning", |node| node.log().contains(&words).then_some(())).unwrap();
        assert_eq!(get(&place.topology.client, &target, HOST, "/").unwrap().status, 404, "it goes on");
        site.node.wait_condition(&gateway, "Programmed", "True").unwrap();
    }
}

const OTHER: &str = "apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {namespace: site, name: other}
spec:
  gatewayClassName: gatehouse
  listeners:
  - {name: http, protocol: HTTP, port: 80}
";

/// Whether the listener that comes and goes answers.
fn site_answers(place: &Place, target: &Target) -> Option<()> {
    let reply = get(&place.topology.client, target, HOST, "/").ok()?;
    (reply.status == 200).then_some(())
}
