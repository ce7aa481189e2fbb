//! The files in a node's `/etc`: containerd, the CNI template, kubelet, kube-proxy, flanneld.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};
use serde_json::json;

use super::super::hosts::Host;
use super::super::options::{Cni, Options};
use super::super::place::Name;
use super::super::running::Running;
use crate::image::Image;

pub(super) fn write(cluster: &Running, node: &Host, folder: &Path) -> Result<()> {
    let (name, options) = (cluster.name(), cluster.options());
    let files = [
        ("containerd/config.toml", containerd()),
        ("kubernetes/cni.conflist", cni(options.cni)),
        ("kubernetes/kubelet.yaml", pretty(&kubelet(name, node))?),
        ("kubernetes/kube-proxy.yaml", pretty(&kube_proxy(name, options, node))?),
        ("kube-flannel/net-conf.json", pretty(&flannel(options))?),
    ];
    for (path, text) in files {
        let path = folder.join("etc").join(path);
        let parent = path.parent().context("a file without a folder")?;
        fs::create_dir_all(parent).with_context(|| format!("create {}", parent.display()))?;
        fs::write(&path, text).with_context(|| format!("write {}", path.display()))?;
    }
    Ok(())
}

fn pretty(value: &serde_json::Value) -> Result<String> {
    // JSON is YAML.
    Ok(serde_json::to_string_pretty(value)? + "\n")
}

/// What needs CAP_SYS_RESOURCE or AppArmor is off: machines that tests run on often have neither.
fn containerd() -> String {
    let pause = Image::PAUSE;
    format!(
        r#"version = 3
root = "/var/lib/containerd"
state = "/run/containerd"
oom_score = 0

[plugins."io.containerd.cri.v1.images"]
  [plugins."io.containerd.cri.v1.images".pinned_images]
    sandbox = "{pause}"

[plugins."io.containerd.cri.v1.runtime"]
  restrict_oom_score_adj = true
  disable_apparmor = true
  disable_hugetlb_controller = true
  [plugins."io.containerd.cri.v1.runtime".cni]
    bin_dirs = ["/opt/cni/bin"]
    conf_dir = "/etc/cni/net.d"
    conf_template = "/etc/kubernetes/cni.conflist"
  [plugins."io.containerd.cri.v1.runtime".containerd]
    default_runtime_name = "runc"
    [plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      [plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc.options]
        SystemdCgroup = false
"#
    )
}

/// containerd fills in the node's CIDRs once the Node has them.
fn cni(cni: Cni) -> String {
    let mtu = match cni {
        Cni::Ptp => 1500,
        // What VXLAN over IPv6 leaves of 1500.
        Cni::Flannel => 1430,
    };
    let ranges = "{{range $i, $r := .PodCIDRRanges}}{{if $i}}, {{end}}[{\"subnet\": \"{{$r}}\"}]{{end}}";
    let routes = "{{range $i, $r := .Routes}}{{if $i}}, {{end}}{\"dst\": \"{{$r}}\"}{{end}}";
    format!(
        r#"{{"cniVersion": "1.0.0", "name": "gatehouse-test", "plugins": [
  {{"type": "ptp", "ipMasq": false, "mtu": {mtu},
   "ipam": {{"type": "host-local", "ranges": [{ranges}], "routes": [{routes}]}}}},
  {{"type": "portmap", "capabilities": {{"portMappings": true}}, "snat": true}}
]}}
"#
    )
}

fn kubelet(cluster: &Name, node: &Host) -> serde_json::Value {
    let pki = cluster.pki();
    let file = |name: &str| pki.join(name).display().to_string();
    json!({
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        // Machines that tests run on may still have version 1.
        "failCgroupV1": false,
        "cgroupDriver": "cgroupfs",
        "oomScoreAdj": 0,
        "failSwapOn": false,
        "authentication": {
            "anonymous": { "enabled": false },
            "webhook": { "enabled": true },
            "x509": { "clientCAFile": file("ca.crt") },
        },
        "authorization": { "mode": "Webhook" },
        "tlsCertFile": file(&format!("{}.crt", node.name)),
        "tlsPrivateKeyFile": file(&format!("{}.key", node.name)),
        "containerRuntimeEndpoint": "unix:///run/containerd/containerd.sock",
        "clusterDomain": "cluster.local",
        "clusterDNS": ["10.96.0.10"],
        "resolvConf": "/etc/resolv.conf",
        "volumePluginDir": "/var/lib/kubelet/volumeplugins",
        // A dead node is noticed in seconds.
        "nodeStatusUpdateFrequency": "2s",
        "nodeLeaseDurationSeconds": 8,
        // All nodes have the machine's disk and memory: what it lacks is no reason to evict.
        "evictionHard": {
            "memory.available": "0%", "nodefs.available": "0%", "imagefs.available": "0%", "nodefs.inodesFree": "0%",
        },
        "imageGCHighThresholdPercent": 100,
        "imageGCLowThresholdPercent": 99,
        "localStorageCapacityIsolation": false,
    })
}

fn kube_proxy(cluster: &Name, options: &Options, node: &Host) -> serde_json::Value {
    json!({
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "mode": options.kube_proxy.to_string(),
        "hostnameOverride": node.name,
        "clientConnection": { "kubeconfig": cluster.kubeconfig_of("kube-proxy") },
        "clusterCIDR": options.pod_cidrs(),
        // The settings of the kernel's connection tracking are the machine's.
        "conntrack": { "maxPerCore": 0, "min": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s" },
    })
}

fn flannel(options: &Options) -> serde_json::Value {
    let mut cidrs = options.pod_cidrs().split(',');
    let mut settings = json!({
        "Network": cidrs.next(),
        "EnableIPv6": options.dual_stack,
        "EnableNFTables": true,
        "Backend": { "Type": "vxlan" },
    });
    // flanneld takes null for a network that it cannot read.
    if let Some(cidr) = cidrs.next() {
        settings["IPv6Network"] = json!(cidr);
    }
    settings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flanneld_is_told_of_no_network_that_is_not_there() {
        let settings = |dual_stack| flannel(&Options { dual_stack, ..Options::default() });
        assert_eq!(settings(true)["IPv6Network"], "fd00:244::/56");
        let single = settings(false);
        assert_eq!(single["Network"], "10.244.0.0/16");
        assert!(single.get("IPv6Network").is_none(), "{single}");
    }
}
