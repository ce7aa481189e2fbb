//! A Gateway of ours: what its spec asks for, before addresses and routes.

use gateway_common::ir::{self, GatewayId, Port, PortProtocol};

use super::address;
use super::condition::{Problem, Reason};
use super::conflict;
use super::listener::{self, Certificates, Listener, Protocol};
use super::lookup::Lookup;
use super::time;
use crate::api::gateways::Gateway;
use crate::crds::gateway_parameters::{self, GatewayParameters, Parameters};
use crate::object::NsName;

const PARAMETERS_GROUP: &str = "gatehouse.dev";
const PARAMETERS_KIND: &str = "GatewayParameters";

#[derive(Clone, PartialEq, Debug)]
pub(super) struct Plan {
    pub(super) id: GatewayId,
    pub(super) name: NsName,
    pub(super) generation: i64,
    pub(super) created: i64,
    /// Why nothing of it is served.
    pub(super) refused: Option<Problem>,
    /// Fields that have no effect yet.
    pub(super) notes: Vec<String>,
    pub(super) parameters: Parameters,
    pub(super) request: address::Request,
    pub(super) listeners: Vec<Listener>,
    pub(super) certificates: Certificates,
}

impl Plan {
    /// Listeners that are served.
    pub(super) fn serving(&self) -> impl Iterator<Item = &Listener> {
        self.listeners.iter().filter(|listener| self.refused.is_none() && listener.serves())
    }

    /// What routes look at; routes are translated again when it changes.
    pub(super) fn looks_alike(&self, other: &Self) -> bool {
        let view = |plan: &Self| -> Vec<_> {
            plan.listeners
                .iter()
                .map(|l| {
                    let serves = plan.refused.is_none() && l.serves();
                    (
                        l.name.clone(),
                        l.port,
                        l.hostname.clone(),
                        l.kinds.clone(),
                        l.namespaces.clone(),
                        serves,
                    )
                })
                .collect()
        };
        self.parameters == other.parameters && view(self) == view(other)
    }

    /// What the giving out of addresses looks at.
    pub(super) fn asks_alike(&self, other: &Self) -> bool {
        (self.created, &self.request, self.refused.is_some())
            == (other.created, &other.request, other.refused.is_some())
    }

    pub(super) fn ir(&self) -> Option<ir::Gateway> {
        if self.refused.is_some() {
            return None;
        }
        let mut ports: Vec<Port> = Vec::new();
        for listener in self.serving() {
            let (Some(protocol), Some(ir)) = (listener.protocol.map(Protocol::family), listener.ir()) else {
                continue;
            };
            match ports.iter_mut().find(|p| p.port == listener.port && p.protocol == protocol) {
                Some(port) => port.listeners.push(ir),
                None => ports.push(Port {
                    port: listener.port,
                    protocol,
                    proxy_protocol: None,
                    listeners: vec![ir],
                }),
            }
        }
        // Its names are not for a wider listener of the port, nor for that one's certificate.
        for listener in self.listeners.iter().filter(|listener| listener.lacks_certificate()) {
            let beside = |port: &&mut Port| port.port == listener.port && port.protocol == PortProtocol::Tls;
            if let Some((port, ir)) = ports.iter_mut().find(beside).zip(listener.ir()) {
                port.listeners.push(ir);
            }
        }
        for port in &mut ports {
            if port.protocol != PortProtocol::Udp {
                let names = port.listeners.iter().map(|l| l.name.as_str());
                port.proxy_protocol = self.parameters.proxy_protocol(port.port, names).cloned();
            }
        }
        ports.sort_by_key(|port| (port.protocol, port.port));
        Some(ir::Gateway { id: self.id.clone(), ports, settings: self.parameters.settings.clone() })
    }
}

/// None: not a Gateway of a class of ours.
pub(super) fn plan(
    lookup: &mut Lookup<'_>,
    controller: &str,
    name: &NsName,
    gateway: &Gateway,
) -> Option<Plan> {
    let class = lookup.class(&gateway.spec.gateway_class_name)?;
    if class.spec.controller_name != controller {
        return None;
    }
    let mut certificates = Certificates::new();
    let mut listeners: Vec<_> = gateway
        .spec
        .listeners
        .iter()
        .map(|spec| listener::read(lookup, name, spec, &mut certificates))
        .collect();
    refuse_client_validation(gateway, &mut listeners);
    conflict::mark(&mut listeners);
    let mut refused: Vec<_> = super::class::refusal(class).into_iter().collect();
    if let Some(problem) = &mut refused.first_mut() {
        let class = &gateway.spec.gateway_class_name;
        problem.message = format!("GatewayClass {class} is not accepted: {}", problem.message);
    }
    let parameters = match parameters(lookup, name, gateway, &listeners) {
        Ok(parameters) => parameters,
        Err(message) => {
            refused.push(Problem::new(Reason::InvalidParameters, message));
            Parameters::default()
        }
    };
    let request = match address::Request::read(gateway, &listeners) {
        Ok(request) => request,
        Err(problem) => {
            refused.push(problem);
            address::Request::default()
        }
    };
    drop_unused(&mut certificates, &listeners);
    Some(Plan {
        id: id(name),
        name: name.clone(),
        generation: gateway.metadata.generation.unwrap_or_default(),
        created: time::created(&gateway.metadata),
        refused: Problem::join(refused),
        notes: notes(gateway),
        parameters,
        request,
        listeners,
        certificates,
    })
}

pub(super) fn id(name: &NsName) -> GatewayId {
    GatewayId::new(name.to_string())
}

fn drop_unused(certificates: &mut Certificates, listeners: &[Listener]) {
    certificates.retain(|id, _| listeners.iter().any(|l| l.serves() && l.certificates.contains(id)));
}

fn parameters(
    lookup: &mut Lookup<'_>,
    gateway: &NsName,
    object: &Gateway,
    listeners: &[Listener],
) -> Result<Parameters, String> {
    let reference = object.spec.infrastructure.as_ref().and_then(|i| i.parameters_ref.as_ref());
    let Some(reference) = reference else { return Ok(Parameters::default()) };
    if reference.group != PARAMETERS_GROUP || reference.kind != PARAMETERS_KIND {
        return Err(format!(
            "spec.infrastructure.parametersRef names {}/{}; only {PARAMETERS_GROUP}/{PARAMETERS_KIND} is supported",
            reference.group, reference.kind
        ));
    }
    let name = NsName::new(&gateway.namespace, &reference.name);
    match lookup.parameters(name.clone()) {
        None => Err(format!(
            "{PARAMETERS_KIND} {name}, which spec.infrastructure.parametersRef names, does not exist; it must be in the Gateway's namespace"
        )),
        Some(object) => checked(&name, object, listeners),
    }
}

fn checked(name: &NsName, object: &GatewayParameters, listeners: &[Listener]) -> Result<Parameters, String> {
    let say = |errors: Vec<crate::crds::field_error::FieldError>| {
        let errors: Vec<_> = errors.iter().map(ToString::to_string).collect();
        format!("{PARAMETERS_KIND} {name}: {}", errors.join("; "))
    };
    let parameters = gateway_parameters::validate(object).map_err(say)?;
    let over_tcp: Vec<_> = listeners
        .iter()
        .filter(|l| l.protocol.is_some_and(|p| p != Protocol::Udp))
        .map(|l| (l.name.as_str(), l.port))
        .collect();
    let errors = parameters.check_listeners(&over_tcp);
    if errors.is_empty() { Ok(parameters) } else { Err(say(errors)) }
}

/// A listener that should ask for client certificates must not serve without.
fn refuse_client_validation(gateway: &Gateway, listeners: &mut [Listener]) {
    let Some(frontend) = gateway.spec.tls.as_ref().and_then(|tls| tls.frontend.as_ref()) else { return };
    for listener in listeners.iter_mut().filter(|l| l.protocol == Some(Protocol::Https)) {
        let per_port = frontend.per_port.iter().flatten().find(|p| p.port == i32::from(listener.port));
        let field = match per_port {
            Some(port) => port.tls.validation.is_some().then_some("perPort"),
            None => frontend.default.validation.is_some().then_some("default"),
        };
        if let Some(field) = field {
            let message = format!(
                "validation of client certificates is not supported; remove spec.tls.frontend.{field} of the Gateway"
            );
            let problem = Problem::new(Reason::UnsupportedValue, message);
            listener.refused = Problem::join(listener.refused.take().into_iter().chain([problem]));
        }
    }
}

fn notes(gateway: &Gateway) -> Vec<String> {
    let spec = &gateway.spec;
    let from_none = |allowed: &crate::api::gateways::GatewayAllowedListeners| {
        use crate::api::gateways::GatewayAllowedListenersNamespacesFrom as From;
        allowed.namespaces.as_ref().is_none_or(|n| matches!(n.from, None | Some(From::None)))
    };
    let default_scope = spec.default_scope.as_ref();
    let ignored = [
        (spec.tls.as_ref().is_some_and(|tls| tls.backend.is_some()), "spec.tls.backend"),
        (spec.allowed_listeners.as_ref().is_some_and(|a| !from_none(a)), "spec.allowedListeners"),
        (
            default_scope.is_some_and(|s| *s != crate::api::gateways::GatewayDefaultScope::None),
            "spec.defaultScope",
        ),
        (
            spec.addresses.iter().flatten().any(|address| address.routability.is_some()),
            "spec.addresses[].routability",
        ),
    ];
    ignored
        .iter()
        .filter(|(set, _)| *set)
        .map(|(_, field)| format!("{field} is not supported and has no effect"))
        .collect()
}
