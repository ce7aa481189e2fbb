//! Taking a cluster away, from its record alone: it asks none of its processes and works after a crash of any of them.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Error, Result, anyhow};
use rustix::mount::{UnmountFlags, unmount};

use super::cgroup;
use super::lock::Lock;
use super::network::delete_namespace;
use super::place::Name;
use super::record::{Effect, Record};
use super::running::ensure_root;
use crate::progress::{Progress, telling};

/// Removes everything that the cluster made. Nothing to do is no error.
pub fn down(name: &Name, progress: Progress<'_>) -> Result<()> {
    if !name.folder().exists() && !name.lock().exists() {
        return Ok(());
    }
    ensure_root()?;
    let lock = Lock::take(name, &|line| progress(line))?;
    telling(progress, &format!("removing cluster `{name}`"), || undo(name))?;
    lock.remove(name)
}

/// Goes on after a failure, and keeps the record for another try then.
pub(crate) fn undo(name: &Name) -> Result<()> {
    let effects = Record::at(&name.record()).effects();
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
