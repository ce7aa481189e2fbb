//! Links of the chain that nothing breaks by itself: each is broken by hand, and named by `gatectl explain`.

use std::fs;

use aya::maps::{HashMap, Map, MapData, MapError, SockMap};
use gatehouse_tests::topology::{CLIENT_V4, NODE_V4, NODE_V6, ROUTER_V6, VIPS_V4, VIPS_V6};
use gateway_agent::datapath::Pins;
use gateway_common::abi::names::{PORTS, PROGRAM_LOOKUP, SOCKS};
use gateway_common::abi::{Addr, Port, PortKey, Proto};

use crate::explain::{broken, holds};
use crate::scene::{Place, Scene, TCP_ROUTE};

#[test]
fn a_link_that_is_broken_by_hand_is_named() {
    let place = Place::new();
    let mut scene = place.serve();
    no_carrier(&mut scene);
    proxy_behind(&mut scene);
    // Alive, the agent would mend what follows.
    scene.node.kill_agent().unwrap();
    let pins = Pins::at(place.topology.node.bpffs().join("gatehouse"));
    let unknown = port_without_listener(&scene, &pins);
    empty_slot(&scene, &pins);
    no_program(&scene, &pins);
    scene.node.start().unwrap();
    scene.wait_answered();
    broken(&scene, &[&unknown], 15, "port");
    holds(&scene);
}

fn no_carrier(scene: &mut Scene<'_>) {
    let router = &scene.place.topology.router;
    router.ip("link set nodes down").unwrap();
    let (text, _) = broken(scene, &[&scene.at(80), "--from", &CLIENT_V4.to_string()], 14, "device");
    assert!(text.contains("eth0"), "{text}");
    // What went with the link.
    router
        .ip(&format!(
            "link set nodes up
             addr replace {ROUTER_V6}/64 dev nodes nodad
             route replace {VIPS_V4} via {NODE_V4}
             route replace {VIPS_V6} via {NODE_V6}"
        ))
        .unwrap();
    scene.wait_answered();
}

/// It serves, and nobody can tell it what is new.
fn proxy_behind(scene: &mut Scene<'_>) {
    let run = scene.node.folder().join("run");
    let (socket, away) = (run.join("control.sock"), run.join("control.away"));
    fs::rename(&socket, &away).unwrap();
    scene.node.cut_connections("control.sock").unwrap();
    scene.node.wait("the proxy to be cut off", |node| node.proxies().ok()?.is_empty().then_some(())).unwrap();
    let before = scene.node.agent_status().unwrap().generation;
    scene.node.write("tcp.yaml", &TCP_ROUTE.replace("name: one", "name: empty")).unwrap();
    let newer = |node: &mut gatehouse_tests::node::Node<'_>| {
        (node.agent_status().ok()?.generation > before).then_some(())
    };
    scene.node.wait("a newer generation", newer).unwrap();
    broken(scene, &[&scene.at(80)], 18, "generation");
    scene.node.write("tcp.yaml", TCP_ROUTE).unwrap();
    fs::rename(&away, &socket).unwrap();
    scene.node.wait_serving().unwrap();
    scene.wait_answered();
}

fn open<T: TryFrom<Map, Error = MapError>>(pins: &Pins, name: &str) -> T {
    T::try_from(Map::from_map_data(MapData::from_pin(pins.map(name)).unwrap()).unwrap()).unwrap()
}

fn http(scene: &Scene<'_>, ports: &HashMap<MapData, PortKey, Port>) -> Port {
    ports.get(&PortKey::new(Addr::from_ip(scene.v4), 80, Proto::Tcp), 0).unwrap()
}

/// The kernel has a port of which the proxy has never heard.
fn port_without_listener(scene: &Scene<'_>, pins: &Pins) -> String {
    let mut ports: HashMap<_, PortKey, Port> = open(pins, PORTS);
    let key = PortKey::new(Addr::from_ip(scene.v4), 8888, Proto::Tcp);
    ports.insert(key, http(scene, &ports), 0).unwrap();
    broken(scene, &[&scene.at(8888)], 19, "listener");
    scene.at(8888)
}

fn empty_slot(scene: &Scene<'_>, pins: &Pins) {
    let port = http(scene, &open(pins, PORTS));
    let mut sockets: SockMap<MapData> = open(pins, SOCKS);
    sockets.clear_index(&port.slot).unwrap();
    let (text, _) = broken(scene, &[&scene.at(80)], 16, "socket");
    assert!(text.contains("slot is empty"), "{text}");
}

fn no_program(scene: &Scene<'_>, pins: &Pins) {
    fs::remove_file(pins.links().join(PROGRAM_LOOKUP)).unwrap();
    let (text, _) = broken(scene, &[&scene.at_v6(80)], 16, "socket");
    assert!(text.contains("cannot be asked"), "{text}");
}
