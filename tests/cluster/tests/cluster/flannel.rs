//! The other way to build a cluster: VXLAN between the nodes, kube-proxy with iptables, a name of its own.

use gatehouse_cluster::cluster::{Cni, KubeProxy, Options};
use gatehouse_cluster::testing::Cluster;

use super::services::cluster_ips_work;
use super::web::Web;

#[test]
fn pods_and_cluster_ips_work_with_flannel_and_iptables() {
    let options = Options { cni: Cni::Flannel, kube_proxy: KubeProxy::Iptables, ..Options::default() };
    let cluster = Cluster::own("flannel", &options);
    let web = Web::start(&cluster, "flannel").unwrap();
    web.meet().unwrap();
    cluster_ips_work(&web).unwrap();
    for (node, family) in [("n1", "flannel.1"), ("n2", "flannel-v6.1")] {
        let link = cluster.exec(node, &["ip", "-d", "-s", "link", "show", family]).unwrap();
        assert!(link.contains("vxlan"), "{link}");
        let sent =
            cluster.exec(node, &["cat", &format!("/sys/class/net/{family}/statistics/tx_packets")]).unwrap();
        assert_ne!(sent.trim(), "0", "nothing went through {family} of {node}");
    }
    let rules = cluster.exec("n1", &["iptables-save"]).unwrap();
    assert!(rules.contains("KUBE-SVC"), "{rules}");
    assert!(cluster.exec("n1", &["nft", "list", "table", "ip", "kube-proxy"]).is_err());
}
