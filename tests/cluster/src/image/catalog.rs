//! The images of a cluster of tests, under the names that manifests use for them.

use super::{Image, NONROOT};
use crate::artifacts::Suite;

impl Image {
    /// The name of the first process of every Pod, for containerd's configuration.
    pub const PAUSE: &str = "registry.k8s.io/pause:3.10.2";
    /// For the cluster's DNS, as `/coredns -conf FILE`; has the plugin `kubernetes`.
    pub const COREDNS: &str = "registry.k8s.io/coredns/coredns:v1.12.2";

    pub(crate) fn pause() -> Self {
        Self {
            names: names(&[Self::PAUSE]),
            title: "pause",
            description: "Holds the namespaces of a Pod",
            version: "3.10.2".into(),
            programs: vec![("pause", "/pause")],
            files: Vec::new(),
            entrypoint: "/pause",
            user: "65535:65535",
        }
    }

    /// The conformance suite's HTTP, gRPC, TCP and UDP backend.
    pub(crate) fn echo_basic(suite: Suite) -> Self {
        let names = match suite {
            Suite::V1_6_3 => names(&[
                "registry.k8s.io/gateway-api/echo-basic:v1.5.1",
                "registry.k8s.io/gateway-api/echo-basic:v1.6.0-dev.2",
                "registry.k8s.io/gateway-api/echo-basic:v1.6.0-dev.3",
            ]),
            Suite::V1_7_0 => names(&[
                "registry.k8s.io/gateway-api/conformance/echo-basic:v0.1.0",
                "registry.k8s.io/gateway-api/conformance/echo-basic:v0.2.0",
            ]),
        };
        Self {
            names,
            title: "echo-basic",
            description: "Backend of the Gateway API's conformance suite",
            version: suite.to_string(),
            programs: vec![("echo-basic", "/echo-basic")],
            files: Vec::new(),
            entrypoint: "/echo-basic",
            user: NONROOT,
        }
    }

    pub(crate) fn coredns() -> Self {
        Self {
            names: names(&[Self::COREDNS]),
            title: "coredns",
            description: "DNS of the cluster, and a UDP backend of the conformance suite",
            version: "v1.12.2".into(),
            programs: vec![("coredns", "/coredns")],
            files: Vec::new(),
            entrypoint: "/coredns",
            user: NONROOT,
        }
    }

    /// Istio's echo application, which the mesh profiles use as client and backend.
    pub(crate) fn echo_advanced() -> Self {
        Self {
            names: names(&[
                "registry.k8s.io/gateway-api/conformance/echo-advanced:v0.1.0",
                "registry.k8s.io/gateway-api/echo-advanced:v1.5.1",
            ]),
            title: "echo-advanced",
            description: "Client and backend of the Gateway API's mesh conformance suite",
            version: "v0.1.0".into(),
            programs: vec![("client", "/usr/local/bin/client"), ("server", "/usr/local/bin/server")],
            // Istio's public test certificate, where its own image has it.
            files: vec![("cert.crt", "/cert.crt"), ("cert.key", "/cert.key")],
            entrypoint: "/usr/local/bin/server",
            user: "1338:1338",
        }
    }
}

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}
