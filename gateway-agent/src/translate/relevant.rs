//! Which changes of objects can change a translation: not status, not bookkeeping of the API server.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;

use crate::object::{Kind, NsName, ObjectKey};
use crate::world::{Table, World};

/// Takes the object over from `now` into `seen`; whether translation can notice.
pub(super) fn take(seen: &mut World, now: &World, key: &ObjectKey) -> bool {
    let name = &key.name;
    match key.kind {
        Kind::GatewayClass => {
            sync(&mut seen.gateway_classes, &now.gateway_classes, name, |a, b| a.spec == b.spec)
        }
        Kind::GatewayParameters => {
            sync(&mut seen.gateway_parameters, &now.gateway_parameters, name, |a, b| a.spec == b.spec)
        }
        Kind::Gateway => sync(&mut seen.gateways, &now.gateways, name, |a, b| a.spec == b.spec),
        Kind::HttpRoute => sync(&mut seen.http_routes, &now.http_routes, name, |a, b| a.spec == b.spec),
        Kind::TlsRoute => sync(&mut seen.tls_routes, &now.tls_routes, name, |a, b| a.spec == b.spec),
        Kind::TcpRoute => sync(&mut seen.tcp_routes, &now.tcp_routes, name, |a, b| a.spec == b.spec),
        Kind::UdpRoute => sync(&mut seen.udp_routes, &now.udp_routes, name, |a, b| a.spec == b.spec),
        Kind::ReferenceGrant => {
            sync(&mut seen.reference_grants, &now.reference_grants, name, |a, b| a.spec == b.spec)
        }
        Kind::Namespace => {
            sync(&mut seen.namespaces, &now.namespaces, name, |a, b| a.metadata.labels == b.metadata.labels)
        }
        Kind::Service => sync(&mut seen.services, &now.services, name, |a, b| a.spec == b.spec),
        Kind::EndpointSlice => sync(&mut seen.endpoint_slices, &now.endpoint_slices, name, |a, b| {
            a.metadata.labels == b.metadata.labels
                && a.address_type == b.address_type
                && a.endpoints == b.endpoints
                && a.ports == b.ports
        }),
        Kind::Secret => sync(&mut seen.secrets, &now.secrets, name, |a, b| {
            a.type_ == b.type_ && a.data == b.data && a.string_data == b.string_data
        }),
    }
}

fn sync<T: Resource>(seen: &mut Table<T>, now: &Table<T>, name: &NsName, same: fn(&T, &T) -> bool) -> bool {
    let changed = match (seen.get(name), now.get(name)) {
        (None, None) => false,
        (Some(old), Some(new)) => !(same_meta(old.meta(), new.meta()) && same(old, new)),
        (None, Some(_)) | (Some(_), None) => true,
    };
    match now.get(name) {
        Some(new) => seen.insert(name.clone(), new.clone()),
        None => seen.remove(name),
    };
    changed
}

fn same_meta(a: &ObjectMeta, b: &ObjectMeta) -> bool {
    a.generation == b.generation && a.creation_timestamp == b.creation_timestamp
}
