//! A cluster's part of the cgroup tree: in every hierarchy of version 1, and in version 2 where that is all there is or
//! is mounted beside. It is what leads to every process of a cluster, whatever has become of its parents.

use std::collections::BTreeSet;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use super::process::Identity;
use crate::wait::poll;
use rustix::process::Signal;

/// A mounted hierarchy and the place in it below which a cluster may make directories.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Hierarchy {
    pub(crate) mount: PathBuf,
    pub(crate) base: PathBuf,
}

/// The machine's hierarchies. Those of version 1 are used below our own place, so that limits set on us hold for the
/// cluster; in version 2 alone a group with processes cannot have groups with controllers, so it begins at the root.
pub(crate) fn hierarchies() -> Result<Vec<Hierarchy>> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").context("read the mounts")?;
    let own = fs::read_to_string("/proc/self/cgroup").context("read our cgroups")?;
    let found = parse(&mounts, &own);
    if found.is_empty() {
        bail!("no cgroup hierarchy is mounted");
    }
    Ok(found)
}

/// Directories of that name which these processes are in or below.
pub(crate) fn above(name: &str, processes: &[Identity]) -> Result<BTreeSet<PathBuf>> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").context("read the mounts")?;
    let mounted: Vec<_> = mounts.lines().filter_map(mounted).collect();
    let mut found = BTreeSet::new();
    for process in processes {
        // It may have ended.
        let own = fs::read_to_string(format!("/proc/{}/cgroup", process.pid)).unwrap_or_default();
        for Hierarchy { base, .. } in places(&mounted, &own) {
            found.extend(base.ancestors().find(|path| path.ends_with(name)).map(Path::to_owned));
        }
    }
    Ok(found)
}

fn parse(mounts: &str, own: &str) -> Vec<Hierarchy> {
    let mounted: Vec<_> = mounts.lines().filter_map(mounted).collect();
    let alone = mounted.iter().all(|mounted| mounted.kind == "cgroup2");
    let mut found = places(&mounted, own);
    if alone {
        found.iter_mut().for_each(|hierarchy| hierarchy.base = hierarchy.mount.clone());
    }
    found
}

/// The place of a process, of which `own` tells, in each hierarchy.
fn places(mounted: &[Mounted<'_>], own: &str) -> Vec<Hierarchy> {
    let mut found: Vec<Hierarchy> = Vec::new();
    for Mounted { root, point, kind, options } in mounted {
        let place = own.lines().find_map(|line| {
            let mut fields = line.splitn(3, ':').skip(1);
            let (controllers, path) = (fields.next()?, fields.next()?);
            let same = match *kind {
                "cgroup2" => controllers.is_empty(),
                _ => controllers.split(',').any(|own| options.split(',').any(|option| option == own)),
            };
            same.then_some(path)
        });
        if let Some(place) = place.filter(|_| found.iter().all(|known| known.mount != Path::new(point))) {
            let mount = PathBuf::from(point);
            // A container may see only a part of the hierarchy, and by the machine's names.
            let below = Path::new(place).strip_prefix(root).unwrap_or(Path::new(""));
            let base = mount.join(below);
            found.push(Hierarchy { mount, base });
        }
    }
    found
}

/// A mount of a file system of cgroups.
struct Mounted<'a> {
    /// What of the hierarchy is mounted.
    root: &'a str,
    point: &'a str,
    kind: &'a str,
    options: &'a str,
}

fn mounted(line: &str) -> Option<Mounted<'_>> {
    let (left, right) = line.split_once(" - ")?;
    let (mut left, mut right) = (left.split(' ').skip(3), right.split(' '));
    let (root, point) = (left.next()?, left.next()?);
    let (kind, options) = (right.next()?, right.nth(1)?);
    kind.starts_with("cgroup").then_some(Mounted { root, point, kind, options })
}

/// Makes the directory `path`, ready for processes.
pub(crate) fn create(path: &Path) -> Result<()> {
    fs::create_dir_all(path).with_context(|| format!("create {}", path.display()))?;
    // A new cpuset may use nothing until it is told.
    for file in ["cpuset.cpus", "cpuset.mems"] {
        let (own, parent) = (path.join(file), path.parent().map(|parent| parent.join(file)));
        if let (true, Some(parent)) = (is_version_1(path) && own.exists(), parent) {
            let value = fs::read_to_string(parent).context("read a cpuset")?;
            fs::write(&own, value).with_context(|| format!("write {}", own.display()))?;
        }
    }
    Ok(())
}

/// Hands controllers down to the groups below `path`; each one that this kernel or this machine has.
pub(crate) fn delegate(path: &Path) {
    for controller in ["cpu", "cpuset", "memory", "pids", "io", "hugetlb"] {
        // Refused for a controller that is not there or that a version 1 hierarchy has.
        let _unused = fs::write(path.join("cgroup.subtree_control"), format!("+{controller}"));
    }
}

fn is_version_1(path: &Path) -> bool {
    !path.join("cgroup.controllers").exists()
}

/// Stops, or lets go on, everything below the directories `paths` of one group.
pub(crate) fn set_frozen(paths: &[PathBuf], frozen: bool) -> Result<()> {
    let wanted = if frozen { "FROZEN" } else { "THAWED" };
    for path in paths {
        let (old, new) = (path.join("freezer.state"), path.join("cgroup.freeze"));
        if old.exists() {
            fs::write(&old, wanted).with_context(|| format!("write {}", old.display()))?;
            let settled = || fs::read_to_string(&old).is_ok_and(|state| state.trim() == wanted).then_some(());
            return poll(Duration::from_secs(10), settled)
                .with_context(|| format!("it does not become {wanted}"));
        }
        if new.exists() && !paths.iter().any(|path| path.join("freezer.state").exists()) {
            return fs::write(&new, if frozen { "1" } else { "0" })
                .with_context(|| format!("write {}", new.display()));
        }
    }
    bail!("no hierarchy has the freezer")
}

pub(crate) fn is_frozen(paths: &[PathBuf]) -> bool {
    let says = |file: PathBuf, word: &str| fs::read_to_string(file).is_ok_and(|text| text.trim() == word);
    let frozen =
        |path: &PathBuf| says(path.join("freezer.state"), "FROZEN") || says(path.join("cgroup.freeze"), "1");
    paths.iter().any(frozen)
}

/// Kills every process below the directories `paths` and waits until none is left.
pub(crate) fn empty(paths: &[PathBuf]) -> Result<()> {
    // In version 1 the frozen do not die.
    for state in paths.iter().flat_map(|path| below(path)).map(|path| path.join("freezer.state")) {
        if state.exists() {
            fs::write(&state, "THAWED").with_context(|| format!("write {}", state.display()))?;
        }
    }
    let gone = poll(Duration::from_secs(20), || {
        let left = members(paths);
        for process in left.iter().filter_map(|pid| Identity::of(*pid)) {
            process.signal(Signal::KILL);
        }
        left.is_empty().then_some(())
    });
    gone.with_context(|| format!("processes do not die: {:?}", members(paths)))
}

/// Ids of all processes below the directories.
pub(crate) fn members(paths: &[PathBuf]) -> BTreeSet<i32> {
    let mut found = BTreeSet::new();
    for path in paths.iter().flat_map(|path| below(path)) {
        let text = fs::read_to_string(path.join("cgroup.procs")).unwrap_or_default();
        found.extend(text.lines().filter_map(|line| line.parse::<i32>().ok()));
    }
    found
}

/// Removes the directory with all below it, which is empty of processes or about to be; it may be gone already.
pub(crate) fn remove(path: &Path) -> Result<()> {
    let mut last = None;
    let gone = poll(Duration::from_secs(10), || {
        for directory in below(path).iter().rev() {
            match fs::remove_dir(directory) {
                Err(error) if error.kind() != ErrorKind::NotFound => last = Some(error),
                _ => {}
            }
        }
        (!path.exists()).then_some(())
    });
    match (gone, last) {
        (Some(()), _) => Ok(()),
        (None, Some(error)) => Err(error).with_context(|| format!("remove {}", path.display())),
        (None, None) => bail!("{} is not removed", path.display()),
    }
}

/// The directory and all below it, parents first.
fn below(path: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut waiting = vec![path.to_owned()];
    while let Some(directory) = waiting.pop() {
        let entries = fs::read_dir(&directory).into_iter().flatten().flatten();
        let directories = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
        waiting.extend(directories.map(|entry| entry.path()));
        found.push(directory);
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    const HYBRID: &str = "\
30 25 0:26 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755
31 30 0:27 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct
32 30 0:28 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,name=systemd
33 30 0:29 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw
";

    #[test]
    fn version_1_is_used_below_our_own_place() {
        let own = "3:cpu,cpuacct:/jobs/7\n1:name=systemd:/\n0::/\n";
        let found = parse(HYBRID, own);
        let bases: Vec<_> = found.iter().map(|hierarchy| hierarchy.base.to_str().unwrap()).collect();
        assert_eq!(
            bases,
            ["/sys/fs/cgroup/cpu,cpuacct/jobs/7", "/sys/fs/cgroup/systemd/", "/sys/fs/cgroup/unified/"]
        );
    }

    #[test]
    fn a_container_s_own_place_is_where_its_part_is_mounted() {
        let base = |root: &str, place: &str| {
            let mounts = format!("31 30 0:27 {root} /sys/fs/cgroup/pids rw - cgroup cgroup rw,pids\n");
            let found = parse(&mounts, &format!("3:pids:{place}\n"));
            found[0].base.to_str().unwrap().trim_end_matches('/').to_owned()
        };
        assert_eq!(base("/docker/7", "/docker/7"), "/sys/fs/cgroup/pids");
        assert_eq!(base("/docker/7", "/docker/7/job"), "/sys/fs/cgroup/pids/job");
        assert_eq!(base("/docker/7", "/elsewhere"), "/sys/fs/cgroup/pids");
        assert_eq!(base("/", "/jobs/7"), "/sys/fs/cgroup/pids/jobs/7");
    }

    #[test]
    fn version_2_alone_is_used_from_its_root() {
        let mounts = "30 25 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw,nsdelegate\n";
        let found = parse(mounts, "0::/user.slice/session.scope\n");
        assert_eq!(found, [Hierarchy { mount: "/sys/fs/cgroup".into(), base: "/sys/fs/cgroup".into() }]);
    }
}
