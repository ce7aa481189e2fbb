use std::cell::Cell;
use std::os::unix::process::ExitStatusExt as _;
use std::process::Command;

use super::*;

const DAY: Duration = Duration::from_secs(24 * 3600);
const NAME: &str = "artifacts::cache::tests::";
/// Tells a test that it is the process that another one kills.
const CHILD: &str = "GATEHOUSE_CACHE_UNDER_TEST";

fn silent(_: &str) {}

fn write(text: &'static str) -> impl FnOnce(&Path) -> Result<()> {
    move |into| Ok(fs::write(into.join("program"), text)?)
}

fn names(cache: &Cache) -> Vec<String> {
    cache.entries().unwrap().into_iter().map(|entry| entry.name).collect()
}

#[test]
fn what_fails_leaves_nothing() {
    let root = tempfile::tempdir().unwrap();
    let cache = Cache::at(root.path()).unwrap();
    let folder = cache.folder("a", "1");
    let lock = cache.lock(&silent).unwrap();
    let half = |into: &Path| {
        fs::write(into.join("program"), "half").unwrap();
        anyhow::bail!("broken")
    };
    assert!(lock.insert(&folder, half).is_err());
    assert!(!cache.has(&folder));
    lock.insert(&folder, write("whole")).unwrap();
    assert_eq!(fs::read_to_string(folder.join("program")).unwrap(), "whole");
    assert_eq!(names(&cache), ["a-1"]);
}

/// Runs this test program again as one that builds and never ends.
#[test]
fn a_killed_build_leaves_no_half_entry() {
    if let Some(root) = std::env::var_os(CHILD) {
        let cache = Cache::at(Path::new(&root)).unwrap();
        let forever = |into: &Path| {
            fs::write(into.join("program"), "half").unwrap();
            loop {
                thread::sleep(DAY);
            }
        };
        cache.lock(&silent).unwrap().insert(&cache.folder("a", "1"), forever).unwrap();
    }
    let root = tempfile::tempdir().unwrap();
    let cache = Cache::at(root.path()).unwrap();
    let half = root.path().join(format!("{MAKING}a-1/program"));
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", &format!("{NAME}a_killed_build_leaves_no_half_entry")])
        .env(CHILD, root.path())
        .spawn()
        .unwrap();
    let begun = Instant::now();
    while !half.exists() && begun.elapsed() < Duration::from_secs(30) {
        thread::sleep(Duration::from_millis(10));
    }
    assert!(half.exists(), "the child does not build");
    child.kill().unwrap();
    assert_eq!(child.wait().unwrap().signal(), Some(9));
    assert!(!cache.has(&cache.folder("a", "1")));
    cache.lock(&silent).unwrap().insert(&cache.folder("a", "1"), write("whole")).unwrap();
    assert!(!half.exists());
    assert_eq!(names(&cache), ["a-1"]);
}

#[test]
fn two_builders_build_once() {
    let root = tempfile::tempdir().unwrap();
    let built = std::sync::atomic::AtomicU32::new(0);
    let build = || {
        let cache = Cache::at(root.path()).unwrap();
        let folder = cache.folder("a", "1");
        let lock = cache.lock(&silent).unwrap();
        if !cache.has(&folder) {
            let make = |into: &Path| {
                built.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
                thread::sleep(Duration::from_millis(300));
                write("whole")(into)
            };
            lock.insert(&folder, make).unwrap();
        }
        assert_eq!(fs::read_to_string(folder.join("program")).unwrap(), "whole");
    };
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(build);
        }
    });
    assert_eq!(built.into_inner(), 1);
}

#[test]
fn who_waits_is_told_so() {
    let root = tempfile::tempdir().unwrap();
    let cache = Cache::at(root.path()).unwrap();
    let held = Cell::new(Some(cache.lock(&silent).unwrap()));
    let told = Cell::new(false);
    let progress = |line: &str| {
        assert!(line.contains("another build"), "{line}");
        told.set(true);
        held.take();
    };
    cache.lock(&progress).unwrap();
    assert!(told.get());
}

/// Name, hours since it was used, megabytes.
fn plan(entries: &[(&str, u32, u64)], current: &[&str]) -> Vec<String> {
    let now = SystemTime::UNIX_EPOCH + 1000 * DAY;
    let entries: Vec<_> = entries
        .iter()
        .map(|(name, hours, megabytes)| Entry {
            name: (*name).to_owned(),
            used: now - *hours * DAY / 24,
            bytes: megabytes * 1_000_000,
        })
        .collect();
    doomed(&entries, current, now)
}

#[test]
fn the_unused_go_when_there_is_a_newer_one() {
    let days = |days: u32| days * 24;
    let entries = [("a-1", days(15), 1), ("a-2", 0, 1), ("a-3", days(13), 1), ("b-1", days(90), 1)];
    assert_eq!(plan(&entries, &["a-2"]), ["a-1"]);
    assert!(plan(&entries, &["a-1", "a-2"]).is_empty(), "what is current stays");
}

#[test]
fn over_the_limit_the_longest_unused_go() {
    let entries = [("a-1", 5, 400), ("a-2", 0, 400), ("b-1", 9, 400), ("c-1", 0, 400), ("d-1", 2, 100)];
    assert_eq!(plan(&entries, &["a-2"]), ["b-1", "a-1"], "what was used just now stays, as does what fits");
    assert_eq!(plan(&entries, &["a-2", "b-1"]), ["a-1", "d-1"], "a cluster runs from b-1");
    assert!(plan(&entries[..2], &["a-2"]).is_empty());
}

#[test]
fn pruning_removes_folders() {
    let root = tempfile::tempdir().unwrap();
    let cache = Cache::at(root.path()).unwrap();
    let lock = cache.lock(&silent).unwrap();
    for key in ["1", "2"] {
        lock.insert(&cache.folder("a", key), write("whole")).unwrap();
    }
    let old = File::open(cache.folder("a", "1")).unwrap();
    old.set_modified(SystemTime::now() - 15 * DAY).unwrap();
    lock.prune(&[cache.folder("a", "2")], &silent).unwrap();
    assert_eq!(names(&cache), ["a-2"]);
    assert_eq!(size(&cache.folder("a", "2")).unwrap(), 5);
}
