//! `GET /listeners`.

use gateway_common::admin::ListenerStatus;
use gateway_common::ir::{
    CertificateId, GatewayId, Listener, ListenerProtocol, PortProtocol, Route, RouteRules,
};

use crate::snapshot::Snapshot;

/// Every listener, ordered by Gateway, port and place in the Gateway.
pub(super) fn status(snapshot: &Snapshot) -> Vec<ListenerStatus> {
    let ports =
        snapshot.gateways.values().flat_map(|gateway| gateway.ports.iter().map(move |port| (gateway, port)));
    let listeners = ports.flat_map(|(gateway, port)| {
        port.ir.listeners.iter().map(move |listener| ListenerStatus {
            gateway: gateway.id.clone(),
            name: listener.name.clone(),
            port: port.ir.port,
            protocol: protocol(listener).to_owned(),
            hostname: listener.hostname.as_ref().map(ToString::to_string),
            routes: attached(snapshot, &gateway.id, port.ir.port, port.ir.protocol, &listener.name),
            connections: port.metrics.open(),
            certificates: certificates(snapshot, listener),
        })
    });
    listeners.collect()
}

fn attached(
    snapshot: &Snapshot,
    gateway: &GatewayId,
    port: u16,
    protocol: PortProtocol,
    listener: &str,
) -> usize {
    let here = |route: &Route| {
        let udp = matches!(route.rules, RouteRules::Udp(_));
        udp == (protocol == PortProtocol::Udp)
            && route
                .attachments
                .iter()
                .any(|at| at.gateway == *gateway && at.port == port && at.listener == listener)
    };
    snapshot.routes.values().filter(|route| here(route.as_ref())).count()
}

fn protocol(listener: &Listener) -> &'static str {
    match listener.protocol {
        ListenerProtocol::Http => "HTTP",
        ListenerProtocol::Https { .. } => "HTTPS",
        ListenerProtocol::TlsPassthrough => "TLS",
        ListenerProtocol::Tcp => "TCP",
        ListenerProtocol::Udp => "UDP",
    }
}

/// Those whose chain and key were understood.
fn certificates(snapshot: &Snapshot, listener: &Listener) -> Vec<String> {
    let usable = |id: &&CertificateId| snapshot.certificates.get(*id).is_some_and(|it| it.key.is_some());
    match &listener.protocol {
        ListenerProtocol::Https { certificates } => {
            certificates.iter().filter(usable).map(ToString::to_string).collect()
        }
        ListenerProtocol::Http
        | ListenerProtocol::TlsPassthrough
        | ListenerProtocol::Tcp
        | ListenerProtocol::Udp => Vec::new(),
    }
}
