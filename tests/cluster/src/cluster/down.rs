//! Taking a cluster away, from its record, and from its name where the record is lost: it asks none of its processes and
//! works after a crash of any of them.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Error, Result, anyhow};
use rustix::mount::{UnmountFlags, unmount};

use super::cgroup;
use super::lock::Lock;
use super::network::{delete_namespace, inside, namespaces};
use super::place::Name;
use super::process::{Identity, end_rooted};
use super::record::{Effect, Record};
use super::running::ensure_root;
use crate::progress::{Progress, telling};

/// Removes everything that the cluster made. Nothing to do is no error.
pub fn down(name: &Name, progress: Progress<'_>) -> Result<()> {
    if !name.folder().exists() && !name.lock().exists() && unrecorded(name, &[])?.is_empty() {
        return Ok(());
    }
    ensure_root()?;
    let lock = Lock::take(name, &|line| progress(line))?;
    telling(progress, &format!("removing cluster `{name}`"), || undo(name))?;
    lock.remove(name)
}

/// Goes on after a failure, and keeps the record for another try then.
pub(crate) fn undo(name: &Name) -> Result<()> {
    let mut effects = Record::at(&name.record()).effects();
    effects.extend(unrecorded(name, &effects)?);
    let groups: Vec<PathBuf> = effects
        .iter()
        .filter_map(|effect| match effect {
            Effect::Cgroup(path) => Some(path.clone()),
            Effect::Netns(_) | Effect::Process { .. } => None,
        })
        .collect();
    let mut errors: Vec<Error> = Vec::new();
    let mut note = |outcome: Result<()>| errors.extend(outcome.err());
    // All at once, so that nobody restarts anybody. Mounts of nodes go with the last process of each.
    note(cgroup::empty(&groups));
    let nodes = fs::read_dir(name.nodes()).into_iter().flatten().flatten();
    nodes.for_each(|node| note(end_rooted(&node.path().join("root"))));
    for effect in effects.iter().rev() {
        match effect {
            Effect::Process { identity, .. } => note(identity.kill()),
            Effect::Cgroup(path) => note(cgroup::remove(path)),
            Effect::Netns(netns) => note(delete_namespace(netns)),
        }
    }
    if errors.is_empty() {
        errors.extend(remove_folder(&name.folder()).err());
    }
    match errors.len() {
        0 => Ok(()),
        _ => {
            let all: Vec<String> = errors.iter().map(|error| format!("{error:#}")).collect();
            Err(anyhow!("cluster `{name}` is not quite gone: {}", all.join("; ")))
        }
    }
}

/// Effects that `known` lacks, because somebody removed the record: the namespaces by their names, the cgroups of who is in
/// them, and those that `up` would make from here.
fn unrecorded(name: &Name, known: &[Effect]) -> Result<Vec<Effect>> {
    let own = namespaces().into_iter().filter(|netns| Name::of_netns(netns).as_ref() == Some(name));
    let lost: Vec<String> = own.filter(|netns| !known.contains(&Effect::Netns(netns.clone()))).collect();
    let processes: Vec<Identity> = lost.iter().flat_map(|netns| inside(netns)).collect();
    let mut groups = cgroup::above(&name.cgroup(), &processes)?;
    let here = cgroup::hierarchies().unwrap_or_default().into_iter();
    let here = here.map(|hierarchy| hierarchy.base.join(name.cgroup()));
    groups.extend(here.filter(|group| group.exists()));
    let groups = groups.into_iter().map(Effect::Cgroup).filter(|group| !known.contains(group));
    Ok(groups.chain(lost.into_iter().map(Effect::Netns)).collect())
}

/// Nothing is deleted through a mount.
fn remove_folder(folder: &Path) -> Result<()> {
    for mounted in mounts_under(folder)?.iter().rev() {
        unmount(mounted, UnmountFlags::DETACH).with_context(|| format!("unmount {}", mounted.display()))?;
    }
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("remove {}", folder.display()))
        }
        _ => Ok(()),
    }
}

fn mounts_under(folder: &Path) -> Result<Vec<PathBuf>> {
    let table = fs::read_to_string("/proc/self/mountinfo").context("read the mounts")?;
    let points = table.lines().filter_map(|line| line.split(' ').nth(4)).map(PathBuf::from);
    Ok(points.filter(|point| point.starts_with(folder)).collect())
}
