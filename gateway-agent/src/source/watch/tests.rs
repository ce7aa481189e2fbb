//! The source on real directories, with the real inotify.

use super::super::{Origins, Source};
use crate::object::{Kind, NsName, Object, ObjectKey};
use crate::world::{Event, World};
use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::time::Duration;
use tempfile::TempDir;
use tokio::sync::mpsc;

pub(super) fn namespace(name: &str, label: &str) -> String {
    format!("apiVersion: v1\nkind: Namespace\nmetadata:\n  name: {name}\n  labels: {{v: {label:?}}}\n---\n")
}

/// A source and the world that its updates make.
pub(super) struct Follower {
    source: Source,
    world: World,
    pub(super) errors: Vec<String>,
    pub(super) broken: bool,
    _state: TempDir,
}

impl Follower {
    async fn new(root: &Path) -> Self {
        let state = tempfile::tempdir().unwrap();
        Self::of(Source::directory(root, state.path()).unwrap(), state).await
    }

    pub(super) async fn of(source: Source, state: TempDir) -> Self {
        let world = World::default();
        let mut follower = Self { source, world, errors: Vec::new(), broken: false, _state: state };
        follower.step().await;
        follower
    }

    pub(super) async fn step(&mut self) {
        let update =
            tokio::time::timeout(Duration::from_secs(60), self.source.next()).await.unwrap().unwrap();
        for event in update.events {
            self.world.apply(event);
        }
        self.errors = update.errors.iter().map(ToString::to_string).collect();
        self.broken = update.broken;
    }

    pub(super) async fn until(&mut self, want: &[(&str, &str)]) {
        while self.labels() != want {
            self.step().await;
        }
    }

    pub(super) fn labels(&self) -> Vec<(&str, &str)> {
        let label = |ns: &k8s_openapi::api::core::v1::Namespace| {
            ns.metadata.labels.as_ref().and_then(|l| l.get("v")).map_or("", |v| v.as_str()).to_owned()
        };
        let all = self.world.namespaces.iter();
        all.map(|(name, ns)| (name.name.as_str(), &*label(ns).leak())).collect()
    }
}

#[tokio::test]
async fn files_come_change_break_and_go() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path();
    fs::create_dir(root.join("sub")).unwrap();
    fs::write(root.join("a.yaml"), namespace("a", "1") + &namespace("b", "1")).unwrap();
    fs::write(root.join("notes.txt"), "not ours").unwrap();
    let mut follower = Follower::new(root).await;
    assert_eq!(follower.labels(), [("a", "1"), ("b", "1")]);

    // A new file in a directory below; an editor's rename over an old file.
    fs::write(root.join("sub/c.json"), r#"{"apiVersion":"v1","kind":"Namespace","metadata":{"name":"c"}}"#)
        .unwrap();
    fs::write(root.join(".a.yaml.new"), namespace("a", "2") + &namespace("b", "1")).unwrap();
    fs::rename(root.join(".a.yaml.new"), root.join("a.yaml")).unwrap();
    follower.until(&[("a", "2"), ("b", "1"), ("c", "")]).await;
    assert!(follower.errors.is_empty(), "{:?}", follower.errors);

    // Broken YAML keeps what the file said and is reported; mended, it counts again.
    fs::write(root.join("a.yaml"), namespace("a", "3") + "x: [").unwrap();
    while follower.errors.is_empty() {
        follower.step().await;
    }
    assert_eq!(follower.labels(), [("a", "2"), ("b", "1"), ("c", "")]);
    assert!(follower.errors[0].contains("a.yaml:"), "{:?}", follower.errors);
    fs::write(root.join("a.yaml"), namespace("a", "4")).unwrap();
    follower.until(&[("a", "4"), ("c", "")]).await;
    assert!(follower.errors.is_empty(), "{:?}", follower.errors);

    // A directory goes, then a file; then a whole new directory comes.
    fs::remove_dir_all(root.join("sub")).unwrap();
    fs::remove_file(root.join("a.yaml")).unwrap();
    follower.until(&[]).await;
    fs::create_dir_all(root.join("x/y")).unwrap();
    fs::write(root.join("x/y/z.yml"), namespace("z", "1")).unwrap();
    follower.until(&[("z", "1")]).await;
    let key = ObjectKey { kind: Kind::Namespace, name: NsName::new("", "z") };
    let origin = follower.source.origins().of(&key).unwrap().to_string();
    assert_eq!(origin, root.join("x/y/z.yml:1").display().to_string());
}

#[tokio::test]
async fn without_inotify_which_is_simulated_scans_find_each_change() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("a.yaml"), namespace("a", "1")).unwrap();
    let origins = Origins::default();
    let (sender, updates) = mpsc::channel(1);
    let none: super::Open = |_| Err(notify::Error::generic("too many instances"));
    let state = tempfile::tempdir().unwrap();
    super::start_with(dir.path(), state.path(), origins.clone(), sender, none).unwrap();
    let mut follower = Follower::of(Source { updates, origins }, state).await;
    for version in ["2", "3", "4"] {
        fs::write(dir.path().join("a.yaml"), namespace("a", version)).unwrap();
        follower.until(&[("a", version)]).await;
    }
    fs::remove_file(dir.path().join("a.yaml")).unwrap();
    follower.until(&[]).await;
}

#[tokio::test]
async fn a_file_is_not_read_while_it_is_written() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.yaml");
    fs::write(&path, namespace("a", "1") + &namespace("b", "1")).unwrap();
    let mut follower = Follower::new(dir.path()).await;

    let mut file = fs::File::create(&path).unwrap();
    file.write_all(namespace("a", "2").as_bytes()).unwrap();
    let early = tokio::time::timeout(Duration::from_millis(400), follower.source.next()).await;
    assert!(early.is_err(), "read before the writer closed it: {early:?}");
    file.write_all(namespace("b", "2").as_bytes()).unwrap();
    drop(file);
    follower.step().await;
    assert_eq!(follower.labels(), [("a", "2"), ("b", "2")]);
}

#[tokio::test]
async fn of_a_file_that_stays_open_nothing_is_taken_away() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.yaml");
    fs::write(&path, namespace("a", "1") + &namespace("b", "1")).unwrap();
    let mut follower = Follower::new(dir.path()).await;
    let mut file = fs::File::create(&path).unwrap();
    file.write_all(namespace("a", "2").as_bytes()).unwrap();
    follower.until(&[("a", "2"), ("b", "1")]).await;
    assert!(follower.errors[0].contains("still open for writing"), "{:?}", follower.errors);
    drop(file);
    follower.until(&[("a", "2")]).await;
    assert!(follower.errors.is_empty(), "{:?}", follower.errors);
}

/// As a full disk leaves it.
#[tokio::test]
async fn an_empty_file_takes_nothing_away() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.yaml");
    fs::write(&path, namespace("a", "1")).unwrap();
    let mut follower = Follower::new(dir.path()).await;
    fs::write(&path, "\n").unwrap();
    while follower.errors.is_empty() {
        follower.step().await;
    }
    assert_eq!(follower.labels(), [("a", "1")]);
    assert!(follower.errors[0].contains("is empty, its last objects stay"), "{:?}", follower.errors);
    fs::remove_file(&path).unwrap();
    follower.until(&[]).await;
    assert!(follower.errors.is_empty(), "{:?}", follower.errors);
    fs::write(dir.path().join("new.yaml"), "").unwrap();
    fs::write(dir.path().join("b.yaml"), namespace("b", "1")).unwrap();
    follower.until(&[("b", "1")]).await;
    assert!(follower.errors.is_empty(), "{:?}", follower.errors);
}

/// As when what it leads to is not mounted.
#[tokio::test]
async fn a_link_that_leads_nowhere_takes_nothing_away() {
    let dir = tempfile::tempdir().unwrap();
    let (root, far) = (dir.path().join("root"), dir.path().join("far"));
    for folder in [&root, &far] {
        fs::create_dir(folder).unwrap();
    }
    fs::write(far.join("a.yaml"), namespace("a", "1")).unwrap();
    std::os::unix::fs::symlink(&far, root.join("link")).unwrap();
    let mut follower = Follower::new(&root).await;
    assert_eq!(follower.labels(), [("a", "1")]);
    fs::rename(&far, dir.path().join("away")).unwrap();
    fs::write(root.join("b.yaml"), namespace("b", "1")).unwrap();
    fs::create_dir(root.join("empty")).unwrap();
    while follower.errors.is_empty() {
        follower.step().await;
    }
    assert_eq!(follower.labels(), [("a", "1"), ("b", "1")]);
    fs::remove_file(root.join("link")).unwrap();
    follower.until(&[("b", "1")]).await;
}

/// How the kubelet updates a mounted ConfigMap.
#[tokio::test]
async fn a_swapped_link_replaces_all_files_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path();
    let fill = |version: &str| {
        let data = root.join(format!("..{version}"));
        fs::create_dir(&data).unwrap();
        fs::write(data.join("a.yaml"), namespace("a", version)).unwrap();
        fs::write(data.join("b.yaml"), namespace("b", version)).unwrap();
        std::os::unix::fs::symlink(format!("..{version}"), root.join("..data_tmp")).unwrap();
        fs::rename(root.join("..data_tmp"), root.join("..data")).unwrap();
    };
    fill("1");
    for name in ["a.yaml", "b.yaml"] {
        std::os::unix::fs::symlink(format!("..data/{name}"), root.join(name)).unwrap();
    }
    let mut follower = Follower::new(root).await;
    assert_eq!(follower.labels(), [("a", "1"), ("b", "1")]);
    fill("2");
    follower.step().await;
    assert_eq!(follower.labels(), [("a", "2"), ("b", "2")]);
}

#[tokio::test]
async fn a_root_that_goes_away_takes_nothing_with_it() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("root");
    fs::create_dir(&root).unwrap();
    fs::write(root.join("a.yaml"), namespace("a", "1")).unwrap();
    let mut follower = Follower::new(&root).await;
    fs::rename(&root, dir.path().join("old")).unwrap();
    while follower.errors.is_empty() {
        follower.step().await;
    }
    assert_eq!(follower.labels(), [("a", "1")]);
    fs::create_dir(dir.path().join("new")).unwrap();
    fs::write(dir.path().join("new/b.yaml"), namespace("b", "1")).unwrap();
    fs::rename(dir.path().join("new"), &root).unwrap();
    follower.until(&[("b", "1")]).await;
    assert!(follower.errors.is_empty(), "{:?}", follower.errors);
}

#[tokio::test]
async fn ten_thousand_files_are_one_update() {
    let dir = tempfile::tempdir().unwrap();
    for n in 0..10_000 {
        fs::write(dir.path().join(format!("{n}.yaml")), namespace(&format!("n{n}"), "1")).unwrap();
    }
    let mut follower = Follower::new(dir.path()).await;
    assert_eq!(follower.world.namespaces.len(), 10_000);
    fs::write(dir.path().join("77.yaml"), namespace("n77", "2")).unwrap();
    let update =
        tokio::time::timeout(Duration::from_secs(60), follower.source.next()).await.unwrap().unwrap();
    assert_eq!(update.events.len(), 1);
    assert!(
        matches!(&update.events[0], Event::Apply(Object::Namespace(ns)) if ns.metadata.name.as_deref() == Some("n77"))
    );
}

#[tokio::test]
async fn a_file_that_is_too_large_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let file = fs::File::create(dir.path().join("a.yaml")).unwrap();
    file.set_len(super::scan::MAX_FILE_BYTES + 1).unwrap();
    let follower = Follower::new(dir.path()).await;
    assert!(
        follower.errors[0].ends_with("is larger than 8 MiB; split it into several files"),
        "{:?}",
        follower.errors
    );
}
