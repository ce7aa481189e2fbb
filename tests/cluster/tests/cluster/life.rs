//! What happens to nodes and to the API server, and that Kubernetes notices.

use std::time::Duration;

use gatehouse_cluster::cluster::Status;
use gatehouse_cluster::testing::{Cluster, Condition};
use gatehouse_cluster::wait::poll;
use rustix::process::{Pid, Signal, kill_process};

use super::web::Web;

/// Eight seconds until a lease runs out, and what a busy machine adds.
const NOTICED: Duration = Duration::from_secs(90);

fn is(cluster: &Cluster, node: &str, status: &str) {
    cluster.wait_for(&Condition::of("node", node).has("Ready", status), NOTICED).unwrap();
}

#[test]
fn a_node_without_carrier_is_not_ready_and_comes_back_with_its_routes() {
    let cluster = Cluster::alone();
    let web = Web::start(&cluster, "carrier").unwrap();
    // Not those to Pods, which come and go with the tests before this one.
    let routes = |node: &str| cluster.exec(node, &["ip", "route", "show", "dev", "eth0"]).unwrap();
    let (running, before) = (cluster.running(), routes("n2"));
    running.set_carrier("n2", false).unwrap();
    let carrier = cluster.exec("n2", &["cat", "/sys/class/net/eth0/carrier"]).unwrap();
    assert_eq!(carrier.trim(), "0");
    is(&cluster, "n2", "Unknown");
    is(&cluster, "n1", "True");
    running.set_carrier("n2", true).unwrap();
    is(&cluster, "n2", "True");
    assert_eq!(routes("n2"), before);
    web.meet().unwrap();
}

#[test]
fn a_partitioned_node_has_a_carrier_and_is_not_ready_until_it_heals() {
    let cluster = Cluster::alone();
    cluster.running().partition_node("n3").unwrap();
    let carrier = cluster.exec("n3", &["cat", "/sys/class/net/eth0/carrier"]).unwrap();
    assert_eq!(carrier.trim(), "1");
    is(&cluster, "n3", "Unknown");
    assert!(cluster.exec("client", &["busybox", "ping", "-c1", "-W1", "172.30.0.13"]).is_err());
    cluster.running().heal_node("n3").unwrap();
    is(&cluster, "n3", "True");
    cluster.exec("client", &["busybox", "ping", "-c1", "-W5", "fd00:30::13"]).unwrap();
}

#[test]
fn a_frozen_node_answers_pings_and_is_not_ready_until_it_thaws() {
    let cluster = Cluster::alone();
    cluster.running().freeze_node("n1").unwrap();
    is(&cluster, "n1", "Unknown");
    cluster.exec("client", &["busybox", "ping", "-c1", "-W5", "172.30.0.11"]).unwrap();
    cluster.running().thaw_node("n1").unwrap();
    is(&cluster, "n1", "True");
}

#[test]
fn a_node_comes_back_from_a_power_cut_with_its_pods() {
    let cluster = Cluster::alone();
    let web = Web::start(&cluster, "power").unwrap();
    let running = cluster.running();
    running.stop_node("n2").unwrap();
    assert!(!running.node_state("n2").on);
    assert!(running.stop_node("n2").is_ok(), "it may be off already");
    is(&cluster, "n2", "Unknown");
    running.start_node("n2").unwrap();
    is(&cluster, "n2", "True");
    // At once, while the kernel takes the node's network apart.
    running.stop_node("n2").unwrap();
    running.start_node("n2").unwrap();
    // The same Pod in a new sandbox, with new addresses.
    let back = poll(NOTICED, || {
        let set = cluster.kubectl().get(&["daemonset", "web", "-n", web.namespace.name()]).ok()?;
        (set["status"]["numberReady"] == 3).then_some(())
    });
    assert!(back.is_some(), "the Pod of n2 does not come back");
    super::services::cluster_ips_work(&web).unwrap();
}

#[test]
fn a_drained_node_has_no_pods_but_those_of_daemon_sets() {
    let cluster = Cluster::alone();
    super::web::load_busybox(&cluster).unwrap();
    let namespace = cluster.namespace("drain").unwrap();
    namespace.apply(&DEPLOYMENT.replace("BUSYBOX", super::web::BUSYBOX)).unwrap();
    let available = Condition::of("deployment", "sleep").within(namespace.name()).is("Available");
    cluster.wait_for(&available, NOTICED).unwrap();
    cluster.running().drain_node("n1").unwrap();
    let node = cluster.kubectl().get(&["node", "n1"]).unwrap();
    assert_eq!(node["spec"]["unschedulable"], true);
    cluster.wait_for(&available, NOTICED).unwrap();
    let pods = cluster.kubectl().get(&["pods", "-n", namespace.name()]).unwrap();
    let living =
        pods["items"].as_array().unwrap().iter().filter(|pod| pod["metadata"]["deletionTimestamp"].is_null());
    assert!(living.clone().count() >= 3);
    assert!(living.clone().all(|pod| pod["spec"]["nodeName"] != "n1"), "{pods}");
}

const DEPLOYMENT: &str = r#"
apiVersion: apps/v1
kind: Deployment
metadata: {name: sleep}
spec:
  replicas: 3
  selector: {matchLabels: {app: sleep}}
  template:
    metadata: {labels: {app: sleep}}
    spec:
      terminationGracePeriodSeconds: 0
      containers:
      - {name: sleep, image: BUSYBOX, imagePullPolicy: Never, command: [/bin/busybox, sleep, infinity]}
"#;

#[test]
fn a_restart_of_the_api_server_keeps_state() {
    let cluster = Cluster::alone();
    let namespace = cluster.namespace("restart").unwrap();
    namespace.apply("{apiVersion: v1, kind: ConfigMap, metadata: {name: kept}, data: {key: value}}").unwrap();
    let kept = || cluster.kubectl().get(&["configmap", "kept", "-n", namespace.name()]);
    let before = kept().unwrap();
    cluster.running().stop_api_server().unwrap();
    assert!(cluster.kubectl().run(&["--request-timeout=2s", "get", "--raw", "/readyz"]).is_err());
    cluster.running().stop_node("n3").unwrap();
    let error = cluster.running().start_node("n3").unwrap_err().to_string();
    assert!(error.contains("the API server is stopped"), "{error}");
    cluster.running().restart_api_server().unwrap();
    assert_eq!(kept().unwrap(), before);
    cluster.running().start_node("n3").unwrap();
    // It goes on to work: controllers and kubelets find it again.
    for node in ["n1", "n2", "n3"] {
        is(&cluster, node, "True");
    }
    Web::start(&cluster, "after").unwrap().meet().unwrap();
}

#[test]
fn programs_that_died_are_mended() {
    let cluster = Cluster::alone();
    let running = cluster.running();
    // etcd last: without it the API server is slow to say that it does not answer.
    for name in ["scheduler", "n2/kube-proxy", "etcd"] {
        let find = || Status::of(running).processes.into_iter().find(|process| process.name == name).unwrap();
        kill_process(Pid::from_raw(find().pid).unwrap(), Signal::KILL).unwrap();
        assert!(poll(NOTICED, || (!find().alive).then_some(())).is_some(), "{name} does not die");
    }
    running.mend().unwrap();
    let status = Status::of(running);
    assert!(status.is_healthy(), "{status:?}");
    let web = Web::start(&cluster, "mended").unwrap();
    super::services::cluster_ips_work(&web).unwrap();
}
