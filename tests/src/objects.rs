//! Objects of the source as YAML, for tests that make them up.

use std::net::IpAddr;

use crate::backend::Backend;

/// A port of a Service.
#[derive(Clone, Copy, Debug)]
pub struct Port<'a> {
    pub name: &'a str,
    pub port: u16,
    /// Of the Pods.
    pub target: u16,
    /// `TCP` or `UDP`.
    pub protocol: &'a str,
    /// `kubernetes.io/h2c` or the like.
    pub app_protocol: Option<&'a str>,
}

impl<'a> Port<'a> {
    pub const fn tcp(name: &'a str, port: u16, target: u16) -> Self {
        Self { name, port, target, protocol: "TCP", app_protocol: None }
    }

    pub const fn udp(name: &'a str, port: u16, target: u16) -> Self {
        Self { protocol: "UDP", ..Self::tcp(name, port, target) }
    }

    fn app_protocol(&self) -> String {
        self.app_protocol.map(|name| format!(", appProtocol: {name}")).unwrap_or_default()
    }
}

/// A Service and its EndpointSlices over both families.
pub fn service(namespace: &str, name: &str, ports: &[Port<'_>], pods: &[&Backend]) -> String {
    let mut yaml = format!(
        "apiVersion: v1\nkind: Service\nmetadata: {{namespace: {namespace}, name: {name}}}\nspec:\n  ports:\n"
    );
    for port in ports {
        let Port { name, port: number, target, protocol, .. } = port;
        let app = port.app_protocol();
        yaml += &format!(
            "  - {{name: {name}, port: {number}, targetPort: {target}, protocol: {protocol}{app}}}\n"
        );
    }
    let v4: Vec<IpAddr> = pods.iter().map(|pod| pod.v4).collect();
    let v6: Vec<IpAddr> = pods.iter().map(|pod| pod.v6).collect();
    for (family, addresses) in [("IPv4", v4), ("IPv6", v6)] {
        yaml += "---\n";
        yaml += &endpoint_slice(namespace, name, family, ports, &addresses);
    }
    yaml
}

fn endpoint_slice(
    namespace: &str,
    service: &str,
    family: &str,
    ports: &[Port<'_>],
    pods: &[IpAddr],
) -> String {
    let suffix = family.to_lowercase();
    let mut yaml = format!(
        "apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata:\n  namespace: {namespace}\n  \
         name: {service}-{suffix}\n  labels: {{kubernetes.io/service-name: {service}}}\naddressType: {family}\nports:\n"
    );
    for port in ports {
        let Port { name, target, protocol, .. } = port;
        let app = port.app_protocol();
        yaml += &format!("- {{name: {name}, port: {target}, protocol: {protocol}{app}}}\n");
    }
    yaml += if pods.is_empty() { "endpoints: []\n" } else { "endpoints:\n" };
    for address in pods {
        yaml += &format!("- {{addresses: [\"{address}\"], conditions: {{ready: true}}}}\n");
    }
    yaml
}
