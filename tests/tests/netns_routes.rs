//! Routes in a real kernel: which of many are ours, and the devices that the agent chooses by their default routes.
#![expect(clippy::unwrap_used, reason = "a test ends where something unexpected is")]

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::net::IpAddr;

use gatehouse_tests::netns::Netns;
use gatehouse_tests::node::Node;
use gatehouse_tests::topology::{Topology, Uplink, vip_v4, vip_v6};
use gateway_agent::announce::Announcer;
use gateway_agent::datapath::programs::Program;

/// In such a namespace the kernel does not even have the tables.
#[test]
fn a_namespace_without_addresses_has_no_routes() {
    let node = Netns::bare("node").unwrap();
    node.block_on(async || {
        let announcer = Announcer::open().unwrap();
        assert_eq!(announcer.routes().await.unwrap(), BTreeSet::new());
        assert_eq!(announcer.default_routes().await.unwrap(), BTreeSet::new());
        assert_eq!(announcer.devices().await.unwrap().len(), 1);
    });
}

/// A node that speaks BGP may have a million of them.
#[test]
fn routes_of_others_are_passed_over_and_left_alone() {
    const OTHERS: usize = 2000;
    let node = Netns::new("node").unwrap();
    let mut script = "link add br7 type bridge\nlink set br7 up\naddr add 192.0.2.1/24 dev br7 nodad
         addr add 2001:db8:7::1/64 dev br7 nodad\n"
        .to_owned();
    for number in 0..OTHERS / 2 {
        let (high, low) = (number / 256, number % 256);
        writeln!(script, "route add 10.{high}.{low}.0/24 dev br7 proto bgp").unwrap();
        writeln!(script, "route add 2001:db8:{:x}::/64 dev br7 proto bgp", 4096 + number).unwrap();
    }
    // Ours in all but the table, and ours in all but the protocol.
    script.push_str(
        "route add local 203.0.113.77 dev lo table 100 proto 71\nroute add local 203.0.113.78 dev lo",
    );
    node.ip(&script).unwrap();
    let others = || {
        let listed = |family| listed(&node, &[family, "route", "show", "table", "all", "proto", "bgp"]);
        ["-4", "-6"].map(|family| listed(family).lines().count()).iter().sum::<usize>()
    };
    let vips: BTreeSet<IpAddr> = [vip_v4(1), vip_v4(2), vip_v6(1)].into();
    node.block_on(async || {
        let announcer = Announcer::open().unwrap();
        assert_eq!(announcer.install(&vips).await.unwrap().changes, 3);
        assert_eq!(announcer.routes().await.unwrap(), vips);
        assert_eq!(announcer.install(&vips).await.unwrap().changes, 0);
        let devices = announcer.devices().await.unwrap();
        let bridge = devices.iter().find(|device| device.name == "br7").map(|device| device.index);
        for (ip, local, toward) in [
            (vip_v4(1), true, None),
            (vip_v6(1), true, None),
            ("192.0.2.1".parse().unwrap(), true, None),
            ("10.0.7.7".parse().unwrap(), false, bridge),
            ("2001:db8:1007::7".parse().unwrap(), false, bridge),
        ] {
            assert_eq!(announcer.is_local(ip).await.unwrap(), local, "{ip}");
            assert_eq!(announcer.device_toward(ip).await.unwrap(), toward, "{ip}");
        }
        assert!(!announcer.is_local("198.51.100.1".parse().unwrap()).await.unwrap(), "nothing leads there");
        assert_eq!(announcer.withdraw(&BTreeSet::new()).await.unwrap().changes, 3);
        assert_eq!(announcer.routes().await.unwrap(), BTreeSet::new());
        assert_eq!(announcer.default_routes().await.unwrap(), BTreeSet::new());
    });
    assert_eq!(others(), OTHERS);
}

/// The kernel says nothing of default routes that go with a device or an address.
#[test]
fn the_agent_follows_default_routes_from_device_to_device() {
    let topology = Topology::new(Uplink::Plain).unwrap();
    let mut node = Node::new(&topology.node).unwrap();
    node.write("class.yaml", CLASS).unwrap();
    node.start().unwrap();
    carries(&mut node, &["eth0"]);
    for (script, devices) in [
        ("link add br7 type bridge\nlink set br7 up", &["eth0"][..]),
        ("route add default dev br7 metric 500", &["br7", "eth0"]),
        ("link set br7 down", &["eth0"]),
        ("link set br7 up\nroute add ::/0 dev br7 metric 5000", &["br7", "eth0"]),
        ("route del ::/0 dev br7", &["eth0"]),
        ("link add br8 type bridge\nlink set br8 up\naddr add 169.254.8.1/32 dev br8", &["eth0"]),
        ("route add default dev br7 src 169.254.8.1 metric 500", &["br7", "eth0"]),
        ("addr del 169.254.8.1/32 dev br8", &["eth0"]),
        ("route add table 100 default dev br7", &["eth0"]),
        ("route add default dev br7 metric 500", &["br7", "eth0"]),
        ("link del br7", &["eth0"]),
    ] {
        topology.node.ip(script).unwrap();
        carries(&mut node, devices);
    }
}

fn listed(netns: &Netns, arguments: &[&str]) -> String {
    let output = netns.command("ip").unwrap().args(arguments).output().unwrap();
    assert!(output.status.success(), "ip {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Waits until our programs run on these devices alone.
fn carries(node: &mut Node<'_>, devices: &[&str]) {
    let on = |node: &mut Node<'_>| {
        let programs: Vec<Program> = node.gatectl_json(&["prog", "list"]).ok()?;
        let ours = programs.into_iter().filter(|program| program.ours).filter_map(|program| program.device);
        let found: BTreeSet<String> = ours.collect();
        (found == devices.iter().map(|name| (*name).to_owned()).collect()).then_some(())
    };
    node.wait(&format!("programs on {devices:?}"), on).unwrap();
}

const CLASS: &str = "apiVersion: gateway.networking.k8s.io/v1
kind: GatewayClass
metadata: {name: gatehouse}
spec: {controllerName: gatehouse.dev/gateway-controller}
";
