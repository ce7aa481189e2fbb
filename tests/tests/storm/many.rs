//! As many Gateways as the pool has addresses for.

use std::fmt::Write as _;
use std::net::IpAddr;

use gatehouse_tests::client::{Target, get};
use gateway_common::admin::ObjectStatus;

use crate::place::{HOST, Loads, Place, Site};

/// Twice as many groups of sockets, of two families.
const MANY: usize = 240;

/// A proxy is told of all of them at once: when they come, when another agent comes, and when it is another proxy.
#[test]
fn hundreds_of_gateways_come_at_once_and_stay() {
    let place = Place::new();
    let mut site = place.serve();
    let loads = Loads::start(&site);
    let mut gateways = String::new();
    for number in 0..MANY {
        write!(
            gateways,
            "---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {{namespace: site, name: many-{number}}}
spec: {{gatewayClassName: gatehouse, listeners: [{{name: http, protocol: HTTP, port: 80}}]}}
"
        )
        .unwrap();
    }
    site.node.write("many.yaml", &gateways).unwrap();
    all_answer(&mut site);
    let proxy = site.node.proxies().unwrap();
    site.node.kill_agent().unwrap();
    site.node.start().unwrap();
    all_answer(&mut site);
    assert_eq!(site.node.proxies().unwrap(), proxy, "the proxy was replaced");
    site.node.replace_proxy().unwrap();
    all_answer(&mut site);
    loads.stop().without_failures();
    let log = site.node.log();
    assert!(!log.contains("cut off") && !log.contains("does not come up"), "{log}");
}

fn all_answer(site: &mut Site<'_>) {
    let addresses = site.node.wait("all Gateways", |node| {
        let objects: Vec<ObjectStatus> = node.gatectl_json(&["get"]).ok()?;
        let gateways = objects.iter().filter(|object| object.name.starts_with("many-"));
        let served: Option<Vec<_>> = gateways.map(address).collect();
        served.filter(|served| served.len() == MANY)
    });
    for address in addresses.unwrap() {
        let target = Target::http((address, 80).into());
        let reply = get(&site.place.topology.client, &target, HOST, "/").unwrap();
        assert_eq!(reply.status, 404, "{address} has no route");
    }
}

/// Of a Gateway that is Programmed.
fn address(gateway: &ObjectStatus) -> Option<IpAddr> {
    let conditions = gateway.status["conditions"].as_array()?;
    conditions.iter().find(|one| one["type"] == "Programmed" && one["status"] == "True")?;
    gateway.status["addresses"][0]["value"].as_str()?.parse().ok()
}
