//! What the API server adds to the core kinds, and the checks that their types do not make.

use std::collections::BTreeMap;
use std::net::IpAddr;

use k8s_openapi::api::core::v1::{Namespace, Secret, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;

use crate::object::Object;
use crate::yaml::Path;

/// Fills in the defaults; what is wrong with the object.
pub(super) fn complete(object: &mut Object) -> Vec<(Path, String)> {
    match object {
        Object::Namespace(namespace) => name_label(namespace),
        Object::Secret(secret) => string_data(secret),
        Object::Service(service) => return service_ports(service),
        Object::EndpointSlice(slice) => return endpoint_slice(slice),
        Object::GatewayClass(_)
        | Object::GatewayParameters(_)
        | Object::Gateway(_)
        | Object::HttpRoute(_)
        | Object::TlsRoute(_)
        | Object::TcpRoute(_)
        | Object::UdpRoute(_)
        | Object::ReferenceGrant(_) => {}
    }
    Vec::new()
}

/// <https://kubernetes.io/docs/reference/labels-annotations-taints/#kubernetes-io-metadata-name>
pub(super) fn name_label(namespace: &mut Namespace) {
    let name = namespace.metadata.name.clone().unwrap_or_default();
    let labels = namespace.metadata.labels.get_or_insert_with(BTreeMap::new);
    labels.insert("kubernetes.io/metadata.name".to_owned(), name);
}

fn string_data(secret: &mut Secret) {
    if let Some(texts) = secret.string_data.take() {
        let data = secret.data.get_or_insert_with(BTreeMap::new);
        data.extend(texts.into_iter().map(|(key, text)| (key, k8s_openapi::ByteString(text.into_bytes()))));
    }
    secret.type_.get_or_insert_with(|| "Opaque".to_owned());
}

fn service_ports(service: &mut Service) -> Vec<(Path, String)> {
    let mut problems = Vec::new();
    let spec = service.spec.get_or_insert_with(Default::default);
    spec.type_.get_or_insert_with(|| "ClusterIP".to_owned());
    let ports_path = Path::key("spec").then("ports");
    for (index, port) in spec.ports.iter_mut().flatten().enumerate() {
        let path = ports_path.at(index);
        port.protocol.get_or_insert_with(|| "TCP".to_owned());
        port_number(&path.then("port"), port.port, &mut problems);
        protocol(&path, port.protocol.as_deref(), &mut problems);
    }
    problems
}

fn endpoint_slice(slice: &mut EndpointSlice) -> Vec<(Path, String)> {
    let mut problems = Vec::new();
    for (index, port) in slice.ports.iter_mut().flatten().enumerate() {
        let path = Path::key("ports").at(index);
        port.name.get_or_insert_with(String::new);
        port.protocol.get_or_insert_with(|| "TCP".to_owned());
        if let Some(number) = port.port {
            port_number(&path.then("port"), number, &mut problems);
        }
        protocol(&path, port.protocol.as_deref(), &mut problems);
    }
    let family = slice.address_type.as_str();
    if !matches!(family, "IPv4" | "IPv6" | "FQDN") {
        problems.push((Path::key("addressType"), format!("{family:?} is not one of IPv4, IPv6, FQDN")));
        return problems;
    }
    for (index, endpoint) in slice.endpoints.iter().flatten().enumerate() {
        let path = Path::key("endpoints").at(index).then("addresses");
        for (number, address) in endpoint.addresses.iter().enumerate() {
            let fits = match family {
                "IPv4" => matches!(address.parse(), Ok(IpAddr::V4(_))),
                "IPv6" => matches!(address.parse(), Ok(IpAddr::V6(_))),
                _ => !address.is_empty(),
            };
            if !fits {
                problems.push((
                    path.at(number),
                    format!("{address:?} is not an {family} address, as addressType says"),
                ));
            }
        }
    }
    problems
}

fn port_number(path: &Path, port: i32, problems: &mut Vec<(Path, String)>) {
    if !(1..=65535).contains(&port) {
        problems.push((path.clone(), format!("{port} is out of range; it must be 1 to 65535")));
    }
}

fn protocol(path: &Path, protocol: Option<&str>, problems: &mut Vec<(Path, String)>) {
    let text = protocol.unwrap_or("TCP");
    if !matches!(text, "TCP" | "UDP" | "SCTP") {
        problems.push((path.then("protocol"), format!("{text:?} is not one of TCP, UDP, SCTP")));
    }
}
