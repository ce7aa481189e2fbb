//! The user's cache of built components: `COMPONENT-KEY` each, complete or absent, and small.

use std::fs::{self, File, OpenOptions};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context as _, Result};
use rustix::fs::{FlockOperation, flock, syncfs};

use crate::progress::{EACH, FIRST};

/// What is used at least this often stays.
const KEEP: Duration = Duration::from_secs(14 * 24 * 3600);
/// What was used since then may be about to be started.
const RECENT: Duration = Duration::from_secs(3600);
const LIMIT: u64 = 1_000_000_000;
/// Begins the folder of what is not complete.
const MAKING: &str = ".making-";

pub(super) struct Cache {
    root: PathBuf,
}

/// The right to build and to remove; ends with the process.
pub(super) struct Lock<'a> {
    cache: &'a Cache,
    _file: File,
}

/// One folder of the cache.
#[derive(Clone, Debug)]
struct Entry {
    name: String,
    used: SystemTime,
    bytes: u64,
}

impl Cache {
    pub(super) fn of_user() -> Result<Self> {
        let home = || std::env::home_dir().map(|home| home.join(".cache"));
        let caches = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
        let caches = caches.or_else(home).context("neither XDG_CACHE_HOME nor HOME is set")?;
        Self::at(&caches.join("gatehouse/cluster"))
    }

    pub(super) fn at(root: &Path) -> Result<Self> {
        fs::create_dir_all(root).with_context(|| format!("create {}", root.display()))?;
        Ok(Self { root: root.to_owned() })
    }

    pub(super) fn folder(&self, component: &str, key: &str) -> PathBuf {
        self.root.join(format!("{component}-{key}"))
    }

    pub(super) fn has(&self, folder: &Path) -> bool {
        folder.is_dir()
    }

    /// Waits until no other process builds.
    pub(super) fn lock(&self, progress: &dyn Fn(&str)) -> Result<Lock<'_>> {
        let file = locked(&self.root.join("lock"), progress)?;
        let lock = Lock { cache: self, _file: file };
        lock.sweep()?;
        Ok(lock)
    }

    fn entries(&self) -> Result<Vec<Entry>> {
        let mut entries = Vec::new();
        for entry in fs::read_dir(&self.root)? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let metadata = entry.metadata()?;
            if metadata.is_dir() && !name.starts_with('.') {
                entries.push(Entry { name, used: metadata.modified()?, bytes: size(&entry.path())? });
            }
        }
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(entries)
    }
}

/// A file that is this process's alone: waits for another builder.
pub(super) fn locked(path: &Path, progress: &dyn Fn(&str)) -> Result<File> {
    let file = OpenOptions::new().create(true).write(true).truncate(false).open(path)?;
    let begun = Instant::now();
    let mut next = FIRST;
    loop {
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(file),
            Err(rustix::io::Errno::WOULDBLOCK) => thread::sleep(Duration::from_millis(100)),
            Err(error) => return Err(error).with_context(|| format!("lock {}", path.display())),
        }
        if begun.elapsed() >= next {
            progress(&format!("waiting for another build … {} s", begun.elapsed().as_secs()));
            next = begun.elapsed() + EACH;
        }
    }
}

impl Lock<'_> {
    /// Removes what builders left that were killed: none lives while this one holds the lock.
    fn sweep(&self) -> Result<()> {
        for entry in fs::read_dir(&self.cache.root)? {
            let entry = entry?;
            if entry.file_name().to_string_lossy().starts_with(MAKING) {
                fs::remove_dir_all(entry.path())
                    .with_context(|| format!("remove {}", entry.path().display()))?;
            }
        }
        Ok(())
    }

    /// Has `make` fill `folder`, which appears only when that is done.
    pub(super) fn insert(&self, folder: &Path, make: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
        let name = folder.file_name().unwrap_or_default().to_string_lossy();
        let making = self.cache.root.join(format!("{MAKING}{name}"));
        fs::create_dir(&making).with_context(|| format!("create {}", making.display()))?;
        if let Err(error) = make(&making) {
            let _ = fs::remove_dir_all(&making);
            return Err(error);
        }
        // A machine that stops may keep a name and lose what is under it.
        syncfs(File::open(&making)?)?;
        fs::rename(&making, folder).with_context(|| format!("move {} into place", making.display()))
    }

    /// Removes what nobody seems to use; never one of `current`, which may be folders elsewhere.
    pub(super) fn prune(&self, current: &[PathBuf], progress: &dyn Fn(&str)) -> Result<()> {
        let current: Vec<_> = current.iter().filter_map(|path| path.file_name()?.to_str()).collect();
        for name in doomed(&self.cache.entries()?, &current, SystemTime::now()) {
            progress(&format!("{name}: removed from the cache"));
            let path = self.cache.root.join(&name);
            // Under another name first: whoever looks for it finds all of it or nothing.
            let leaving = self.cache.root.join(format!("{MAKING}{name}"));
            fs::rename(&path, &leaving).with_context(|| format!("move {} away", path.display()))?;
            fs::remove_dir_all(&leaving).with_context(|| format!("remove {}", leaving.display()))?;
        }
        Ok(())
    }
}

/// What goes: the unused that a newer one replaced; then, over the limit, the longest unused.
fn doomed(entries: &[Entry], current: &[&str], now: SystemTime) -> Vec<String> {
    let idle = |entry: &Entry| now.duration_since(entry.used).unwrap_or_default();
    let replaced = |entry: &Entry| {
        entries.iter().any(|other| component(other) == component(entry) && other.used > entry.used)
    };
    let spare = entries.iter().filter(|entry| !current.contains(&entry.name.as_str()));
    let (mut going, mut staying): (Vec<_>, Vec<_>) =
        spare.partition(|entry| idle(entry) > KEEP && replaced(entry));
    let total = |entries: &[&Entry]| entries.iter().map(|entry| entry.bytes).sum::<u64>();
    let mut left = total(&entries.iter().collect::<Vec<_>>()) - total(&going);
    staying.sort_by_key(|entry| entry.used);
    for entry in staying {
        if left > LIMIT && idle(entry) > RECENT {
            left -= entry.bytes;
            going.push(entry);
        }
    }
    going.iter().map(|entry| entry.name.clone()).collect()
}

fn component(entry: &Entry) -> &str {
    entry.name.rsplit_once('-').map_or(&entry.name, |(component, _)| component)
}

/// Says that the folder was used now.
pub(super) fn touch(folder: &Path) -> Result<()> {
    let opened = File::open(folder).with_context(|| format!("open {}", folder.display()))?;
    opened.set_modified(SystemTime::now()).with_context(|| format!("touch {}", folder.display()))
}

/// Bytes of the files in a folder.
pub(super) fn size(folder: &Path) -> Result<u64> {
    let mut bytes = 0;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let metadata = entry.metadata()?;
        bytes += if metadata.is_dir() { size(&entry.path())? } else { metadata.len() };
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests;
