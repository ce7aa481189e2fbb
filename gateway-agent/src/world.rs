//! The objects as the source last showed them: typed, ordered, without a client inside.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Namespace, Secret, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::Resource as _;
use kube::core::object::HasStatus;
use serde::Deserialize as _;
use serde::de::DeserializeOwned;

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
        let of = |kind| self.table(kind).names().map(move |name| ObjectKey { kind, name: name.clone() });
        Kind::ALL.into_iter().flat_map(of).collect()
    }

    /// None: there is no such object.
    pub fn generation(&self, key: &ObjectKey) -> Option<i64> {
        self.table(key.kind).generation(&key.name)
    }

    fn table(&self, kind: Kind) -> &dyn AnyTable {
        match kind {
            Kind::GatewayClass => &self.gateway_classes,
            Kind::GatewayParameters => &self.gateway_parameters,
            Kind::Gateway => &self.gateways,
            Kind::HttpRoute => &self.http_routes,
            Kind::TlsRoute => &self.tls_routes,
            Kind::TcpRoute => &self.tcp_routes,
            Kind::UdpRoute => &self.udp_routes,
            Kind::ReferenceGrant => &self.reference_grants,
            Kind::Namespace => &self.namespaces,
            Kind::Service => &self.services,
            Kind::EndpointSlice => &self.endpoint_slices,
            Kind::Secret => &self.secrets,
        }
    }

    fn insert(&mut self, object: Object) -> Option<ObjectKey> {
        let kind = object.kind();
        let name = match object {
            Object::GatewayClass(o) => put_keeping_status(&mut self.gateway_classes, *o),
            Object::GatewayParameters(o) => put(&mut self.gateway_parameters, *o),
            Object::Gateway(o) => put_keeping_status(&mut self.gateways, *o),
            Object::HttpRoute(o) => put_keeping_status(&mut self.http_routes, *o),
            Object::TlsRoute(o) => put_keeping_status(&mut self.tls_routes, *o),
            Object::TcpRoute(o) => put_keeping_status(&mut self.tcp_routes, *o),
            Object::UdpRoute(o) => put_keeping_status(&mut self.udp_routes, *o),
            Object::ReferenceGrant(o) => put(&mut self.reference_grants, *o),
            Object::Namespace(o) => put(&mut self.namespaces, *o),
            Object::Service(o) => put(&mut self.services, *o),
            Object::EndpointSlice(o) => put(&mut self.endpoint_slices, *o),
            Object::Secret(o) => put(&mut self.secrets, *o),
        }?;
        Some(ObjectKey { kind, name })
    }

    /// Remembers the status that was written for an object, so that the next one can keep its times; null: none. It is no
    /// change.
    pub fn set_status(&mut self, key: &ObjectKey, status: &serde_json::Value) {
        let name = &key.name;
        match key.kind {
            Kind::GatewayClass => set_status(&mut self.gateway_classes, name, status),
            Kind::Gateway => set_status(&mut self.gateways, name, status),
            Kind::HttpRoute => set_status(&mut self.http_routes, name, status),
            Kind::TlsRoute => set_status(&mut self.tls_routes, name, status),
            Kind::TcpRoute => set_status(&mut self.tcp_routes, name, status),
            Kind::UdpRoute => set_status(&mut self.udp_routes, name, status),
            Kind::GatewayParameters
            | Kind::ReferenceGrant
            | Kind::Namespace
            | Kind::Service
            | Kind::EndpointSlice
            | Kind::Secret => {}
        }
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

/// A table, whatever it holds.
trait AnyTable {
    fn names(&self) -> Box<dyn Iterator<Item = &NsName> + '_>;
    fn generation(&self, name: &NsName) -> Option<i64>;
}

impl<T: kube::Resource> AnyTable for Table<T> {
    fn names(&self) -> Box<dyn Iterator<Item = &NsName> + '_> {
        Box::new(self.keys())
    }

    fn generation(&self, name: &NsName) -> Option<i64> {
        self.get(name).map(|object| object.meta().generation.unwrap_or_default())
    }
}

fn set_status<T>(table: &mut Table<T>, name: &NsName, status: &serde_json::Value)
where
    T: HasStatus + Clone,
    T::Status: DeserializeOwned,
{
    if let Some(object) = table.get_mut(name)
        && let Ok(status) = Option::<T::Status>::deserialize(status)
    {
        *Arc::make_mut(object).status_mut() = status;
    }
}

/// A source without status (files) does not take away what was written, unless it went back to what was before.
fn put_keeping_status<T>(table: &mut Table<T>, mut object: T) -> Option<NsName>
where
    T: kube::Resource + HasStatus + PartialEq,
    T::Status: Clone,
{
    if object.status().is_none()
        && let Some(old) = table.get(&name_of(&object))
        && object.meta().generation >= old.meta().generation
    {
        *object.status_mut() = old.status().cloned();
    }
    put(table, object)
}

fn name_of<T: kube::Resource>(object: &T) -> NsName {
    let meta = object.meta();
    NsName::new(meta.namespace.clone().unwrap_or_default(), meta.name.clone().unwrap_or_default())
}

fn put<T: kube::Resource + PartialEq>(table: &mut Table<T>, object: T) -> Option<NsName> {
    let name = name_of(&object);
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

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn gateway(port: u16) -> Event {
        let listener = json!({"name": "web", "port": port, "protocol": "HTTP"});
        let object = json!({
            "apiVersion": "gateway.networking.k8s.io/v1", "kind": "Gateway",
            "metadata": {"namespace": "a", "name": "web"},
            "spec": {"gatewayClassName": "gatehouse", "listeners": [listener]},
        });
        Event::Apply(Object::Gateway(serde_json::from_value(object).unwrap()))
    }

    #[test]
    fn a_written_status_is_no_change_and_outlives_the_next_version() {
        let mut world = World::default();
        let key = world.apply(gateway(80)).unwrap();
        world.set_status(&key, &json!({"attachedListenerSets": 3}));
        assert_eq!(world.apply(gateway(80)), None);
        assert_eq!(world.apply(gateway(81)), Some(key.clone()));
        let status = world.gateways[&key.name].status.clone().unwrap();
        assert_eq!(status.attached_listener_sets, Some(3));
        assert_eq!(world.keys(), BTreeSet::from([key]));
    }

    /// As a file that was reverted says it: what was seen of the later version is not true of this one.
    #[test]
    fn a_status_does_not_go_back_with_its_object() {
        let of = |generation, port| {
            let Event::Apply(Object::Gateway(mut gateway)) = gateway(port) else { panic!("a Gateway") };
            gateway.metadata.generation = Some(generation);
            Event::Apply(Object::Gateway(gateway))
        };
        let mut world = World::default();
        let key = world.apply(of(5, 80)).unwrap();
        world.set_status(&key, &json!({"attachedListenerSets": 3}));
        world.apply(of(6, 81));
        assert!(world.gateways[&key.name].status.is_some());
        world.apply(of(4, 80));
        assert_eq!(world.gateways[&key.name].status, None);
    }
}
