//! A DaemonSet as an agent of a gateway is one: privileged, in the node's network, with the node's bpffs.

use std::time::Duration;

use gatehouse_cluster::testing::{Cluster, Condition};
use gatehouse_cluster::wait::poll;

use super::web::{BUSYBOX, load_busybox};

const AGENT: &str = r#"
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: agent}
spec:
  selector: {matchLabels: {app: agent}}
  template:
    metadata: {labels: {app: agent}}
    spec:
      hostNetwork: true
      terminationGracePeriodSeconds: 0
      containers:
      - name: agent
        image: BUSYBOX
        imagePullPolicy: Never
        command: [/bin/busybox, sleep, infinity]
        securityContext: {privileged: true}
        volumeMounts:
        - {name: bpf, mountPath: /sys/fs/bpf, mountPropagation: Bidirectional}
        - {name: netns, mountPath: /run/netns, mountPropagation: HostToContainer}
      volumes:
      - {name: bpf, hostPath: {path: /sys/fs/bpf}}
      - {name: netns, hostPath: {path: /run/netns, type: DirectoryOrCreate}}
"#;

#[test]
fn a_privileged_pod_sees_its_nodes_devices_and_its_own_bpffs() {
    let cluster = Cluster::shared();
    load_busybox(&cluster).unwrap();
    let namespace = cluster.namespace("agent").unwrap();
    namespace.apply(&AGENT.replace("BUSYBOX", BUSYBOX)).unwrap();
    let rolled_out = poll(Duration::from_secs(60), || {
        let set = cluster.kubectl().get(&["daemonset", "agent", "-n", namespace.name()]).ok()?;
        (set["status"]["numberReady"] == 3).then_some(())
    });
    assert!(rolled_out.is_some(), "the DaemonSet does not roll out");
    let pods = cluster.kubectl().get(&["pods", "-n", namespace.name()]).unwrap();
    for pod in pods["items"].as_array().unwrap() {
        let (name, node) =
            (pod["metadata"]["name"].as_str().unwrap(), pod["spec"]["nodeName"].as_str().unwrap());
        cluster
            .wait_for(&Condition::of("pod", name).within(namespace.name()), Duration::from_secs(30))
            .unwrap();
        let inside = |script: &str| {
            cluster.exec_pod(namespace.name(), name, &["/bin/busybox", "sh", "-c", script]).unwrap()
        };
        let devices = |listed: &str| listed.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        let seen = devices(&inside("busybox ls /sys/class/net"));
        assert!(seen.contains(&"eth0".to_owned()), "{seen:?}");
        assert_eq!(seen, devices(&cluster.exec(node, &["ls", "/sys/class/net"]).unwrap()), "on {node}");
        let address = cluster.running().node(node).unwrap().addresses().0.to_string();
        assert_eq!(pod["status"]["podIP"], address);
        assert!(inside("busybox ip -4 addr show eth0").contains(&address));
        assert!(inside("busybox grep ' /sys/fs/bpf ' /proc/mounts").contains("bpf"), "no bpffs");
        inside(&format!("busybox mkdir /sys/fs/bpf/{}-{node}", namespace.name()));
    }
    for node in ["n1", "n2", "n3"] {
        let pinned = cluster.exec(node, &["ls", "/sys/fs/bpf"]).unwrap();
        let own: Vec<&str> = pinned.lines().filter(|name| name.starts_with(namespace.name())).collect();
        assert_eq!(own, [format!("{}-{node}", namespace.name())], "each node has what its Pod made");
        cluster.exec(node, &["rmdir", &format!("/sys/fs/bpf/{}-{node}", namespace.name())]).unwrap();
    }
    assert!(!std::path::Path::new("/sys/fs/bpf").join(format!("{}-n1", namespace.name())).exists());
}
