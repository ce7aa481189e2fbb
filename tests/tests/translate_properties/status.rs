//! What is written as status: once, and again only when it is another.

use std::collections::{BTreeMap, BTreeSet};

use gatehouse_tests::world::object;
use gateway_agent::desired::{Outcomes, Proxy, VipPort};
use gateway_agent::object::{Kind, ObjectKey};
use gateway_agent::translate::{Due, Params, Translator, status, status_of};
use gateway_agent::world::{Event, World};
use gateway_common::abi::Proto;
use gateway_common::ir::{CertificateId, Family, GatewayId, Key, RouteId, SocketId};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::universe::{base, event, params, steps};

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    /// A status that has been written is right until something changes, and writing it changes no translation.
    #[test]
    fn written_statuses_are_left_alone(batches in steps(16)) {
        let (mut world, params, mut translator) = (base(), params(), Translator::default());
        batches.into_iter().flatten().for_each(|step| { world.apply(event(step)); });
        translator.update(&world, &params, &world.keys());
        let now: Time = serde_json::from_value(json!("2026-01-01T00:00:00Z")).unwrap();
        let later: Time = serde_json::from_value(json!("2026-01-02T00:00:00Z")).unwrap();
        let outcomes = Outcomes { proxy: Proxy::Serving, ..Outcomes::default() };
        let statuses = status(&world, translator.verdicts(), &outcomes, &now);
        let mut changed = BTreeSet::new();
        for (key, value) in statuses {
            let mut document = document(&world, &key);
            document["kind"] = json!(key.kind.name());
            document["status"] = value;
            changed.extend(world.apply(Event::Apply(object(&document).unwrap().unwrap())));
        }
        prop_assert_eq!(status(&world, translator.verdicts(), &outcomes, &later), BTreeMap::new());
        let change = translator.update(&world, &Params { held: translator.held(), ..params }, &changed);
        prop_assert!(change.is_empty() && change.work == 0, "{:?}", change);
    }

    /// Those that are due, once written, leave nothing to write.
    #[test]
    fn what_is_due_is_all_that_changes(batches in steps(24), said in prop::collection::vec(any::<u16>(), 24)) {
        let (mut world, mut params, mut translator) = (base(), params(), Translator::default());
        let mut due = Due::default();
        let now: Time = serde_json::from_value(json!("2026-01-01T00:00:00Z")).unwrap();
        let mut changed = world.keys();
        for (batch, said) in batches.into_iter().zip(said) {
            changed.extend(batch.into_iter().filter_map(|step| world.apply(event(step))));
            let change = translator.update(&world, &params, &changed);
            params.held = translator.held();
            due.note(std::mem::take(&mut changed));
            due.note(change.verdicts);
            let outcomes = outcomes(said);
            for key in due.take(translator.verdicts(), &outcomes) {
                if let Some(status) = status_of(&world, translator.verdicts(), &outcomes, &key, &now) {
                    world.set_status(&key, &status);
                }
            }
            prop_assert_eq!(status(&world, translator.verdicts(), &outcomes, &now), BTreeMap::new());
            prop_assert_eq!(due.take(translator.verdicts(), &outcomes), BTreeSet::new());
        }
    }
}

/// What the edges say, a bit for each thing.
fn outcomes(bits: u16) -> Outcomes {
    fn said<T>(bits: u16, from: u32, all: impl IntoIterator<Item = T>) -> impl Iterator<Item = T> {
        all.into_iter().zip(from..).filter(move |(_, bit)| bits >> bit & 1 == 1).map(|(one, _)| one)
    }
    let why = |n: usize| format!("because {n}");
    let gateway = || GatewayId::new("a/x");
    let keys = [
        Key::Gateway(gateway()),
        Key::Certificate(CertificateId::new("a/x")),
        Key::Route(RouteId::new("HTTPRoute/a/x")),
    ];
    let vips = ["192.0.2.1", "192.0.2.2", "2001:db8::7"].map(|ip| ip.parse().unwrap());
    let sockets = [
        SocketId::Tcp { gateway: gateway(), family: Family::V4 },
        SocketId::Udp { gateway: gateway(), address: "192.0.2.1:53".parse().unwrap() },
    ];
    let ports = [(80, Proto::Tcp), (53, Proto::Udp)];
    let ports = ports.map(|(port, proto)| VipPort { address: vips[0], port, proto });
    Outcomes {
        proxy: [Proxy::Absent, Proxy::Silent, Proxy::Serving, Proxy::Serving][usize::from(bits & 3)],
        unacknowledged: said(bits, 2, keys.clone()).collect(),
        proxy_problems: said(bits, 5, keys).map(|key| (key, why(usize::from(bits >> 15)))).collect(),
        vips: said(bits, 8, vips).map(|ip| (ip, why(1))).collect(),
        ports: said(bits, 13, ports).map(|port| (port, why(1))).collect(),
        sockets: said(bits, 11, sockets).map(|socket| (socket, why(1))).collect(),
    }
}

fn document(world: &World, key: &ObjectKey) -> Value {
    let name = &key.name;
    match key.kind {
        Kind::GatewayClass => serde_json::to_value(&*world.gateway_classes[name]),
        Kind::Gateway => serde_json::to_value(&*world.gateways[name]),
        Kind::HttpRoute => serde_json::to_value(&*world.http_routes[name]),
        Kind::TlsRoute => serde_json::to_value(&*world.tls_routes[name]),
        Kind::TcpRoute => serde_json::to_value(&*world.tcp_routes[name]),
        Kind::UdpRoute => serde_json::to_value(&*world.udp_routes[name]),
        Kind::GatewayParameters
        | Kind::ReferenceGrant
        | Kind::Namespace
        | Kind::Service
        | Kind::EndpointSlice
        | Kind::Secret => unreachable!("{key} has no status of ours"),
    }
    .unwrap()
}
