//! A snapshot under construction.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use gateway_common::ir::{
    self, Attachment, BackendId, CertificateId, GatewayId, Key, ListenerProtocol, PortProtocol, Problem,
    RouteId,
};

use super::apply::Applied;
use super::{Backend, Certificate, Gateway, L4, Listener, Port, Route, Snapshot};
use tracing::error;

use crate::path;
use crate::route::{HostMap, HttpRoute, Router};
use crate::tls;

pub(super) struct Build {
    snapshot: Snapshot,
    /// Routes that changed, as they were and as they are, by the port that they attach to.
    changed: BTreeMap<(GatewayId, u16), Vec<Change>>,
    certificates: BTreeSet<CertificateId>,
}

#[derive(Clone)]
struct Change {
    old: Option<Arc<Route>>,
    new: Option<Arc<Route>>,
}

impl Build {
    pub(super) fn new(held: &Snapshot, generation: u64) -> Self {
        Self {
            snapshot: Snapshot { generation, ..held.clone() },
            changed: BTreeMap::new(),
            certificates: BTreeSet::new(),
        }
    }

    pub(super) fn set_route(&mut self, ir: ir::Route) {
        let old = self.snapshot.routes.get(&ir.id).cloned();
        if old.as_ref().is_some_and(|old| *old.ir == ir) {
            return;
        }
        let mut problems = Vec::new();
        let http = HttpRoute::compile(&ir, &mut problems);
        self.set_problems(Key::Route(ir.id.clone()), problems);
        let new = Arc::new(Route { ir: Arc::new(ir), http });
        self.snapshot.routes.insert(new.ir.id.clone(), new.clone());
        self.change_route(Change { old, new: Some(new) });
    }

    pub(super) fn remove_route(&mut self, id: &RouteId) {
        let old = self.snapshot.routes.remove(id);
        self.snapshot.problems.remove(&Key::Route(id.clone()));
        self.change_route(Change { old, new: None });
    }

    pub(super) fn set_backend(&mut self, ir: ir::Backend) {
        if self.snapshot.backend(&ir.id).is_some_and(|held| held.ir == ir) {
            return;
        }
        let metrics = self.snapshot.metrics.backend(&ir.id);
        self.snapshot.backends.insert(ir.id.clone(), Arc::new(Backend { ir, metrics }));
    }

    pub(super) fn remove_backend(&mut self, id: &BackendId) {
        self.snapshot.backends.remove(id);
    }

    pub(super) fn set_certificate(&mut self, ir: ir::Certificate) {
        if self.snapshot.certificates.get(&ir.id).is_some_and(|held| held.ir == ir) {
            return;
        }
        let parsed = tls::certificate::parse(&ir);
        let problems = parsed.as_ref().err().map(ToString::to_string);
        self.set_problems(Key::Certificate(ir.id.clone()), problems.into_iter().collect());
        let key = parsed.ok().map(Arc::new);
        self.certificates.insert(ir.id.clone());
        self.snapshot.certificates.insert(ir.id.clone(), Arc::new(Certificate { ir, key }));
    }

    pub(super) fn remove_certificate(&mut self, id: &CertificateId) {
        self.snapshot.certificates.remove(id);
        self.snapshot.problems.remove(&Key::Certificate(id.clone()));
        self.certificates.insert(id.clone());
    }

    pub(super) fn remove_gateway(&mut self, id: &GatewayId) {
        self.snapshot.gateways.remove(id);
    }

    pub(super) fn set_gateway(&mut self, ir: ir::Gateway) {
        let old = self.snapshot.gateways.get(&ir.id).cloned();
        if old.as_ref().is_some_and(|old| *old.ir == ir) {
            return;
        }
        let ports = ir.ports.iter().map(|port| {
            let held = old.iter().flat_map(|old| &old.ports).find(|held| *held.ir == *port);
            held.cloned().unwrap_or_else(|| self.new_port(&ir.id, port))
        });
        let ports = ports.collect();
        let settings = match &old {
            Some(old) if *old.settings == ir.settings => old.settings.clone(),
            Some(_) | None => Arc::new(ir.settings.clone()),
        };
        let gateway = Gateway {
            id: ir.id.clone(),
            unmatched: self.snapshot.metrics.listener(&ir.id, ""),
            path_policy: path::Policy {
                merge_slashes: settings.merge_slashes,
                escaped_slashes: settings.escaped_slashes,
            },
            settings,
            ports,
            open: old.map(|old| old.open.clone()).unwrap_or_default(),
            ir: Arc::new(ir),
        };
        self.snapshot.gateways.insert(gateway.id.clone(), Arc::new(gateway));
    }

    pub(super) fn finish(mut self) -> Applied {
        // A port that is new has its routes already; adding a route twice changes nothing.
        for ((gateway, number), changes) in std::mem::take(&mut self.changed) {
            self.replace_ports(&gateway, |build, port| {
                (port.number == number).then(|| build.changed_port(&gateway, port, &changes))
            });
        }
        let certificates = std::mem::take(&mut self.certificates);
        if !certificates.is_empty() {
            for gateway in self.snapshot.gateways.keys().cloned().collect::<Vec<_>>() {
                self.replace_ports(&gateway, |build, port| {
                    let uses = uses_certificates(&port.ir, &certificates);
                    uses.then(|| Port { tls: build.tls_server(&port.ir), ..port.share() })
                });
            }
        }
        let each = self.snapshot.problems.iter();
        let problems = each.flat_map(|(key, messages)| {
            messages.iter().map(|message| Problem { key: key.clone(), message: message.clone() })
        });
        Applied { problems: problems.collect(), snapshot: self.snapshot }
    }

    fn set_problems(&mut self, key: Key, problems: Vec<String>) {
        if problems.is_empty() {
            self.snapshot.problems.remove(&key);
        } else {
            self.snapshot.problems.insert(key, problems);
        }
    }

    fn change_route(&mut self, change: Change) {
        let routes = [&change.old, &change.new];
        let attachments = routes.into_iter().flatten().flat_map(|route| &route.ir.attachments);
        let ports: BTreeSet<_> = attachments.map(|at| (at.gateway.clone(), at.port)).collect();
        for port in ports {
            self.changed.entry(port).or_default().push(change.clone());
        }
    }

    /// Replaces the ports of one Gateway for which `replace` gives another.
    fn replace_ports(&mut self, id: &GatewayId, replace: impl Fn(&Self, &Port) -> Option<Port>) {
        let Some(old) = self.snapshot.gateways.get(id).cloned() else { return };
        let mut ports = old.ports.clone();
        let mut replaced = false;
        for port in &mut ports {
            if let Some(new) = replace(self, port) {
                *port = Arc::new(new);
                replaced = true;
            }
        }
        if replaced {
            let gateway = Gateway {
                id: old.id.clone(),
                settings: old.settings.clone(),
                path_policy: old.path_policy,
                ports,
                open: old.open.clone(),
                unmatched: old.unmatched.clone(),
                ir: old.ir.clone(),
            };
            self.snapshot.gateways.insert(id.clone(), Arc::new(gateway));
        }
    }

    fn new_port(&self, gateway: &GatewayId, ir: &ir::Port) -> Arc<Port> {
        let mut hosts = HostMap::default();
        for (index, listener) in ir.listeners.iter().enumerate() {
            hosts.insert(listener.hostname.as_ref(), index);
        }
        let listeners = ir.listeners.iter().map(|listener| Listener {
            name: Arc::from(listener.name.as_str()),
            protocol: listener.protocol.clone(),
            router: Router::default(),
            metrics: self.snapshot.metrics.listener(gateway, &listener.name),
        });
        let mut listeners: Vec<_> = listeners.collect();
        for route in self.snapshot.routes.values() {
            each_attachment(gateway, ir.port, &mut listeners, route, Router::insert);
        }
        Arc::new(Port {
            number: ir.port,
            protocol: ir.protocol,
            proxy_protocol: ir.proxy_protocol.clone(),
            listeners,
            hosts,
            tls: self.tls_server(ir),
            l4: self.l4(gateway, ir.port, ir.protocol),
            metrics: self.snapshot.metrics.port(gateway, ir.port, ir.protocol),
            ir: Arc::new(ir.clone()),
        })
    }

    fn changed_port(&self, gateway: &GatewayId, port: &Port, changes: &[Change]) -> Port {
        let mut listeners = port.listeners.clone();
        // All removals first: two routes may have swapped what they match.
        for old in changes.iter().filter_map(|change| change.old.as_ref()) {
            each_attachment(gateway, port.number, &mut listeners, old, Router::remove);
        }
        for new in changes.iter().filter_map(|change| change.new.as_ref()) {
            each_attachment(gateway, port.number, &mut listeners, new, Router::insert);
        }
        let forwards =
            changes.iter().any(|change| [&change.old, &change.new].into_iter().flatten().any(is_l4));
        let l4 = if forwards { self.l4(gateway, port.number, port.protocol) } else { port.l4.clone() };
        Port { listeners, l4, ..port.share() }
    }

    fn l4(&self, gateway: &GatewayId, number: u16, protocol: PortProtocol) -> L4 {
        let routes = self.snapshot.routes.values().map(|route| &route.ir);
        L4::new(gateway, number, protocol == PortProtocol::Udp, routes)
    }

    fn tls_server(&self, ir: &ir::Port) -> Option<Arc<tls::Server>> {
        let terminates = ir.listeners.iter().any(|listener| !certificates(listener).is_empty());
        let key = |id: &CertificateId| self.snapshot.certificates.get(id)?.key.clone();
        if !terminates {
            return None;
        }
        match tls::Server::new(ir, key) {
            Ok(server) => Some(Arc::new(server)),
            Err(error) => {
                error!(port = ir.port, %error, "TLS unusable");
                None
            }
        }
    }
}

impl Port {
    /// Another one like this, sharing what it can.
    fn share(&self) -> Self {
        Self {
            number: self.number,
            protocol: self.protocol,
            proxy_protocol: self.proxy_protocol.clone(),
            listeners: self.listeners.clone(),
            hosts: self.hosts.clone(),
            tls: self.tls.clone(),
            l4: self.l4.clone(),
            metrics: self.metrics.clone(),
            ir: self.ir.clone(),
        }
    }
}

/// Changes the routers of the listeners that `route` attaches to.
fn each_attachment(
    gateway: &GatewayId,
    number: u16,
    listeners: &mut [Listener],
    route: &Route,
    change: impl Fn(&mut Router, &HttpRoute, &[ir::Hostname]),
) {
    let Some(http) = &route.http else { return };
    let here = |at: &&Attachment| at.gateway == *gateway && at.port == number;
    for at in route.ir.attachments.iter().filter(here) {
        for listener in listeners.iter_mut().filter(|listener| *listener.name == *at.listener) {
            change(&mut listener.router, http, &at.hostnames);
        }
    }
}

fn is_l4(route: &Arc<Route>) -> bool {
    route.http.is_none()
}

fn certificates(listener: &ir::Listener) -> &[CertificateId] {
    match &listener.protocol {
        ListenerProtocol::Https { certificates } => certificates,
        ListenerProtocol::Http
        | ListenerProtocol::TlsPassthrough
        | ListenerProtocol::Tcp
        | ListenerProtocol::Udp => &[],
    }
}

fn uses_certificates(port: &ir::Port, changed: &BTreeSet<CertificateId>) -> bool {
    port.listeners.iter().flat_map(certificates).any(|id| changed.contains(id))
}
