//! Reads the world and remembers what was read, also in vain: the reader is translated again when any of it changes.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::{Secret, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;

use super::depend::Dep;
use super::gateway::Plan;
use crate::api::gatewayclasses::GatewayClass;
use crate::api::referencegrants::ReferenceGrant;
use crate::crds::gateway_parameters::GatewayParameters;
use crate::object::{Kind, NsName, ObjectKey};
use crate::world::World;

/// The label that every namespace has.
const NAMESPACE_NAME: &str = "kubernetes.io/metadata.name";

/// Names of the EndpointSlices of each Service.
pub(super) type Slices = BTreeMap<NsName, BTreeSet<NsName>>;
pub(super) type Plans = BTreeMap<NsName, Plan>;

pub(super) struct Lookup<'a> {
    world: &'a World,
    slices: &'a Slices,
    plans: &'a Plans,
    read: BTreeSet<Dep>,
}

impl<'a> Lookup<'a> {
    pub(super) fn new(world: &'a World, slices: &'a Slices, plans: &'a Plans) -> Self {
        Self { world, slices, plans, read: BTreeSet::new() }
    }

    /// What was read.
    pub(super) fn finish(self) -> BTreeSet<Dep> {
        self.read
    }

    pub(super) fn class(&mut self, name: &str) -> Option<&'a GatewayClass> {
        let name = self.object(Kind::GatewayClass, NsName::new("", name));
        self.world.gateway_classes.get(&name).map(AsRef::as_ref)
    }

    pub(super) fn parameters(&mut self, name: NsName) -> Option<&'a GatewayParameters> {
        let name = self.object(Kind::GatewayParameters, name);
        self.world.gateway_parameters.get(&name).map(AsRef::as_ref)
    }

    pub(super) fn secret(&mut self, name: NsName) -> Option<&'a Secret> {
        let name = self.object(Kind::Secret, name);
        self.world.secrets.get(&name).map(AsRef::as_ref)
    }

    pub(super) fn service(&mut self, name: NsName) -> Option<&'a Service> {
        let name = self.object(Kind::Service, name);
        self.world.services.get(&name).map(AsRef::as_ref)
    }

    /// A Gateway of ours, as it was translated.
    pub(super) fn plan(&mut self, name: NsName) -> Option<&'a Plan> {
        let name = self.object(Kind::Gateway, name);
        self.plans.get(&name)
    }

    pub(super) fn namespace_labels(&mut self, name: &str) -> BTreeMap<String, String> {
        let key = self.object(Kind::Namespace, NsName::new("", name));
        let namespace = self.world.namespaces.get(&key);
        let mut labels = namespace.and_then(|n| n.metadata.labels.clone()).unwrap_or_default();
        labels.entry(NAMESPACE_NAME.to_owned()).or_insert_with(|| name.to_owned());
        labels
    }

    pub(super) fn grants(&mut self, namespace: &str) -> impl Iterator<Item = &'a ReferenceGrant> + use<'a> {
        self.read.insert(Dep::Grants(namespace.to_owned()));
        let namespace = namespace.to_owned();
        self.world
            .reference_grants
            .range(NsName::new(namespace.clone(), "")..)
            .take_while(move |(name, _)| name.namespace == namespace)
            .map(|(_, grant)| grant.as_ref())
    }

    pub(super) fn endpoint_slices(
        &mut self,
        service: &NsName,
    ) -> impl Iterator<Item = &'a EndpointSlice> + use<'a> {
        self.read.insert(Dep::Slices(service.clone()));
        let world = self.world;
        let names = self.slices.get(service);
        names.into_iter().flatten().filter_map(|name| world.endpoint_slices.get(name)).map(AsRef::as_ref)
    }

    fn object(&mut self, kind: Kind, name: NsName) -> NsName {
        self.read.insert(Dep::Object(ObjectKey { kind, name: name.clone() }));
        name
    }
}
