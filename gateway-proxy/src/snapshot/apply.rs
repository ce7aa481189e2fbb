//! From one snapshot to the next: what arrived since the last commit, applied so that only what differs is new.

use std::collections::BTreeMap;

use gateway_common::ir::{Key, Problem, Resource};

use super::Snapshot;
use super::build::Build;

/// Updates that wait for their commit. The last word on a key counts.
#[derive(Default)]
pub struct Pending {
    changes: BTreeMap<Key, Option<Resource>>,
}

/// What a commit made.
pub struct Applied {
    pub snapshot: Snapshot,
    /// What cannot be used, old and new; the rest is served.
    pub problems: Vec<Problem>,
}

impl Pending {
    pub fn update(&mut self, upsert: Vec<Resource>, remove: Vec<Key>) {
        self.changes.extend(remove.into_iter().map(|key| (key, None)));
        self.changes.extend(upsert.into_iter().map(|resource| (resource.key(), Some(resource))));
    }

    /// The snapshot after these changes. `full`: what they do not name is gone.
    pub fn commit(mut self, held: &Snapshot, generation: u64, full: bool) -> Applied {
        if full {
            for key in held.keys() {
                self.changes.entry(key).or_insert(None);
            }
        }
        let mut build = Build::new(held, generation);
        let mut gateways = Vec::new();
        for (key, change) in self.changes {
            match (key, change) {
                (_, Some(Resource::Route(route))) => build.set_route(route),
                (_, Some(Resource::Backend(backend))) => build.set_backend(backend),
                (_, Some(Resource::Certificate(certificate))) => build.set_certificate(certificate),
                (_, Some(Resource::Gateway(gateway))) => gateways.push(gateway),
                (Key::Gateway(id), None) => build.remove_gateway(&id),
                (Key::Route(id), None) => build.remove_route(&id),
                (Key::Backend(id), None) => build.remove_backend(&id),
                (Key::Certificate(id), None) => build.remove_certificate(&id),
            }
        }
        // Last: they are built from the routes and certificates.
        for gateway in gateways {
            build.set_gateway(gateway);
        }
        build.finish()
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
