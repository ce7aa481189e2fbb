//! A route's reference to a backend.

use gateway_common::abi::Proto;
use gateway_common::ir::{BackendId, ProxyProtocolOut};

use super::backend::{self, BackendKey};
use super::condition::{Problem, Reason};
use super::grant;
use super::rules::Rules;
use crate::crds::gateway_parameters::Parameters;
use crate::object::{Kind, NsName};

/// The fields that every kind of reference has.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Target {
    pub(super) group: Option<String>,
    pub(super) kind: Option<String>,
    pub(super) name: String,
    pub(super) namespace: Option<String>,
    pub(super) port: Option<i32>,
}

macro_rules! from {
    ($($spec:ty),* $(,)?) => {$(
        impl From<&$spec> for Target {
            fn from(spec: &$spec) -> Self {
                Self {
                    group: spec.group.clone(),
                    kind: spec.kind.clone(),
                    name: spec.name.clone(),
                    namespace: spec.namespace.clone(),
                    port: spec.port,
                }
            }
        }
    )*};
}

from!(
    crate::api::httproutes::HttpRouteRulesBackendRefs,
    crate::api::httproutes::HttpRouteRulesFiltersRequestMirrorBackendRef,
    crate::api::httproutes::HttpRouteRulesBackendRefsFiltersRequestMirrorBackendRef,
    crate::api::tlsroutes::TlsRouteRulesBackendRefs,
    crate::api::tcproutes::TcpRouteRulesBackendRefs,
    crate::api::udproutes::UdpRouteRulesBackendRefs,
);

/// The backend, which the rules then use; None: its share is answered with an error, and `ResolvedRefs` says why.
pub(super) fn resolve(rules: &mut Rules<'_, '_>, field: &str, target: &Target) -> Option<BackendId> {
    match find(rules, target) {
        Ok(key) => {
            let id = key.id();
            rules.backends.insert(key);
            Some(id)
        }
        Err(problem) => {
            rules.unresolved.push(Problem { message: format!("{field}: {}", problem.message), ..problem });
            None
        }
    }
}

fn find(rules: &mut Rules<'_, '_>, target: &Target) -> Result<BackendKey, Problem> {
    let group = target.group.as_deref().unwrap_or_default();
    let kind = target.kind.as_deref().unwrap_or("Service");
    if !group.is_empty() || kind != "Service" {
        return Err(Problem::new(
            Reason::InvalidKind,
            format!(
                "kind {kind} of group {group:?} is not supported; use a Service of the core group (\"\")"
            ),
        ));
    }
    let service = NsName::new(target.namespace.as_deref().unwrap_or(rules.namespace), &target.name);
    if !grant::permits(rules.lookup, rules.kind, rules.namespace, Kind::Service, &service) {
        let remedy = grant::remedy(rules.kind, rules.namespace, Kind::Service, &service);
        return Err(Problem::new(Reason::RefNotPermitted, remedy));
    }
    let not_found = |message| Problem::new(Reason::BackendNotFound, message);
    let Some(object) = rules.lookup.service(service.clone()) else {
        return Err(not_found(format!("Service {service} does not exist")));
    };
    if object.spec.as_ref().and_then(|spec| spec.type_.as_deref()) == Some("ExternalName") {
        return Err(not_found(format!(
            "Service {service} is of type ExternalName, which is not supported; use one with a selector or with EndpointSlices"
        )));
    }
    let Some(number) = target.port else {
        return Err(not_found(format!("port is missing; name a port of Service {service}")));
    };
    let number = u16::try_from(number).unwrap_or_default();
    let proto = rules.proto();
    let Some(port) = backend::port(object, number, proto) else {
        return Err(no_port(object, &service, number, rules.kind));
    };
    if rules.kind == Kind::HttpRoute
        && let Some(name) = backend::wants_tls(port)
    {
        return Err(Problem::new(
            Reason::UnsupportedProtocol,
            format!(
                "appProtocol {name} of port {number} of Service {service} wants TLS from the proxy, which is not supported; serve it without TLS (http, kubernetes.io/ws), or route it with a TLSRoute"
            ),
        ));
    }
    let proxy_protocol = rules.proxy_protocol(&service, number, proto)?;
    Ok(BackendKey { service, port: number, proto, proxy_protocol })
}

fn no_port(service: &k8s_openapi::api::core::v1::Service, name: &NsName, number: u16, kind: Kind) -> Problem {
    let other = backend::ports(service).find(|port| port.port == i32::from(number));
    if let Some(other) = other {
        let protocol = other.protocol.as_deref().unwrap_or("TCP");
        return Problem::new(
            Reason::UnsupportedProtocol,
            format!(
                "port {number} of Service {name} has protocol {protocol}, which routes of kind {kind} cannot use"
            ),
        );
    }
    let ports: Vec<_> = backend::ports(service).map(|port| port.port.to_string()).collect();
    let ports = if ports.is_empty() { "none".to_owned() } else { ports.join(", ") };
    Problem::new(Reason::BackendNotFound, format!("Service {name} has no port {number}; its ports: {ports}"))
}

impl Rules<'_, '_> {
    const fn proto(&self) -> Proto {
        if matches!(self.kind, Kind::UdpRoute) { Proto::Udp } else { Proto::Tcp }
    }

    /// What the parameters of the Gateways say about the Service; the first that says anything counts, because a
    /// header is a property of the server behind it.
    fn proxy_protocol(
        &self,
        service: &NsName,
        port: u16,
        proto: Proto,
    ) -> Result<Option<ProxyProtocolOut>, Problem> {
        let said = |parameters: &&Parameters| parameters.backend_proxy_protocol(service, port);
        match self.parameters.iter().find_map(said) {
            Some((ProxyProtocolOut::V1, field)) if proto == Proto::Udp => Err(Problem::new(
                Reason::UnsupportedProtocol,
                format!(
                    "{field} is V1, which has no form for UDP, and port {port} of Service {service} is one; write V2, \
                     which goes before each datagram, or remove it"
                ),
            )),
            said => Ok(said.map(|(version, _)| version)),
        }
    }
}
