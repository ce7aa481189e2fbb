//! A backend: a Service's port and the endpoints behind it.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use gateway_common::abi::Proto;
use gateway_common::ir::{self, BackendId, BackendProtocol, EndpointState, ProxyProtocolOut};
use k8s_openapi::api::core::v1::{Service, ServicePort};
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointSlice};

use super::lookup::Lookup;
use crate::object::NsName;

/// What makes an upstream pool a pool of its own.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct BackendKey {
    pub(super) service: NsName,
    pub(super) port: u16,
    pub(super) proto: Proto,
    pub(super) proxy_protocol: Option<ProxyProtocolOut>,
}

impl BackendKey {
    pub(super) fn id(&self) -> BackendId {
        let proto = match self.proto {
            Proto::Tcp => "",
            Proto::Udp => ";protocol=udp",
        };
        let header = match self.proxy_protocol {
            None => "",
            Some(ProxyProtocolOut::V1) => ";proxy-protocol=v1",
            Some(ProxyProtocolOut::V2) => ";proxy-protocol=v2",
        };
        BackendId::new(format!("{}:{}{proto}{header}", self.service, self.port))
    }
}

/// None: the Service or its port is gone.
pub(super) fn backend(lookup: &mut Lookup<'_>, key: &BackendKey) -> Option<ir::Backend> {
    let service = lookup.service(key.service.clone())?;
    let port = port(service, key.port, key.proto)?;
    Some(ir::Backend {
        id: key.id(),
        protocol: protocol(port),
        endpoints: endpoints(lookup.endpoint_slices(&key.service), port, key.proto),
        proxy_protocol: key.proxy_protocol,
    })
}

pub(super) fn port(service: &Service, number: u16, proto: Proto) -> Option<&ServicePort> {
    ports(service)
        .find(|port| port.port == i32::from(number) && port_proto(port.protocol.as_deref()) == Some(proto))
}

pub(super) fn ports(service: &Service) -> impl Iterator<Item = &ServicePort> {
    service.spec.iter().flat_map(|spec| spec.ports.iter().flatten())
}

fn port_proto(protocol: Option<&str>) -> Option<Proto> {
    match protocol.unwrap_or("TCP") {
        "TCP" => Some(Proto::Tcp),
        "UDP" => Some(Proto::Udp),
        _ => None,
    }
}

fn protocol(port: &ServicePort) -> BackendProtocol {
    match port.app_protocol.as_deref() {
        // gRPC without TLS is HTTP/2 with prior knowledge.
        Some("kubernetes.io/h2c" | "grpc") => BackendProtocol::H2c,
        _ => BackendProtocol::Http1,
    }
}

/// The application protocol of a port, when it wants TLS from whoever connects.
pub(super) fn wants_tls(port: &ServicePort) -> Option<&str> {
    port.app_protocol.as_deref().filter(|name| matches!(*name, "https" | "kubernetes.io/wss"))
}

/// A slice's ports already are target ports; they belong to the Service's port of the same name.
fn endpoints<'a>(
    slices: impl Iterator<Item = &'a EndpointSlice>,
    service_port: &ServicePort,
    proto: Proto,
) -> Vec<ir::Endpoint> {
    let name = service_port.name.as_deref().unwrap_or_default();
    let mut found: BTreeMap<SocketAddr, EndpointState> = BTreeMap::new();
    for slice in slices.filter(|slice| matches!(slice.address_type.as_str(), "IPv4" | "IPv6")) {
        let ports: Vec<u16> = slice
            .ports
            .iter()
            .flatten()
            .filter(|p| {
                p.name.as_deref().unwrap_or_default() == name
                    && port_proto(p.protocol.as_deref()) == Some(proto)
            })
            .filter_map(|p| p.port.and_then(|number| u16::try_from(number).ok()).filter(|number| *number > 0))
            .collect();
        for endpoint in slice.endpoints.iter().flatten() {
            let (Some(state), Some(address)) = (state(endpoint), address(endpoint)) else { continue };
            for port in &ports {
                let entry = found.entry(SocketAddr::new(address, *port)).or_insert(state);
                *entry = state.min(*entry);
            }
        }
    }
    found.into_iter().map(|(address, state)| ir::Endpoint { address, state }).collect()
}

/// All addresses of an endpoint are fungible, and the API tells clients to use the first.
fn address(endpoint: &Endpoint) -> Option<IpAddr> {
    endpoint.addresses.first().and_then(|text| text.parse().ok())
}

/// Conditions left out are the optimistic ones; a Service's `publishNotReadyAddresses` shows as `ready`.
fn state(endpoint: &Endpoint) -> Option<EndpointState> {
    let conditions = endpoint.conditions.as_ref();
    let ready = conditions.and_then(|c| c.ready).unwrap_or(true);
    let serving = conditions.and_then(|c| c.serving).unwrap_or(ready);
    let terminating = conditions.and_then(|c| c.terminating).unwrap_or(false);
    match (ready, serving && terminating) {
        (true, _) => Some(EndpointState::Ready),
        (false, true) => Some(EndpointState::Draining),
        (false, false) => None,
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::discovery::v1::{EndpointConditions, EndpointPort};

    use super::*;

    fn check_state(
        ready: Option<bool>,
        serving: Option<bool>,
        terminating: Option<bool>,
        want: Option<EndpointState>,
    ) {
        let conditions = EndpointConditions { ready, serving, terminating };
        let endpoint = Endpoint { conditions: Some(conditions), ..Endpoint::default() };
        assert_eq!(state(&endpoint), want, "{ready:?} {serving:?} {terminating:?}");
    }

    #[test]
    fn states_of_endpoints() {
        use EndpointState::{Draining, Ready};
        check_state(None, None, None, Some(Ready));
        check_state(Some(true), Some(false), Some(true), Some(Ready));
        check_state(Some(false), Some(true), Some(true), Some(Draining));
        check_state(Some(false), Some(true), None, None);
        check_state(Some(false), None, Some(true), None);
    }

    #[test]
    fn the_better_state_of_an_address_counts_and_names_must_match() {
        let port = |name: Option<&str>, number| EndpointPort {
            name: name.map(str::to_owned),
            port: Some(number),
            ..EndpointPort::default()
        };
        let slice = |kind: &str, address: &str, ready, ports| EndpointSlice {
            address_type: kind.to_owned(),
            endpoints: Some(vec![Endpoint {
                addresses: vec![address.to_owned()],
                conditions: Some(EndpointConditions {
                    ready: Some(ready),
                    serving: Some(true),
                    terminating: Some(!ready),
                }),
                ..Endpoint::default()
            }]),
            ports: Some(ports),
            ..EndpointSlice::default()
        };
        let slices = [
            slice("IPv4", "192.0.2.1", false, vec![port(Some("http"), 8080), port(Some("other"), 1)]),
            slice("IPv4", "192.0.2.1", true, vec![port(Some("http"), 8080)]),
            slice("IPv6", "2001:db8::1", false, vec![port(Some("http"), 8080)]),
            slice("FQDN", "a.test", true, vec![port(Some("http"), 8080)]),
            slice("IPv4", "192.0.2.2", true, vec![port(None, 8080)]),
        ];
        let service_port = ServicePort { name: Some("http".to_owned()), port: 80, ..ServicePort::default() };
        let got = endpoints(slices.iter(), &service_port, Proto::Tcp);
        let got: Vec<_> = got.iter().map(|e| (e.address.to_string(), e.state)).collect();
        let want = [
            ("192.0.2.1:8080".to_owned(), EndpointState::Ready),
            ("[2001:db8::1]:8080".to_owned(), EndpointState::Draining),
        ];
        assert_eq!(got, want);
    }
}
