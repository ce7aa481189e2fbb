//! What may tell why a test failed, kept in a folder beside the test's program.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::thread;

use anyhow::{Context as _, Result};

use super::say;
use crate::cluster::{Running, Status, tail};

/// Lines of each log.
const LINES: usize = 2000;
/// Pods whose logs are kept.
const PODS: usize = 60;
/// Of the Gateway API.
const KINDS: [&str; 8] = [
    "gatewayclasses",
    "gateways",
    "httproutes",
    "grpcroutes",
    "tlsroutes",
    "tcproutes",
    "udproutes",
    "referencegrants",
];

/// Writes it all down and says where; what cannot be had leaves a file that says so.
pub(super) fn keep(cluster: &Running) {
    match write(cluster) {
        Ok(folder) => say(&format!("logs, events and objects of the cluster: {}", folder.display())),
        Err(error) => say(&format!("the cluster's logs could not be kept: {error:#}")),
    }
}

fn write(cluster: &Running) -> Result<PathBuf> {
    let folder = folder(cluster)?;
    fs::create_dir_all(&folder).with_context(|| format!("create {}", folder.display()))?;
    let status = Status::of(cluster);
    put(&folder, "status.json", &serde_json::to_string_pretty(&status)?)?;
    for process in &status.processes {
        put(&folder, &format!("{}.log", process.name.replace('/', "-")), &tail(&process.log, LINES))?;
    }
    let asked: [(&str, &[&str]); 3] = [
        ("events.txt", &["get", "events", "-A", "--sort-by=.lastTimestamp"]),
        ("pods.txt", &["get", "pods", "-A", "-o", "wide"]),
        ("objects.yaml", &["get", "nodes,pods,services,endpointslices", "-A", "-o", "yaml"]),
    ];
    for (name, arguments) in asked {
        put(&folder, name, &ask(cluster, arguments))?;
    }
    // One by one: a channel or a release may lack some.
    for kind in KINDS {
        put(&folder, &format!("{kind}.yaml"), &ask(cluster, &["get", kind, "-A", "-o", "yaml"]))?;
    }
    for host in cluster.nodes().iter().map(|node| node.name.as_str()) {
        let script = "ip -br addr; ip route; ip -6 route; ip neigh; mount | wc -l";
        let output = cluster.command(host, "sh").and_then(|mut sh| Ok(sh.args(["-c", script]).output()?));
        let text = output.map_or_else(
            |error| format!("{error:#}"),
            |out| String::from_utf8_lossy(&out.stdout).into_owned(),
        );
        put(&folder, &format!("{host}-network.txt"), &text)?;
    }
    let pods = ask(
        cluster,
        &["get", "pods", "-A", "--no-headers", "-o", "custom-columns=:.metadata.namespace,:.metadata.name"],
    );
    for line in pods.lines().take(PODS) {
        let mut words = line.split_whitespace();
        if let (Some(namespace), Some(pod)) = (words.next(), words.next()) {
            let logs = ["-n", namespace, "logs", pod, "--all-containers", "--prefix", "--tail=200"];
            put(&folder, &format!("pod-{namespace}-{pod}.log"), &ask(cluster, &logs))?;
            let earlier = [&["--request-timeout=10s"], logs.as_slice(), &["--previous"]].concat();
            // Most containers have never ended, which is an error.
            let output = cluster.kubectl().output(&earlier, "")?;
            if !output.stdout.is_empty() {
                let name = format!("pod-{namespace}-{pod}-previous.log");
                put(&folder, &name, &String::from_utf8_lossy(&output.stdout))?;
            }
        }
    }
    Ok(folder)
}

fn ask(cluster: &Running, arguments: &[&str]) -> String {
    let bounded = [&["--request-timeout=10s"], arguments].concat();
    cluster.kubectl().run(&bounded).unwrap_or_else(|error| format!("{error:#}\n"))
}

fn put(folder: &Path, name: &str, text: &str) -> Result<()> {
    let path = folder.join(name);
    fs::write(&path, text).with_context(|| format!("write {}", path.display()))
}

/// One per test, the latest failure's.
fn folder(cluster: &Running) -> Result<PathBuf> {
    let own = env::current_exe().context("find the running program")?;
    let build = own.parent().and_then(Path::parent).context("the running program has no folder")?;
    let test = thread::current().name().unwrap_or("test").replace("::", "-");
    let folder = build.join("cluster-failures").join(format!("{}-{test}", cluster.name()));
    match fs::remove_dir_all(&folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).context("remove the last failure")
        }
        _ => Ok(folder),
    }
}
