//! From one snapshot to the next: what arrived since the last commit, applied so that only what differs is new.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use gateway_common::ir::{
    Backend, Certificate, Gateway as GatewayIr, GatewayId, Key, PortProtocol, Problem, Resource, Route,
};

use super::{Gateway, L4, Port, Snapshot};

/// Updates that wait for their commit. The last word on a key counts.
#[derive(Default)]
pub struct Pending {
    changes: BTreeMap<Key, Option<Resource>>,
}

/// What a commit made.
pub struct Applied {
    pub snapshot: Snapshot,
    /// What could not be used; the rest is served.
    pub problems: Vec<Problem>,
}

impl Pending {
    pub fn update(&mut self, upsert: Vec<Resource>, remove: Vec<Key>) {
        self.changes.extend(remove.into_iter().map(|key| (key, None)));
        self.changes.extend(upsert.into_iter().map(|resource| (resource.key(), Some(resource))));
    }

    /// The snapshot after these changes. `full`: what they do not name is gone.
    pub fn commit(self, held: &Snapshot, generation: u64, full: bool) -> Applied {
        let mut changes = self.changes;
        if full {
            for key in held.keys() {
                changes.entry(key).or_insert(None);
            }
        }
        let mut next = Build { snapshot: held.clone(), touched: BTreeSet::new() };
        next.snapshot.generation = generation;
        let mut gateways = BTreeMap::new();
        for (key, change) in changes {
            match (key, change) {
                (Key::Gateway(id), change) => {
                    gateways.insert(id, change);
                }
                (_, Some(Resource::Route(route))) => next.set_route(route),
                (_, Some(Resource::Backend(backend))) => next.set_backend(backend),
                (_, Some(Resource::Certificate(certificate))) => next.set_certificate(certificate),
                (_, Some(Resource::Gateway(_))) => {}
                (Key::Route(id), None) => {
                    let old = next.snapshot.routes.remove(&id);
                    next.touch(old.as_deref());
                }
                (Key::Backend(id), None) => {
                    next.snapshot.backends.remove(&id);
                }
                (Key::Certificate(id), None) => {
                    next.snapshot.certificates.remove(&id);
                }
            }
        }
        for (id, change) in gateways {
            next.set_gateway(id, change);
        }
        next.rebuild_touched();
        Applied { snapshot: next.snapshot, problems: Vec::new() }
    }
}

struct Build {
    snapshot: Snapshot,
    /// Ports whose routes changed.
    touched: BTreeSet<(GatewayId, u16)>,
}

impl Build {
    fn touch(&mut self, route: Option<&Route>) {
        let attachments = route.iter().flat_map(|route| &route.attachments);
        self.touched.extend(attachments.map(|at| (at.gateway.clone(), at.port)));
    }

    fn set_route(&mut self, route: Route) {
        let old = self.snapshot.routes.get(&route.id).cloned();
        if old.as_deref() == Some(&route) {
            return;
        }
        self.touch(old.as_deref());
        self.touch(Some(&route));
        self.snapshot.routes.insert(route.id.clone(), Arc::new(route));
    }

    fn set_backend(&mut self, backend: Backend) {
        if self.snapshot.backends.get(&backend.id).map(|held| &**held) != Some(&backend) {
            self.snapshot.backends.insert(backend.id.clone(), Arc::new(backend));
        }
    }

    fn set_certificate(&mut self, certificate: Certificate) {
        if self.snapshot.certificates.get(&certificate.id).map(|held| &**held) != Some(&certificate) {
            self.snapshot.certificates.insert(certificate.id.clone(), Arc::new(certificate));
        }
    }

    fn set_gateway(&mut self, id: GatewayId, change: Option<Resource>) {
        let Some(Resource::Gateway(new)) = change else {
            self.snapshot.gateways.remove(&id);
            return;
        };
        let old = self.snapshot.gateways.get(&id).cloned();
        if old.as_ref().is_some_and(|old| *old.ir == new) {
            return;
        }
        let ports = new.ports.iter().map(|port| {
            let held = old.iter().flat_map(|old| &old.ports).find(|held| held.ir == *port);
            held.cloned().unwrap_or_else(|| self.port(&new, port.clone()))
        });
        let ports = ports.collect();
        let settings = match &old {
            Some(old) if *old.settings == new.settings => old.settings.clone(),
            Some(_) | None => Arc::new(new.settings.clone()),
        };
        let open = old.as_ref().map(|old| old.open.clone()).unwrap_or_default();
        let gateway = Gateway { id: id.clone(), settings, ports, open, ir: Arc::new(new) };
        self.snapshot.gateways.insert(id, Arc::new(gateway));
    }

    fn rebuild_touched(&mut self) {
        for (id, number) in std::mem::take(&mut self.touched) {
            let Some(old) = self.snapshot.gateways.get(&id).cloned() else { continue };
            let ports = old.ports.iter().map(|port| {
                if port.ir.port == number { self.port(&old.ir, port.ir.clone()) } else { port.clone() }
            });
            let gateway = Gateway {
                id: id.clone(),
                settings: old.settings.clone(),
                ports: ports.collect(),
                open: old.open.clone(),
                ir: old.ir.clone(),
            };
            self.snapshot.gateways.insert(id, Arc::new(gateway));
        }
    }

    fn port(&self, gateway: &GatewayIr, port: gateway_common::ir::Port) -> Arc<Port> {
        let udp = port.protocol == PortProtocol::Udp;
        let l4 = L4::new(&gateway.id, port.port, udp, self.snapshot.routes.values());
        let counters = &self.snapshot.metrics;
        let listeners = port.listeners.iter().map(|listener| counters.listener(&gateway.id, &listener.name));
        Arc::new(Port {
            metrics: counters.port(&gateway.id, port.port, port.protocol),
            listener_metrics: listeners.collect(),
            l4,
            ir: port,
        })
    }
}

impl Snapshot {
    fn keys(&self) -> impl Iterator<Item = Key> {
        let gateways = self.gateways.keys().cloned().map(Key::Gateway);
        let routes = self.routes.keys().cloned().map(Key::Route);
        let backends = self.backends.keys().cloned().map(Key::Backend);
        let certificates = self.certificates.keys().cloned().map(Key::Certificate);
        gateways.chain(routes).chain(backends).chain(certificates)
    }
}
