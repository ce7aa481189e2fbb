//! Whose status must be computed again: a change costs what it touches.

use std::collections::{BTreeMap, BTreeSet};

use gateway_common::ir::{GatewayId, Key, SocketId};

use crate::desired::Outcomes;
use crate::object::{Kind, ObjectKey};
use crate::translate::route;
use crate::translate::verdict::{GatewayVerdict, Verdicts};

/// Objects whose status may be another than when they were last taken.
#[derive(Default, Debug)]
pub struct Due {
    keys: BTreeSet<ObjectKey>,
    outcomes: Outcomes,
}

impl Due {
    /// These objects or their verdicts are others now.
    pub fn note(&mut self, keys: impl IntoIterator<Item = ObjectKey>) {
        self.keys.extend(keys.into_iter().filter(|key| key.kind.has_status()));
    }

    /// All that were noted, and those that the difference between these outcomes and the last ones touches.
    pub fn take(&mut self, verdicts: &Verdicts, outcomes: &Outcomes) -> BTreeSet<ObjectKey> {
        let mut keys = std::mem::take(&mut self.keys);
        if self.outcomes != *outcomes {
            let news = News::between(&self.outcomes, outcomes);
            keys.extend(news.routes());
            let touched = verdicts.gateways.iter().filter(|(_, gateway)| news.touches(gateway));
            keys.extend(touched.map(|(name, _)| ObjectKey { kind: Kind::Gateway, name: name.clone() }));
            self.outcomes.clone_from(outcomes);
        }
        keys
    }
}

/// What two outcomes say differently.
struct News<'a> {
    proxy: bool,
    resources: BTreeSet<&'a Key>,
    vips: BTreeSet<&'a std::net::IpAddr>,
    sockets: BTreeSet<&'a GatewayId>,
}

impl<'a> News<'a> {
    fn between(before: &'a Outcomes, after: &'a Outcomes) -> Self {
        let mut resources = differing(&before.proxy_problems, &after.proxy_problems);
        resources.extend(before.unacknowledged.symmetric_difference(&after.unacknowledged));
        let mut vips = differing(&before.vips, &after.vips);
        vips.extend(differing(&before.ports, &after.ports).into_iter().map(|port| &port.address));
        Self {
            proxy: before.proxy != after.proxy,
            resources,
            vips,
            sockets: differing(&before.sockets, &after.sockets).into_iter().map(SocketId::gateway).collect(),
        }
    }

    fn routes(&self) -> impl Iterator<Item = ObjectKey> {
        self.resources.iter().filter_map(|key| match key {
            Key::Route(id) => route::key(id),
            Key::Gateway(_) | Key::Backend(_) | Key::Certificate(_) => None,
        })
    }

    fn touches(&self, gateway: &GatewayVerdict) -> bool {
        let certificates = gateway.listeners.iter().flat_map(|listener| &listener.certificates);
        self.proxy
            || self.sockets.contains(&gateway.id)
            || self.resources.contains(&Key::Gateway(gateway.id.clone()))
            || gateway.addresses.iter().any(|address| self.vips.contains(address))
            || certificates.into_iter().any(|id| self.resources.contains(&Key::Certificate(id.clone())))
    }
}

/// The keys whose values differ.
fn differing<'a, K: Ord, V: PartialEq>(a: &'a BTreeMap<K, V>, b: &'a BTreeMap<K, V>) -> BTreeSet<&'a K> {
    let one = |a: &'a BTreeMap<K, V>, b: &'a BTreeMap<K, V>| {
        a.iter().filter(|(key, value)| b.get(*key) != Some(*value)).map(|(key, _)| key)
    };
    one(a, b).chain(one(b, a)).collect()
}
