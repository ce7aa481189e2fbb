//! The objects as the source last showed them: typed, ordered, without a client inside.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Namespace, Secret, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::Resource as _;

use crate::api::gatewayclasses::GatewayClass;
use crate::api::gateways::Gateway;
use crate::api::httproutes::HttpRoute;
use crate::api::referencegrants::ReferenceGrant;
use crate::api::tcproutes::TcpRoute;
use crate::api::tlsroutes::TlsRoute;
use crate::api::udproutes::UdpRoute;
use crate::crds::gateway_parameters::GatewayParameters;
use crate::object::{Kind, NsName, Object, ObjectKey};

/// Objects of one kind.
pub type Table<T> = BTreeMap<NsName, Arc<T>>;

#[derive(Clone, Default, Debug)]
pub struct World {
    pub gateway_classes: Table<GatewayClass>,
    pub gateway_parameters: Table<GatewayParameters>,
    pub gateways: Table<Gateway>,
    pub http_routes: Table<HttpRoute>,
    pub tls_routes: Table<TlsRoute>,
    pub tcp_routes: Table<TcpRoute>,
    pub udp_routes: Table<UdpRoute>,
    pub reference_grants: Table<ReferenceGrant>,
    pub namespaces: Table<Namespace>,
    pub services: Table<Service>,
    pub endpoint_slices: Table<EndpointSlice>,
    pub secrets: Table<Secret>,
}

/// What a source tells the world.
#[derive(Clone, Debug)]
pub enum Event {
    Apply(Object),
    Delete(ObjectKey),
}

impl World {
    /// Takes one event in; the key when anything changed.
    pub fn apply(&mut self, event: Event) -> Option<ObjectKey> {
        match event {
            Event::Apply(object) => self.insert(object),
            Event::Delete(key) => self.remove(&key).then_some(key),
        }
    }

    /// Every object.
    pub fn keys(&self) -> BTreeSet<ObjectKey> {
        let mut keys = BTreeSet::new();
        let mut add = |kind, names: &mut dyn Iterator<Item = &NsName>| {
            keys.extend(names.map(|name| ObjectKey { kind, name: name.clone() }));
        };
        add(Kind::GatewayClass, &mut self.gateway_classes.keys());
        add(Kind::GatewayParameters, &mut self.gateway_parameters.keys());
        add(Kind::Gateway, &mut self.gateways.keys());
        add(Kind::HttpRoute, &mut self.http_routes.keys());
        add(Kind::TlsRoute, &mut self.tls_routes.keys());
        add(Kind::TcpRoute, &mut self.tcp_routes.keys());
        add(Kind::UdpRoute, &mut self.udp_routes.keys());
        add(Kind::ReferenceGrant, &mut self.reference_grants.keys());
        add(Kind::Namespace, &mut self.namespaces.keys());
        add(Kind::Service, &mut self.services.keys());
        add(Kind::EndpointSlice, &mut self.endpoint_slices.keys());
        add(Kind::Secret, &mut self.secrets.keys());
        keys
    }

    fn insert(&mut self, object: Object) -> Option<ObjectKey> {
        let kind = object.kind();
        let name = match object {
            Object::GatewayClass(o) => put(&mut self.gateway_classes, *o),
            Object::GatewayParameters(o) => put(&mut self.gateway_parameters, *o),
            Object::Gateway(o) => put(&mut self.gateways, *o),
            Object::HttpRoute(o) => put(&mut self.http_routes, *o),
            Object::TlsRoute(o) => put(&mut self.tls_routes, *o),
            Object::TcpRoute(o) => put(&mut self.tcp_routes, *o),
            Object::UdpRoute(o) => put(&mut self.udp_routes, *o),
            Object::ReferenceGrant(o) => put(&mut self.reference_grants, *o),
            Object::Namespace(o) => put(&mut self.namespaces, *o),
            Object::Service(o) => put(&mut self.services, *o),
            Object::EndpointSlice(o) => put(&mut self.endpoint_slices, *o),
            Object::Secret(o) => put(&mut self.secrets, *o),
        }?;
        Some(ObjectKey { kind, name })
    }

    fn remove(&mut self, key: &ObjectKey) -> bool {
        let name = &key.name;
        match key.kind {
            Kind::GatewayClass => self.gateway_classes.remove(name).is_some(),
            Kind::GatewayParameters => self.gateway_parameters.remove(name).is_some(),
            Kind::Gateway => self.gateways.remove(name).is_some(),
            Kind::HttpRoute => self.http_routes.remove(name).is_some(),
            Kind::TlsRoute => self.tls_routes.remove(name).is_some(),
            Kind::TcpRoute => self.tcp_routes.remove(name).is_some(),
            Kind::UdpRoute => self.udp_routes.remove(name).is_some(),
            Kind::ReferenceGrant => self.reference_grants.remove(name).is_some(),
            Kind::Namespace => self.namespaces.remove(name).is_some(),
            Kind::Service => self.services.remove(name).is_some(),
            Kind::EndpointSlice => self.endpoint_slices.remove(name).is_some(),
            Kind::Secret => self.secrets.remove(name).is_some(),
        }
    }
}

fn put<T: kube::Resource + PartialEq>(table: &mut Table<T>, object: T) -> Option<NsName> {
    let meta = object.meta();
    let name = NsName::new(meta.namespace.clone().unwrap_or_default(), meta.name.clone().unwrap_or_default());
    if table.get(&name).is_some_and(|old| **old == object) {
        return None;
    }
    table.insert(name.clone(), Arc::new(object));
    Some(name)
}

/// The key of an object that carries its metadata.
pub fn key_of(object: &Object) -> ObjectKey {
    let meta = match object {
        Object::GatewayClass(o) => o.meta(),
        Object::GatewayParameters(o) => o.meta(),
        Object::Gateway(o) => o.meta(),
        Object::HttpRoute(o) => o.meta(),
        Object::TlsRoute(o) => o.meta(),
        Object::TcpRoute(o) => o.meta(),
        Object::UdpRoute(o) => o.meta(),
        Object::ReferenceGrant(o) => o.meta(),
        Object::Namespace(o) => o.meta(),
        Object::Service(o) => o.meta(),
        Object::EndpointSlice(o) => o.meta(),
        Object::Secret(o) => o.meta(),
    };
    let name = NsName::new(meta.namespace.clone().unwrap_or_default(), meta.name.clone().unwrap_or_default());
    ObjectKey { kind: object.kind(), name }
}
