//! A web server on every node, which answers with its Pod's name; its Pods also have a shell and a client.
//!
//! Debian's static busybox crashes at `wget -T`, so `timeout` bounds it.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use gatehouse_cluster::image::{Image, Sbom};
use gatehouse_cluster::testing::{Cluster, Namespace};
use gatehouse_cluster::wait::poll;

pub(crate) const BUSYBOX: &str = "gatehouse.test/busybox:1";
const MINUTE: Duration = Duration::from_secs(60);

/// Every family has its address in `addresses`.
pub(crate) struct Pod {
    pub(crate) name: String,
    pub(crate) node: String,
    pub(crate) addresses: Vec<String>,
}

pub(crate) struct Web<'a> {
    pub(crate) cluster: &'a Cluster,
    pub(crate) namespace: Namespace,
    pub(crate) pods: Vec<Pod>,
}

/// Has every node know the image with a shell.
pub(crate) fn load_busybox(cluster: &Cluster) -> Result<()> {
    let folder = tempfile::tempdir()?;
    std::fs::copy("/bin/busybox", folder.path().join("busybox"))
        .context("copy busybox; Debian's package is busybox-static")?;
    let image = Image {
        names: vec![BUSYBOX.to_owned()],
        title: "busybox",
        description: "A shell in Pods of tests",
        version: "1".to_owned(),
        programs: vec![("busybox", "/bin/busybox")],
        files: Vec::new(),
        entrypoint: "/bin/busybox",
        user: "0:0",
    };
    let archive = folder.path().join("busybox.tar");
    image.pack(folder.path(), &Sbom::new("busybox"), &archive)?;
    cluster.running().nodes().iter().try_for_each(|node| cluster.running().load_image(&node.name, &archive))
}

impl<'a> Web<'a> {
    pub(crate) fn start(cluster: &'a Cluster, label: &str) -> Result<Self> {
        load_busybox(cluster)?;
        let namespace = cluster.namespace(label)?;
        namespace.apply(&WEB.replace("BUSYBOX", BUSYBOX))?;
        let nodes = cluster.running().nodes().len();
        let mut last = String::new();
        let pods = poll(2 * MINUTE, || {
            let (pods, seen) = ready_pods(cluster, namespace.name()).ok()?;
            last = seen;
            (pods.len() == nodes).then_some(pods)
        });
        let pods = pods.with_context(|| format!("not every node has its Pod: {last}"))?;
        Ok(Self { cluster, namespace, pods })
    }

    /// Runs a script in the Pod's shell.
    pub(crate) fn shell(&self, pod: &Pod, script: &str) -> Result<String> {
        self.cluster.exec_pod(self.namespace.name(), &pod.name, &["/bin/busybox", "sh", "-c", script])
    }

    /// Asks `url` again and again from the Pod until all Pods have answered.
    pub(crate) fn all_answer(&self, pod: &Pod, url: &str) -> Result<()> {
        let wanted: BTreeSet<String> = self.pods.iter().map(|pod| pod.name.clone()).collect();
        let mut seen = BTreeSet::new();
        let script = format!(
            "for i in 1 2 3 4 5 6 7 8 9 10; do busybox timeout 2 busybox wget -q -O - {url}; done; true"
        );
        let all = poll(MINUTE, || {
            let said = self.shell(pod, &script).unwrap_or_default();
            seen.extend(said.lines().map(str::to_owned));
            (seen == wanted).then_some(())
        });
        all.with_context(|| format!("{url} from {} on {}: answers of {seen:?}", pod.name, pod.node))
    }

    /// Every Pod asks every other by its own addresses.
    pub(crate) fn meet(&self) -> Result<()> {
        for from in &self.pods {
            let to = self.pods.iter().flat_map(|pod| pod.addresses.iter().map(move |address| (pod, address)));
            let asked: Vec<_> = to.collect();
            let ask = |(_, address): &(&Pod, &String)| {
                format!(
                    "busybox timeout 10 busybox wget -q -O - http://{}:8080/ || echo failed\n",
                    bracketed(address)
                )
            };
            let said = self.shell(from, &asked.iter().map(ask).collect::<String>())?;
            let answers: Vec<&str> = said.lines().collect();
            let wanted: Vec<&str> = asked.iter().map(|(pod, _)| pod.name.as_str()).collect();
            ensure!(
                answers == wanted,
                "from {} on {}: {answers:?} instead of {wanted:?}",
                from.name,
                from.node
            );
        }
        Ok(())
    }
}

/// As it is in a URL.
pub(crate) fn bracketed(address: &str) -> String {
    if address.contains(':') { format!("[{address}]") } else { address.to_owned() }
}

fn ready_pods(cluster: &Cluster, namespace: &str) -> Result<(Vec<Pod>, String)> {
    let list = cluster.kubectl().get(&["pods", "-n", namespace, "-l", "app=web"])?;
    let items = list["items"].as_array().context("no list")?;
    let pods = items.iter().filter_map(|pod| {
        let conditions = pod["status"]["conditions"].as_array()?;
        let ready = conditions.iter().any(|one| one["type"] == "Ready" && one["status"] == "True");
        let addresses = pod["status"]["podIPs"].as_array()?;
        ready.then_some(Pod {
            name: pod["metadata"]["name"].as_str()?.to_owned(),
            node: pod["spec"]["nodeName"].as_str()?.to_owned(),
            addresses: addresses.iter().filter_map(|ip| Some(ip["ip"].as_str()?.to_owned())).collect(),
        })
    });
    let statuses: Vec<String> =
        items.iter().map(|pod| pod["status"]["containerStatuses"].to_string()).collect();
    Ok((pods.collect(), statuses.join("\n")))
}

const WEB: &str = r#"
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: web}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      terminationGracePeriodSeconds: 0
      containers:
      - name: web
        image: BUSYBOX
        imagePullPolicy: Never
        env: [{name: NAME, valueFrom: {fieldRef: {fieldPath: metadata.name}}}]
        command: [/bin/busybox, sh, -c]
        args: ['busybox mkdir -p /tmp/web && echo "$NAME" >/tmp/web/index.html && echo "serving as $NAME" && exec busybox httpd -f -p 8080 -h /tmp/web']
        readinessProbe: {httpGet: {path: /, port: 8080}, periodSeconds: 1}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec:
  ipFamilyPolicy: PreferDualStack
  selector: {app: web}
  ports: [{port: 80, targetPort: 8080}]
"#;
