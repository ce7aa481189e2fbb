//! The official suite against a cluster without a controller.

use gatehouse_cluster::artifacts::{Artifacts, Channel, Component, Suite};
use gatehouse_cluster::cluster::{KubeProxy, Options};
use gatehouse_cluster::conformance::{self, Invocation, Room};
use gatehouse_cluster::testing::Cluster;

const CLASS: &str = "
apiVersion: gateway.networking.k8s.io/v1
kind: GatewayClass
metadata: {name: nobody}
spec: {controllerName: gatehouse.dev/nobody}
";

#[test]
fn without_a_controller_the_suite_fails_where_it_waits_for_the_gateway_class() {
    stops_at_the_class(&Cluster::shared(), Suite::V1_7_0);
}

/// The suite wants the CRDs of its own release.
#[test]
fn so_does_the_suite_before_on_a_cluster_of_its_release() {
    let options = Options {
        nodes: 1,
        dual_stack: false,
        gateway_api: Suite::V1_6_3,
        channel: Channel::Standard,
        // Nothing that is asked of this cluster goes through a Service.
        kube_proxy: KubeProxy::None,
        ..Options::default()
    };
    let cluster = Cluster::own("before", &options);
    stops_at_the_class(&cluster, Suite::V1_6_3);
    assert!(
        cluster.kubectl().get(&["crd", "xmeshes.gateway.networking.x-k8s.io"]).is_err(),
        "experimental only"
    );
    let tables = cluster.exec("n1", &["nft", "list", "tables"]).unwrap();
    assert!(!tables.contains("kube-proxy"), "{tables}");
}

#[test]
fn what_a_class_supports_is_read_from_its_status() {
    let cluster = Cluster::shared();
    let supported = || conformance::supported_features(&cluster.kubectl(), "claims").unwrap();
    assert!(supported().is_empty(), "there is no such class");
    cluster.apply(&CLASS.replace("name: nobody", "name: claims")).unwrap();
    assert!(supported().is_empty(), "nobody speaks for it");
    let status = r#"{"status": {"supportedFeatures": [{"name": "Gateway"}, {"name": "HTTPRoute"}]}}"#;
    let patch = ["patch", "gatewayclass", "claims", "--subresource=status", "--type=merge", "-p", status];
    let told = cluster.kubectl().run(&patch).map(|_| supported());
    cluster.kubectl().run(&["delete", "gatewayclass", "claims"]).unwrap();
    assert_eq!(told.unwrap(), ["Gateway", "HTTPRoute"]);
}

fn stops_at_the_class(cluster: &Cluster, suite: Suite) {
    cluster.apply(CLASS).unwrap();
    let artifacts = Artifacts::ensure(&[Component::Conformance(suite)], &|_| ()).unwrap();
    let program = artifacts.conformance_test(suite).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("log");
    let room = Room { netns: cluster.running().client_netns(), kubeconfig: cluster.running().kubeconfig() };
    let invocation = Invocation {
        suite,
        gateway_class: "nobody".to_owned(),
        tests: vec!["HTTPRouteSimpleSameNamespace".to_owned()],
        more: vec!["--timeout-config-overrides=GWCMustBeAccepted:5".to_owned()],
        ..Invocation::default()
    };
    let outcome = conformance::run(&program, &invocation, &room, &log, &|_| ());
    let text = std::fs::read_to_string(&log).unwrap();
    cluster.kubectl().run(&["delete", "gatewayclass", "nobody"]).unwrap();
    let outcome = outcome.unwrap();
    assert!(!outcome.success(), "{text}");
    assert!(
        text.contains("error waiting for nobody GatewayClass to have Accepted condition to be set"),
        "{text}"
    );
    // Nothing of the suite is there: it did not get as far.
    assert!(cluster.kubectl().get(&["namespace", "gateway-conformance-infra"]).is_err());
}
