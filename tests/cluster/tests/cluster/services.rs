//! ClusterIPs through kube-proxy, and the cluster's DNS.

use anyhow::Result;
use gatehouse_cluster::testing::Cluster;

use super::web::{Web, bracketed};

/// Every Pod reaches every other by the ClusterIPs of their Service.
pub(crate) fn cluster_ips_work(web: &Web<'_>) -> Result<()> {
    let service = web.cluster.kubectl().get(&["service", "web", "-n", web.namespace.name()])?;
    let addresses: Vec<&str> =
        service["spec"]["clusterIPs"].as_array().into_iter().flatten().filter_map(|ip| ip.as_str()).collect();
    anyhow::ensure!(addresses.len() == 2, "a ClusterIP of each family: {addresses:?}");
    for pod in &web.pods {
        for address in &addresses {
            web.all_answer(pod, &format!("http://{}/", bracketed(address)))?;
        }
    }
    Ok(())
}

#[test]
fn cluster_ips_work_with_nftables() {
    let cluster = Cluster::shared();
    let web = Web::start(&cluster, "nftables").unwrap();
    cluster_ips_work(&web).unwrap();
    let rules = cluster.exec("n1", &["nft", "list", "table", "ip", "kube-proxy"]).unwrap();
    assert!(rules.contains(web.namespace.name()), "kube-proxy's table does not know the Service");
    let iptables = cluster.exec("n1", &["iptables-save"]).unwrap();
    assert!(!iptables.contains("KUBE-SVC"), "{iptables}");
}

#[test]
fn names_of_services_resolve_in_pods() {
    let cluster = Cluster::shared();
    let web = Web::start(&cluster, "names").unwrap();
    web.all_answer(&web.pods[0], "http://web/").unwrap();
    web.all_answer(&web.pods[0], &format!("http://web.{}.svc.cluster.local/", web.namespace.name())).unwrap();
}
