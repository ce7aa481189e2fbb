//! Pods: their network, what they print, what is run in them.

use gatehouse_cluster::testing::Cluster;

use super::web::Web;

#[test]
fn pods_on_three_nodes_reach_each_other_over_both_families() {
    let cluster = Cluster::shared();
    let web = Web::start(&cluster, "reach").unwrap();
    let nodes: std::collections::BTreeSet<_> = web.pods.iter().map(|pod| pod.node.clone()).collect();
    assert_eq!(nodes.len(), 3, "{nodes:?}");
    assert!(web.pods.iter().all(|pod| pod.addresses.len() == 2), "each Pod has both families");
    web.meet().unwrap();
}

#[test]
fn clients_on_both_segments_reach_pods() {
    let cluster = Cluster::shared();
    let web = Web::start(&cluster, "clients").unwrap();
    for client in ["client", "far-client"] {
        for pod in &web.pods {
            for address in &pod.addresses {
                let url = format!("http://{}:8080/", super::web::bracketed(address));
                let said = cluster.exec(client, &["busybox", "wget", "-q", "-O", "-", &url]).unwrap();
                assert_eq!(said.trim(), pod.name, "{client} asks {url}");
            }
        }
    }
}

#[test]
fn logs_and_exec_work() {
    let cluster = Cluster::shared();
    let web = Web::start(&cluster, "logs").unwrap();
    for pod in &web.pods {
        let log = cluster.kubectl().run(&["-n", web.namespace.name(), "logs", &pod.name]).unwrap();
        assert_eq!(log.trim(), format!("serving as {}", pod.name));
        assert_eq!(web.shell(pod, "echo $NAME").unwrap().trim(), pod.name);
    }
    let output = cluster.kubectl().output(
        &[
            "-n",
            web.namespace.name(),
            "exec",
            "-i",
            &web.pods[0].name,
            "--",
            "/bin/busybox",
            "sh",
            "-c",
            "busybox cat; exit 3",
        ],
        "through the standard input\n",
    );
    let output = output.unwrap();
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    assert_eq!(String::from_utf8(output.stdout).unwrap(), "through the standard input\n");
}
