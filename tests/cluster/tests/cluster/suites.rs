//! The Pods that the conformance suites need become Ready: images, names and all.

use std::time::Duration;

use anyhow::{Context as _, Result};
use gatehouse_cluster::artifacts::{Artifacts, Component, Suite};
use gatehouse_cluster::testing::Cluster;
use gatehouse_cluster::wait::poll;

/// Applies a set of manifests, waits until all its Deployments are available, and takes it away again.
fn becomes_ready(cluster: &Cluster, suite: Suite, set: &str, namespaces: &[&str]) -> Result<()> {
    let artifacts = Artifacts::ensure(&[Component::Crds(suite)], &|_| ())?;
    let manifests = artifacts.suite_manifests(suite, set)?;
    let text =
        std::fs::read_to_string(&manifests).with_context(|| format!("read {}", manifests.display()))?;
    // Its Gateways are nobody's here.
    let text = text.replace("{GATEWAY_CLASS_NAME}", "nobody");
    let kubectl = cluster.kubectl();
    kubectl.apply(&text)?;
    // The suite makes these itself; their Pods wait for them.
    let pki = cluster.running().name().folder().join("pki");
    let file = |flag: &str, name: &str| format!("--{flag}={}", pki.join(name).display());
    let (certificate, key) = (file("cert", "apiserver.crt"), file("key", "apiserver.key"));
    for (namespace, secret) in SECRETS.into_iter().filter(|(namespace, _)| namespaces.contains(namespace)) {
        kubectl.run(&["-n", namespace, "create", "secret", "tls", secret, &certificate, &key])?;
    }
    let mut last = String::new();
    let ready = poll(Duration::from_secs(180), || {
        let mut waiting = Vec::new();
        let mut count = 0;
        for namespace in namespaces {
            let list = kubectl.get(&["deployments", "-n", namespace]).ok()?;
            for deployment in list["items"].as_array()? {
                count += 1;
                if deployment["status"]["readyReplicas"] != deployment["spec"]["replicas"] {
                    waiting.push(format!("{namespace}/{}", deployment["metadata"]["name"]));
                }
            }
        }
        last = waiting.join(", ");
        (count > 0 && waiting.is_empty()).then_some(())
    });
    let outcome = ready.with_context(|| format!("{suite} {set}: not available: {last}"));
    kubectl.feed(&["delete", "--ignore-not-found", "--wait=true", "--timeout=120s", "-f", "-"], &text)?;
    outcome
}

const SECRETS: [(&str, &str); 3] = [
    ("gateway-conformance-infra", "tls-checks-certificate"),
    ("gateway-conformance-infra", "tls-passthrough-checks-certificate"),
    ("gateway-conformance-app-backend", "tls-passthrough-checks-certificate"),
];
const BASE: [&str; 3] =
    ["gateway-conformance-infra", "gateway-conformance-app-backend", "gateway-conformance-web-backend"];
const MESH: [&str; 2] = ["gateway-conformance-mesh", "gateway-conformance-mesh-consumer"];

#[test]
fn the_base_and_mesh_sets_of_the_suites_become_ready() {
    let cluster = Cluster::alone();
    for suite in [Suite::V1_7_0, Suite::V1_6_3] {
        becomes_ready(&cluster, suite, "base", &BASE).unwrap();
        becomes_ready(&cluster, suite, "mesh", &MESH).unwrap();
    }
}
