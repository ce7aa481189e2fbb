//! `down` leaves the machine as `up` found it, whatever happened in between.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use gatehouse_cluster::cluster::{Name, Options, Running, Status, down};
use gatehouse_cluster::testing::Cluster;
use gatehouse_cluster::wait::poll;
use rustix::process::{Pid, Signal, kill_process};

/// Where a node that is not a machine of its own would leave something.
const STANDARD: [&str; 14] = [
    "/etc/cni",
    "/etc/containerd",
    "/etc/kubernetes",
    "/opt/cni",
    "/root/.kube",
    "/run/containerd",
    "/run/flannel",
    "/run/gatehouse-cluster",
    "/var/lib/cni",
    "/var/lib/containerd",
    "/var/lib/kubelet",
    "/var/log/containers",
    "/var/log/pods",
    "/sys/fs/bpf",
];

/// What kubelet and kube-proxy like to set for the whole machine.
const SETTINGS: [&str; 10] = [
    "kernel/hostname",
    "kernel/keys/root_maxbytes",
    "kernel/keys/root_maxkeys",
    "kernel/panic",
    "kernel/panic_on_oops",
    "net/ipv4/ip_forward",
    "net/ipv4/conf/all/route_localnet",
    "net/netfilter/nf_conntrack_max",
    "vm/overcommit_memory",
    "vm/panic_on_oom",
];

/// Parts of the machine that nobody else changes while this runs.
fn machine() -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    for folder in STANDARD {
        for path in files(Path::new(folder)) {
            all.insert(path.display().to_string(), "is there".to_owned());
        }
    }
    for setting in SETTINGS {
        let value = fs::read_to_string(Path::new("/proc/sys").join(setting)).unwrap_or_default();
        all.insert(setting.to_owned(), value.trim().to_owned());
    }
    for device in names(Path::new("/sys/class/net")) {
        all.insert(format!("device {device}"), "is there".to_owned());
    }
    let rules = Command::new("nft").args(["list", "ruleset"]).output().unwrap();
    all.insert("nft".to_owned(), String::from_utf8(rules.stdout).unwrap());
    all
}

/// Everything on the machine that has to do with the cluster of that name, by kind.
fn traces(name: &Name) -> BTreeMap<&'static str, BTreeSet<String>> {
    let mark = format!("ghc-{name}");
    let folder = format!("gatehouse-cluster/{name}");
    let belongs = |text: &str| {
        let ends = |rest: &str| !rest.starts_with(|c: char| c.is_alphanumeric());
        [&mark, &folder]
            .iter()
            .any(|mark| text.match_indices(mark.as_str()).any(|(at, _)| ends(&text[at + mark.len()..])))
    };
    let mut found: BTreeMap<_, BTreeSet<String>> = BTreeMap::new();
    let mut note = |kind, text: String| found.entry(kind).or_default().insert(text);
    for namespace in names(Path::new("/run/netns")).into_iter().filter(|namespace| belongs(namespace)) {
        note("namespaces", namespace);
    }
    for path in files(Path::new(gatehouse_cluster::cluster::ROOT)) {
        if belongs(&path.display().to_string()) {
            note("files", path.display().to_string());
        }
    }
    for path in directories(Path::new("/sys/fs/cgroup")) {
        if belongs(&path.display().to_string()) {
            note("cgroups", path.display().to_string());
        }
    }
    for pid in names(Path::new("/proc")).into_iter().filter(|name| name.bytes().all(|b| b.is_ascii_digit())) {
        let read = |file: &str| {
            let bytes = fs::read(Path::new("/proc").join(&pid).join(file)).unwrap_or_default();
            String::from_utf8_lossy(&bytes).into_owned()
        };
        // A process that ended is its reaper's, which takes its time.
        let ended = read("stat").rsplit_once(") ").is_none_or(|(_, fields)| fields.starts_with(['Z', 'X']));
        // By cgroup, as this test's own arguments and those of what runs it may have the name.
        if !ended && belongs(&read("cgroup")) {
            note("processes", format!("{pid} {}", read("cmdline").replace('\0', " ")));
        }
        for line in read("mountinfo").lines().filter(|line| belongs(line)) {
            note("mounts", line.to_owned());
        }
    }
    found
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

/// The folder and everything below it that is no mount point's inside.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    if let Ok(kind) = fs::symlink_metadata(folder) {
        found.push(folder.to_owned());
        if kind.is_dir() {
            found.extend(names(folder).iter().flat_map(|name| files(&folder.join(name))));
        }
    }
    found
}

fn directories(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let own = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    own.flat_map(|entry| [vec![entry.path()], directories(&entry.path())].concat()).collect()
}

fn quiet(_: &str) {}

/// The cluster is taken down and the machine is as it was.
#[track_caller]
fn goes_away(name: &Name, before: &BTreeMap<String, String>) {
    down(name, &quiet).unwrap();
    assert_eq!(traces(name), BTreeMap::new());
    let after = machine();
    let left: Vec<_> = after.iter().filter(|(key, value)| before.get(*key) != Some(value)).collect();
    assert!(left.is_empty(), "left: {left:?}");
    assert_eq!(before.len(), after.len(), "gone: {before:?} {after:?}");
    down(name, &quiet).unwrap();
}

#[test]
fn down_leaves_a_clean_machine_also_after_crashes() {
    let name: Name = "clean".parse().unwrap();
    down(&name, &quiet).unwrap();
    let before = machine();
    let running = Running::up(&name, &Options { nodes: 2, ..Options::default() }, &quiet).unwrap();
    // A Pod, so that there are shims, containers and their mounts.
    let kubectl = running.kubectl();
    let pod = "{apiVersion: v1, kind: Pod, metadata: {name: pause}, spec: {nodeName: n1, containers: [{name: pause, image: PAUSE}]}}";
    kubectl.apply(&pod.replace("PAUSE", gatehouse_cluster::image::Image::PAUSE)).unwrap();
    kubectl.run(&["wait", "pod/pause", "--for=condition=Ready", "--timeout=60s"]).unwrap();
    let kinds: Vec<_> = traces(&name).into_keys().collect();
    assert_eq!(kinds, ["cgroups", "files", "mounts", "namespaces", "processes"], "what this test looks for");

    // What a user runs there is in the caller's cgroup, and may have gone on to a Pod's network.
    let stray = |script: &str| running.command("n1", "sh").unwrap().args(["-c", script]).spawn().unwrap();
    let mut strays = [
        stray("exec sleep 600"),
        stray("for pod in /run/netns/cni-*; do exec nsenter --net=$pod sleep 600; done"),
    ];
    for child in &strays {
        let name = format!("/proc/{}/comm", child.id());
        let sleeps = || fs::read_to_string(&name).is_ok_and(|name| name.trim() == "sleep").then_some(());
        poll(Duration::from_secs(30), sleeps).unwrap();
    }
    running.freeze_node("n2").unwrap();
    let status = Status::of(&running);
    for victim in ["etcd", "apiserver", "n1/containerd", "n1/init"] {
        let process = status.processes.iter().find(|process| process.name == victim).unwrap();
        kill_process(Pid::from_raw(process.pid).unwrap(), Signal::KILL).unwrap();
    }
    goes_away(&name, &before);
    assert!(strays.iter_mut().all(|stray| stray.try_wait().unwrap().is_some()), "somebody is still there");
}

#[test]
fn down_leaves_a_clean_machine_after_up_was_killed() {
    let name: Name = "killed".parse().unwrap();
    down(&name, &quiet).unwrap();
    let before = machine();
    // Killed once it has said so many lines; the first comes before any process, the last ones among kubelets.
    for lines in [1, 2, 4] {
        let own = std::env::current_exe().unwrap();
        let xtask = own.ancestors().nth(2).unwrap().join("xtask");
        let mut up = Command::new(&xtask)
            .args(["cluster", "--name", "killed", "up", "--nodes", "2"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{}: {error}; cargo build -p xtask makes it", xtask.display()));
        let said: Vec<String> =
            BufReader::new(up.stdout.take().unwrap()).lines().take(lines).map_while(Result::ok).collect();
        up.kill().unwrap();
        up.wait().unwrap();
        assert_eq!(said.len(), lines, "up ended by itself: {said:?}");
        assert!(!traces(&name).is_empty(), "there is something to clean up");
        goes_away(&name, &before);
    }
}

#[test]
fn down_finds_a_cluster_whose_folder_is_gone_and_no_other() {
    let name: Name = "lost".parse().unwrap();
    down(&name, &quiet).unwrap();
    let other = Cluster::shared();
    let options = Options { nodes: 1, ..Options::default() };
    Running::up(&name, &options, &quiet).unwrap();
    // Not at once, as its programs still write there.
    poll(Duration::from_secs(30), || fs::remove_dir_all(name.folder()).ok()).unwrap();
    fs::remove_file(Path::new(gatehouse_cluster::cluster::ROOT).join("lost.lock")).unwrap();
    assert!(gatehouse_cluster::cluster::all().unwrap().contains(&name));
    let found = traces(&name);
    assert!(found.contains_key("processes") && found.contains_key("cgroups"), "{found:?}");
    down(&name, &quiet).unwrap();
    assert_eq!(traces(&name), BTreeMap::new());
    assert!(Status::of(other.running()).is_healthy());
}

#[test]
fn a_new_cluster_replaces_what_a_killed_up_left() {
    let name: Name = "again".parse().unwrap();
    down(&name, &quiet).unwrap();
    let options = Options { nodes: 1, ..Options::default() };
    // As after a kill: a folder with a record and nothing that says that it is complete.
    fs::create_dir_all(name.folder()).unwrap();
    fs::write(name.folder().join("record"), format!("{{\"netns\":\"{}\"}}\n{{\"cgr", name.netns("n1")))
        .unwrap();
    Command::new("ip").args(["netns", "add", &name.netns("n1")]).status().unwrap();
    let running = Running::up(&name, &options, &quiet).unwrap();
    assert!(Status::of(&running).is_healthy());
    assert!(Running::up(&name, &options, &quiet).is_err(), "one that runs is left alone");
    assert!(Status::of(&running).is_healthy());
    down(&name, &quiet).unwrap();
    assert_eq!(traces(&name), BTreeMap::new());
}
