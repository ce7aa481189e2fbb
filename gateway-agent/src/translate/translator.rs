//! Keeps a translation up to date: a change costs what depends on it.

use std::collections::{BTreeMap, BTreeSet};

use gateway_common::ir::{CertificateId, GatewayId, Key, Resource};

use super::address::{self, Assigned};
use super::backend::{self, BackendKey};
use super::depend::{Dep, Index, Unit};
use super::gateway::{self, Plan};
use super::listener::Certificates;
use super::lookup::{Lookup, Plans, Slices};
use super::output::Output;
use super::route::{self, Route, Translated};
use super::summary::{self, Attached};
use super::verdict::Verdicts;
use super::{Change, Params, class, datapath, relevant};
use crate::desired::{Datapath, Resources};
use crate::object::{Kind, NsName, ObjectKey};
use crate::world::{Table, World};

/// The label that ties an EndpointSlice to its Service.
const SERVICE_NAME: &str = "kubernetes.io/service-name";

#[derive(Default, Debug)]
pub struct Translator {
    params: Params,
    /// The objects as they were translated; shared with the world, not copied.
    seen: World,
    slices: Slices,
    index: Index,
    plans: Plans,
    assigned: BTreeMap<NsName, Assigned>,
    routes: BTreeMap<ObjectKey, Translated>,
    backend_users: BTreeMap<BackendKey, BTreeSet<ObjectKey>>,
    certificate_users: BTreeMap<CertificateId, BTreeSet<NsName>>,
    attached: BTreeMap<NsName, Attached>,
    output: Output,
    datapath: Datapath,
    verdicts: Verdicts,
}

/// What is to be made again.
#[derive(Default)]
struct Work {
    classes: BTreeSet<NsName>,
    gateways: BTreeSet<NsName>,
    routes: BTreeSet<ObjectKey>,
    backends: BTreeSet<BackendKey>,
    /// Gateways whose verdict may differ.
    summaries: BTreeSet<NsName>,
}

impl Work {
    fn add<'a>(&mut self, units: impl Iterator<Item = &'a Unit>) {
        for unit in units {
            match unit {
                Unit::Gateway(name) => self.gateways.insert(name.clone()),
                Unit::Route(key) => self.routes.insert(key.clone()),
                Unit::Backend(key) => self.backends.insert(key.clone()),
            };
        }
    }
}

impl Translator {
    pub const fn resources(&self) -> &Resources {
        self.output.resources()
    }

    pub const fn datapath(&self) -> &Datapath {
        &self.datapath
    }

    pub const fn verdicts(&self) -> &Verdicts {
        &self.verdicts
    }

    /// Who has which addresses, to be given back in [`Params::held`], also after a restart.
    pub fn held(&self) -> BTreeMap<GatewayId, Vec<std::net::IpAddr>> {
        let has = self.assigned.iter().filter(|(_, assigned)| !assigned.addresses.is_empty());
        has.map(|(name, assigned)| (gateway::id(name), assigned.addresses.clone())).collect()
    }

    /// `changed` must name every object that is not as it was at the last update.
    pub fn update(&mut self, world: &World, params: &Params, changed: &BTreeSet<ObjectKey>) -> Change {
        let mut work = Work::default();
        let mut change = Change::default();
        self.note_controller(params, &mut work);
        for key in changed {
            self.take(world, key, &mut work);
        }
        self.classes(&work.classes, &mut change);
        let mut readdress = self.gateways(&mut work);
        readdress |= self.params.pools != params.pools
            || self.params.devices != params.devices
            || self.params.held != params.held;
        self.params = params.clone();
        if readdress {
            self.addresses(&mut work);
        }
        if !work.gateways.is_empty() || readdress {
            self.kernel(&mut change);
        }
        change.work = work.gateways.len() + work.routes.len();
        self.routes(&mut work, &mut change);
        change.work += work.backends.len();
        self.backends(&work.backends);
        self.summaries(&work.summaries, &mut change);
        self.output.flush(&mut change);
        change
    }

    fn note_controller(&mut self, params: &Params, work: &mut Work) {
        if self.params.controller_name == params.controller_name {
            return;
        }
        self.verdicts.controller_name.clone_from(&params.controller_name);
        self.params.controller_name.clone_from(&params.controller_name);
        work.classes.extend(self.seen.gateway_classes.keys().cloned());
        work.gateways.extend(self.seen.gateways.keys().cloned());
    }

    /// Takes one object over and notes what depends on it.
    fn take(&mut self, world: &World, key: &ObjectKey, work: &mut Work) {
        // A slice belongs to the Service that its label names now, and did to the one that it named before.
        let before = self.service_of(key);
        let relevant = relevant::take(&mut self.seen, world, key);
        let after = self.service_of(key);
        if let Some(service) = before.as_ref().filter(|_| before != after) {
            let slices = self.slices.entry(service.clone()).or_default();
            slices.remove(&key.name);
            if slices.is_empty() {
                self.slices.remove(service);
            }
        }
        if let Some(service) = &after {
            self.slices.entry(service.clone()).or_default().insert(key.name.clone());
        }
        if !relevant {
            return;
        }
        match key.kind {
            Kind::GatewayClass => {
                work.classes.insert(key.name.clone());
                work.add(self.index.users(&Dep::Object(key.clone())));
            }
            // Its routes follow when what they look at has changed.
            Kind::Gateway => {
                work.gateways.insert(key.name.clone());
            }
            Kind::HttpRoute | Kind::TlsRoute | Kind::TcpRoute | Kind::UdpRoute => {
                work.routes.insert(key.clone());
            }
            Kind::ReferenceGrant => work.add(self.index.users(&Dep::Grants(key.name.namespace.clone()))),
            Kind::EndpointSlice => {
                for service in before.into_iter().chain(after) {
                    work.add(self.index.users(&Dep::Slices(service)));
                }
            }
            Kind::GatewayParameters | Kind::Namespace | Kind::Service | Kind::Secret => {
                work.add(self.index.users(&Dep::Object(key.clone())));
            }
        }
    }

    fn service_of(&self, key: &ObjectKey) -> Option<NsName> {
        if key.kind != Kind::EndpointSlice {
            return None;
        }
        let slice = self.seen.endpoint_slices.get(&key.name)?;
        let service = slice.metadata.labels.as_ref()?.get(SERVICE_NAME)?;
        Some(NsName::new(&key.name.namespace, service))
    }

    fn classes(&mut self, names: &BTreeSet<NsName>, change: &mut Change) {
        for name in names {
            let ours = self.seen.gateway_classes.get(name);
            let ours = ours.filter(|class| class.spec.controller_name == self.params.controller_name);
            let verdict = ours.map(|class| class::verdict(class));
            if put(&mut self.verdicts.classes, name, verdict) {
                change.verdicts.insert(ObjectKey { kind: Kind::GatewayClass, name: name.clone() });
            }
        }
    }

    /// Whether addresses must be given out again.
    fn gateways(&mut self, work: &mut Work) -> bool {
        let mut readdress = false;
        for name in &work.gateways {
            let mut lookup = Lookup::new(&self.seen, &self.slices, &self.plans);
            let object = self.seen.gateways.get(name);
            let plan = object.and_then(|o| gateway::plan(&mut lookup, &self.params.controller_name, name, o));
            let read = if object.is_some() { lookup.finish() } else { BTreeSet::new() };
            self.index.set(&Unit::Gateway(name.clone()), read);
            let old = match plan.clone() {
                Some(plan) => self.plans.insert(name.clone(), plan),
                None => self.plans.remove(name),
            };
            if old == plan {
                continue;
            }
            work.summaries.insert(name.clone());
            let (old, new) = (old.as_ref(), plan.as_ref());
            if !old.zip(new).is_some_and(|(old, new)| old.looks_alike(new)) {
                let key = ObjectKey { kind: Kind::Gateway, name: name.clone() };
                work.routes.extend(self.index.users(&Dep::Object(key)).filter_map(Unit::route).cloned());
            }
            readdress |= !old.zip(new).is_some_and(|(old, new)| old.asks_alike(new));
            self.output.set(Key::Gateway(gateway::id(name)), new.and_then(Plan::ir).map(Resource::Gateway));
            certificates(&mut self.certificate_users, &mut self.output, name, old, new);
        }
        readdress
    }

    fn addresses(&mut self, work: &mut Work) {
        let assigned = address::assign(self.plans.values(), &self.params);
        for name in self.plans.keys().chain(self.assigned.keys()) {
            if assigned.get(name) != self.assigned.get(name) {
                work.summaries.insert(name.clone());
            }
        }
        self.assigned = assigned;
    }

    fn kernel(&mut self, change: &mut Change) {
        let datapath = datapath::datapath(&self.plans, &self.assigned);
        change.datapath = datapath != self.datapath;
        self.datapath = datapath;
    }

    fn routes(&mut self, work: &mut Work, change: &mut Change) {
        for key in std::mem::take(&mut work.routes) {
            let mut lookup = Lookup::new(&self.seen, &self.slices, &self.plans);
            let new = translate_route(&self.seen, &mut lookup, &key);
            let read = if new.is_some() { lookup.finish() } else { BTreeSet::new() };
            self.index.set(&Unit::Route(key.clone()), read);
            let old = self.routes.remove(&key);
            if old != new {
                self.replace_route(&key, old.as_ref(), new.as_ref(), work, change);
            }
            if let Some(new) = new {
                self.routes.insert(key, new);
            }
        }
    }

    fn replace_route(
        &mut self,
        key: &ObjectKey,
        old: Option<&Translated>,
        new: Option<&Translated>,
        work: &mut Work,
        change: &mut Change,
    ) {
        let resource = new.and_then(|new| new.route.clone()).map(Resource::Route);
        self.output.set(Key::Route(route::id(key.kind, &key.name)), resource);
        if put(&mut self.verdicts.routes, key, new.map(|new| new.verdict.clone())) {
            change.verdicts.insert(key.clone());
        }
        let none = BTreeSet::new();
        let (before, after) = (old.map_or(&none, |r| &r.backends), new.map_or(&none, |r| &r.backends));
        for backend in before.difference(after) {
            let users = self.backend_users.entry(backend.clone()).or_default();
            users.remove(key);
            work.backends.insert(backend.clone());
        }
        for backend in after.difference(before) {
            let users = self.backend_users.entry(backend.clone()).or_default();
            if users.is_empty() {
                work.backends.insert(backend.clone());
            }
            users.insert(key.clone());
        }
        let none = BTreeSet::new();
        let (before, after) = (old.map_or(&none, |r| &r.attached), new.map_or(&none, |r| &r.attached));
        for (step, places) in [(-1, before.difference(after)), (1, after.difference(before))] {
            for (gateway, listener) in places {
                self.count(gateway, listener, step);
                work.summaries.insert(gateway.clone());
            }
        }
    }

    fn count(&mut self, gateway: &NsName, listener: &str, step: i32) {
        let listeners = self.attached.entry(gateway.clone()).or_default();
        let count = listeners.entry(listener.to_owned()).or_default();
        *count += step;
        if *count == 0 {
            listeners.remove(listener);
        }
        if listeners.is_empty() {
            self.attached.remove(gateway);
        }
    }

    fn backends(&mut self, keys: &BTreeSet<BackendKey>) {
        for key in keys {
            let unit = Unit::Backend(key.clone());
            if self.backend_users.get(key).is_none_or(BTreeSet::is_empty) {
                self.backend_users.remove(key);
                self.index.forget(&unit);
                self.output.set(Key::Backend(key.id()), None);
                continue;
            }
            let mut lookup = Lookup::new(&self.seen, &self.slices, &self.plans);
            let backend = backend::backend(&mut lookup, key);
            self.index.set(&unit, lookup.finish());
            self.output.set(Key::Backend(key.id()), backend.map(Resource::Backend));
        }
    }

    fn summaries(&mut self, names: &BTreeSet<NsName>, change: &mut Change) {
        for name in names {
            let nothing = Assigned::default();
            let assigned = self.assigned.get(name).unwrap_or(&nothing);
            let verdict =
                self.plans.get(name).map(|plan| summary::gateway(plan, assigned, self.attached.get(name)));
            if put(&mut self.verdicts.gateways, name, verdict) {
                change.verdicts.insert(ObjectKey { kind: Kind::Gateway, name: name.clone() });
            }
        }
    }
}

fn translate_route(seen: &World, lookup: &mut Lookup<'_>, key: &ObjectKey) -> Option<Translated> {
    fn one<R: Route>(table: &Table<R>, lookup: &mut Lookup<'_>, name: &NsName) -> Option<Translated> {
        table.get(name).map(|object| route::translate(lookup, name, object.as_ref()))
    }
    match key.kind {
        Kind::HttpRoute => one(&seen.http_routes, lookup, &key.name),
        Kind::TlsRoute => one(&seen.tls_routes, lookup, &key.name),
        Kind::TcpRoute => one(&seen.tcp_routes, lookup, &key.name),
        Kind::UdpRoute => one(&seen.udp_routes, lookup, &key.name),
        Kind::GatewayClass
        | Kind::GatewayParameters
        | Kind::Gateway
        | Kind::ReferenceGrant
        | Kind::Namespace
        | Kind::Service
        | Kind::EndpointSlice
        | Kind::Secret => None,
    }
}

/// Sends the certificates of a Gateway, and takes back those that no Gateway uses any more.
fn certificates(
    users: &mut BTreeMap<CertificateId, BTreeSet<NsName>>,
    output: &mut Output,
    gateway: &NsName,
    old: Option<&Plan>,
    new: Option<&Plan>,
) {
    let none = Certificates::new();
    let used = |plan: Option<&Plan>| {
        plan.filter(|plan| plan.refused.is_none()).map(|plan| plan.certificates.clone())
    };
    let (old, new) = (used(old).unwrap_or_else(|| none.clone()), used(new).unwrap_or(none));
    for id in old.keys().filter(|id| !new.contains_key(*id)) {
        let gateways = users.entry(id.clone()).or_default();
        gateways.remove(gateway);
        if gateways.is_empty() {
            users.remove(id);
            output.set(Key::Certificate(id.clone()), None);
        }
    }
    for (id, certificate) in new {
        users.entry(id.clone()).or_default().insert(gateway.clone());
        output.set(Key::Certificate(id), Some(Resource::Certificate(certificate)));
    }
}

/// Whether the map is different now.
fn put<K: Ord + Clone, V: PartialEq>(map: &mut BTreeMap<K, V>, key: &K, value: Option<V>) -> bool {
    match value {
        Some(value) if map.get(key) == Some(&value) => false,
        Some(value) => {
            map.insert(key.clone(), value);
            true
        }
        None => map.remove(key).is_some(),
    }
}
