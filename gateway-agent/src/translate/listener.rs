//! One listener of a Gateway.

use std::collections::BTreeMap;

use gateway_common::abi::Proto;
use gateway_common::ir::{self, CertificateId, Hostname, PortProtocol};

use super::certificate;
use super::condition::{Problem, Reason};
use super::grant::{self, GATEWAY_GROUP};
use super::hostname;
use super::lookup::Lookup;
use super::selector::Selector;
use crate::api::gateways::{
    GatewayListeners as Spec, GatewayListenersAllowedRoutesNamespacesFrom as From,
    GatewayListenersTlsCertificateRefs as CertificateRef, GatewayListenersTlsMode as Mode,
};
use crate::object::{Kind, NsName};

#[derive(Clone, PartialEq, Debug)]
pub(super) struct Listener {
    pub(super) name: String,
    /// 0 when the spec's is none.
    pub(super) port: u16,
    /// None: one that we do not know.
    pub(super) protocol: Option<Protocol>,
    /// None: every name.
    pub(super) hostname: Option<Hostname>,
    /// Kinds of routes that may attach.
    pub(super) kinds: Vec<Kind>,
    pub(super) namespaces: Namespaces,
    /// Usable certificates, in the order of the spec.
    pub(super) certificates: Vec<CertificateId>,
    /// Why it is not accepted.
    pub(super) refused: Option<Problem>,
    /// Why it cannot be told apart from another.
    pub(super) conflict: Option<Problem>,
    /// What it refers to in vain.
    pub(super) unresolved: Option<Problem>,
    /// With which other listeners its names overlap.
    pub(super) overlap: Option<String>,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Protocol {
    Http,
    Https,
    TlsPassthrough,
    TlsTerminate,
    Tcp,
    Udp,
}

/// Namespaces whose routes may attach.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Namespaces {
    All,
    Same,
    Selected(Selector),
}

impl Protocol {
    pub(super) const fn proto(self) -> Proto {
        match self {
            Self::Udp => Proto::Udp,
            Self::Http | Self::Https | Self::TlsPassthrough | Self::TlsTerminate | Self::Tcp => Proto::Tcp,
        }
    }

    /// Listeners of one port must agree on this.
    pub(super) const fn family(self) -> PortProtocol {
        match self {
            Self::Http => PortProtocol::Http,
            Self::Https | Self::TlsPassthrough | Self::TlsTerminate => PortProtocol::Tls,
            Self::Tcp => PortProtocol::Tcp,
            Self::Udp => PortProtocol::Udp,
        }
    }

    const fn kind(self) -> Kind {
        match self {
            Self::Http | Self::Https => Kind::HttpRoute,
            Self::TlsPassthrough | Self::TlsTerminate => Kind::TlsRoute,
            Self::Tcp => Kind::TcpRoute,
            Self::Udp => Kind::UdpRoute,
        }
    }

    /// As the spec writes it.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Http => "HTTP",
            Self::Https => "HTTPS",
            Self::TlsPassthrough | Self::TlsTerminate => "TLS",
            Self::Tcp => "TCP",
            Self::Udp => "UDP",
        }
    }
}

impl Listener {
    /// Whether the proxy gets it.
    pub(super) fn serves(&self) -> bool {
        self.is_good() && (self.protocol != Some(Protocol::Https) || !self.certificates.is_empty())
    }

    /// Nothing but a certificate is missing.
    pub(super) fn lacks_certificate(&self) -> bool {
        self.is_good() && self.protocol == Some(Protocol::Https) && self.certificates.is_empty()
    }

    fn is_good(&self) -> bool {
        self.refused.is_none() && self.conflict.is_none() && !self.kinds.is_empty()
    }

    pub(super) fn admits(&self, lookup: &mut Lookup<'_>, gateway: &NsName, namespace: &str) -> bool {
        match &self.namespaces {
            Namespaces::All => true,
            Namespaces::Same => gateway.namespace == namespace,
            Namespaces::Selected(selector) => selector.selects(&lookup.namespace_labels(namespace)),
        }
    }

    /// None: not one that is ever served.
    pub(super) fn ir(&self) -> Option<ir::Listener> {
        let protocol = match self.protocol? {
            Protocol::Http => ir::ListenerProtocol::Http,
            Protocol::Https => ir::ListenerProtocol::Https { certificates: self.certificates.clone() },
            Protocol::TlsPassthrough => ir::ListenerProtocol::TlsPassthrough,
            Protocol::TlsTerminate => return None,
            Protocol::Tcp => ir::ListenerProtocol::Tcp,
            Protocol::Udp => ir::ListenerProtocol::Udp,
        };
        Some(ir::Listener { name: self.name.clone(), hostname: self.hostname.clone(), protocol })
    }
}

pub(super) type Certificates = BTreeMap<CertificateId, ir::Certificate>;

/// Reads one listener of the spec; usable certificates go into `certificates`.
pub(super) fn read(
    lookup: &mut Lookup<'_>,
    gateway: &NsName,
    spec: &Spec,
    certificates: &mut Certificates,
) -> Listener {
    let mut refused = Vec::new();
    let mut unresolved = Vec::new();
    let protocol = read_protocol(spec, &mut refused);
    let port = read_port(spec, &mut refused);
    let hostname = read_hostname(spec, protocol, &mut refused);
    if spec.filters.as_ref().is_some_and(|f| f.requests.as_ref().is_some_and(|r| !r.is_empty())) {
        refused.push(unsupported("filters of a listener are not supported; remove filters.requests"));
    }
    let kinds = read_kinds(spec, protocol, &mut unresolved);
    let namespaces = read_namespaces(spec, &mut refused);
    let mut usable = Vec::new();
    if protocol == Some(Protocol::Https) {
        usable = read_certificates(lookup, gateway, spec, certificates, &mut unresolved);
    }
    Listener {
        name: spec.name.clone(),
        port,
        protocol,
        hostname,
        kinds,
        namespaces,
        certificates: usable,
        refused: Problem::join(refused),
        conflict: None,
        unresolved: Problem::join(unresolved),
        overlap: None,
    }
}

fn unsupported(message: impl Into<String>) -> Problem {
    Problem::new(Reason::UnsupportedValue, message)
}

fn read_protocol(spec: &Spec, refused: &mut Vec<Problem>) -> Option<Protocol> {
    let mode = spec.tls.as_ref().map(|tls| tls.mode.as_ref().unwrap_or(&Mode::Terminate));
    match (spec.protocol.as_str(), mode) {
        ("HTTP", _) => Some(Protocol::Http),
        ("HTTPS", Some(Mode::Terminate) | None) => Some(Protocol::Https),
        ("HTTPS", Some(Mode::Passthrough)) => {
            refused.push(unsupported(
                "tls.mode Passthrough does not fit protocol HTTPS; use protocol TLS with a TLSRoute, or mode Terminate",
            ));
            Some(Protocol::Https)
        }
        ("TLS", Some(Mode::Passthrough)) => Some(Protocol::TlsPassthrough),
        ("TLS", Some(Mode::Terminate) | None) => {
            refused.push(unsupported(
                "tls.mode Terminate is not supported for protocol TLS; use mode Passthrough, or protocol HTTPS",
            ));
            Some(Protocol::TlsTerminate)
        }
        ("TCP", _) => Some(Protocol::Tcp),
        ("UDP", _) => Some(Protocol::Udp),
        (other, _) => {
            refused.push(Problem::new(
                Reason::UnsupportedProtocol,
                format!("protocol {other:?} is not supported; use HTTP, HTTPS, TLS, TCP or UDP"),
            ));
            None
        }
    }
}

fn read_port(spec: &Spec, refused: &mut Vec<Problem>) -> u16 {
    match u16::try_from(spec.port) {
        Ok(port) if port > 0 => port,
        Ok(_) | Err(_) => {
            refused.push(Problem::new(
                Reason::PortUnavailable,
                format!("port {} is no port number; use 1 to 65535", spec.port),
            ));
            0
        }
    }
}

fn read_hostname(spec: &Spec, protocol: Option<Protocol>, refused: &mut Vec<Problem>) -> Option<Hostname> {
    let text = spec.hostname.as_deref().filter(|text| !text.is_empty())?;
    if matches!(protocol, Some(Protocol::Tcp | Protocol::Udp)) {
        refused
            .push(unsupported(format!("hostname {text:?} has no meaning for {}; remove it", spec.protocol)));
        return None;
    }
    let hostname = hostname::parse(text);
    if hostname.is_none() {
        refused
            .push(unsupported(format!("hostname {text:?} is no DNS name, with or without a leading \"*.\"")));
    }
    hostname
}

/// What the protocol can carry, cut down to what `allowedRoutes.kinds` names.
fn read_kinds(spec: &Spec, protocol: Option<Protocol>, unresolved: &mut Vec<Problem>) -> Vec<Kind> {
    // What is not served at all carries no kind.
    let Some(protocol) = protocol.filter(|it| *it != Protocol::TlsTerminate) else { return Vec::new() };
    let supported = protocol.kind();
    let wanted = spec.allowed_routes.as_ref().and_then(|allowed| allowed.kinds.as_ref());
    let Some(wanted) = wanted.filter(|kinds| !kinds.is_empty()) else { return vec![supported] };
    let mut kinds = Vec::new();
    for kind in wanted {
        let group = kind.group.as_deref().unwrap_or(GATEWAY_GROUP);
        if group == GATEWAY_GROUP && kind.kind == supported.name() {
            if kinds.is_empty() {
                kinds.push(supported);
            }
        } else {
            unresolved.push(Problem::new(
                Reason::InvalidRouteKinds,
                format!(
                    "allowedRoutes.kinds names {group}/{}, which a listener of protocol {} cannot have; it can have {}",
                    kind.kind,
                    protocol.name(),
                    supported.name()
                ),
            ));
        }
    }
    kinds
}

fn read_namespaces(spec: &Spec, refused: &mut Vec<Problem>) -> Namespaces {
    let policy = spec.allowed_routes.as_ref().and_then(|allowed| allowed.namespaces.as_ref());
    let Some(policy) = policy else { return Namespaces::Same };
    match policy.from {
        None | Some(From::Same) => Namespaces::Same,
        Some(From::All) => Namespaces::All,
        Some(From::Selector) => match policy.selector.as_ref().map(Selector::parse) {
            Some(Ok(selector)) => Namespaces::Selected(selector),
            Some(Err(error)) => {
                refused.push(unsupported(format!("allowedRoutes.namespaces.selector.{error}")));
                Namespaces::Same
            }
            None => {
                refused.push(unsupported(
                    "allowedRoutes.namespaces.selector is missing; from: Selector needs one, {} selects every namespace",
                ));
                Namespaces::Same
            }
        },
    }
}

fn read_certificates(
    lookup: &mut Lookup<'_>,
    gateway: &NsName,
    spec: &Spec,
    certificates: &mut Certificates,
    unresolved: &mut Vec<Problem>,
) -> Vec<CertificateId> {
    let refs = spec.tls.as_ref().and_then(|tls| tls.certificate_refs.as_deref()).unwrap_or_default();
    if refs.is_empty() {
        let message = "tls.certificateRefs is empty; name a Secret of type kubernetes.io/tls";
        unresolved.push(Problem::new(Reason::InvalidCertificateRef, message));
    }
    let mut usable = Vec::new();
    for reference in refs {
        match read_certificate(lookup, gateway, reference) {
            Ok(certificate) => {
                if !usable.contains(&certificate.id) {
                    usable.push(certificate.id.clone());
                }
                certificates.insert(certificate.id.clone(), certificate);
            }
            Err(problem) => unresolved.push(problem),
        }
    }
    usable
}

fn read_certificate(
    lookup: &mut Lookup<'_>,
    gateway: &NsName,
    reference: &CertificateRef,
) -> Result<ir::Certificate, Problem> {
    let invalid = |message| Problem::new(Reason::InvalidCertificateRef, message);
    let group = reference.group.as_deref().unwrap_or_default();
    let kind = reference.kind.as_deref().unwrap_or("Secret");
    if !group.is_empty() || kind != "Secret" {
        return Err(invalid(format!(
            "tls.certificateRefs names {kind} {:?} of group {group:?}; only Secrets of the core group (\"\") are supported",
            reference.name
        )));
    }
    let name = NsName::new(reference.namespace.as_deref().unwrap_or(&gateway.namespace), &reference.name);
    if !grant::permits(lookup, Kind::Gateway, &gateway.namespace, Kind::Secret, &name) {
        let remedy = grant::remedy(Kind::Gateway, &gateway.namespace, Kind::Secret, &name);
        return Err(Problem::new(Reason::RefNotPermitted, remedy));
    }
    match lookup.secret(name.clone()) {
        None => Err(invalid(format!("Secret {name} does not exist"))),
        Some(secret) => certificate::check(&name, secret).map_err(invalid),
    }
}
