//! Follows a directory tree: inotify for speed, a slow scan for what inotify misses.
//!
//! One thread of its own: reading a tree blocks. A burst of events is waited out, a file that is being written is left
//! alone until its writer closes it.

mod keep;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc as std_mpsc;
use std::thread;
use std::time::{Duration, Instant};

use notify::event::{AccessKind, AccessMode, EventKind, ModifyKind};
use notify::{RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::sync::mpsc;
use tracing::{info, warn};

use super::last_good::LastGood;
use super::scan::{self, Stamp};
use super::store::Store;
use super::{Origins, SourceError, Update, parse};

/// Without an event for this long, a burst is over.
const QUIET: Duration = Duration::from_millis(50);
/// A burst that does not end is cut here.
const LONGEST_BURST: Duration = Duration::from_secs(1);
/// A file that is open for writing is read at last when nothing was written to it for so long.
const LONGEST_WRITE: Duration = Duration::from_secs(5);
const RESCAN: Duration = Duration::from_secs(30);
/// The same without inotify, whose instances a user can have only so many of (fs.inotify.max_user_instances).
const BLIND_RESCAN: Duration = Duration::from_secs(1);

type Events = std_mpsc::Sender<notify::Result<notify::Event>>;
type Open = fn(Events) -> notify::Result<RecommendedWatcher>;

pub(super) fn start(
    root: &Path,
    state_dir: &Path,
    origins: Origins,
    updates: mpsc::Sender<Update>,
) -> io::Result<()> {
    start_with(root, state_dir, origins, updates, notify::recommended_watcher)
}

fn start_with(
    root: &Path,
    state_dir: &Path,
    origins: Origins,
    updates: mpsc::Sender<Update>,
    open: Open,
) -> io::Result<()> {
    fs::read_dir(root)?;
    // Events carry absolute paths whatever was asked for.
    let root = std::path::absolute(root)?;
    let last_good = LastGood::new(&root, state_dir);
    thread::Builder::new().name("source".to_owned()).spawn(move || {
        let (sender, events) = std_mpsc::channel();
        let mut watch = Watch {
            root,
            sender,
            open,
            watcher: None,
            told_blind: false,
            store: Store::default(),
            last_good,
            recalled: false,
            unkept: BTreeSet::new(),
            dark: Vec::new(),
            stamps: BTreeMap::new(),
            writing: BTreeMap::new(),
            tree_errors: Vec::new(),
            told_errors: None,
            ignored: BTreeSet::new(),
        };
        watch.run(&events, &origins, &updates);
    })?;
    Ok(())
}

struct Watch {
    root: PathBuf,
    sender: Events,
    open: Open,
    /// And the directory that it watches, which a rename can replace under the same name.
    watcher: Option<(RecommendedWatcher, (u64, u64))>,
    /// The log says that there is no watcher.
    told_blind: bool,
    store: Store,
    last_good: LastGood,
    /// Copies that a former agent left were looked through.
    recalled: bool,
    /// Files whose copies may be old.
    unkept: BTreeSet<PathBuf>,
    /// What could not be looked into at the last scan.
    dark: Vec<PathBuf>,
    stamps: BTreeMap<PathBuf, Stamp>,
    /// Files that somebody writes to, and when the last write was.
    writing: BTreeMap<PathBuf, Instant>,
    tree_errors: Vec<SourceError>,
    told_errors: Option<std::sync::Arc<[SourceError]>>,
    /// Kinds already mentioned in the log.
    ignored: BTreeSet<String>,
}

/// What a burst of events calls for.
#[derive(Default, Debug)]
struct Due {
    tree: bool,
    files: BTreeSet<PathBuf>,
    /// Files whose writer has fallen silent without closing them.
    abandoned: BTreeSet<PathBuf>,
}

impl Due {
    const TREE: Self = Self { tree: true, files: BTreeSet::new(), abandoned: BTreeSet::new() };

    fn is_nothing(&self) -> bool {
        !self.tree && self.files.is_empty() && self.abandoned.is_empty()
    }
}

/// Whether a file can be taken as whole.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Writer {
    Done,
    Silent,
}

impl Watch {
    fn run(
        &mut self,
        events: &std_mpsc::Receiver<notify::Result<notify::Event>>,
        origins: &Origins,
        updates: &mpsc::Sender<Update>,
    ) {
        let mut due = Due::TREE;
        let mut scanned = Instant::now();
        loop {
            if due.tree {
                scanned = Instant::now();
                self.read_tree();
            }
            for path in &due.files {
                self.read_file(path, Writer::Done);
            }
            for path in &due.abandoned {
                self.read_file(path, Writer::Silent);
            }
            if !self.tell(origins, updates) {
                return;
            }
            self.keep();
            due = loop {
                if updates.is_closed() {
                    return;
                }
                let due = self.wait(events, scanned);
                if !due.is_nothing() {
                    break due;
                }
            };
        }
    }

    /// Sends what changed; false when nobody listens any more.
    fn tell(&mut self, origins: &Origins, updates: &mpsc::Sender<Update>) -> bool {
        let changes = self.store.settle();
        let moved: Vec<_> = changes.origins.iter().map(|(key, _)| key.clone()).collect();
        origins.set(changes.origins);
        let mut errors = self.store.errors();
        if !self.tree_errors.is_empty() {
            let mut all: Vec<_> = self.tree_errors.iter().chain(errors.iter()).cloned().collect();
            all.sort();
            errors = all.into();
        }
        let news = self.told_errors.as_ref() != Some(&errors);
        if changes.events.is_empty() && moved.is_empty() && !news {
            return true;
        }
        let told = self.told_errors.replace(errors.clone()).unwrap_or_default();
        for error in errors.iter().filter(|error| told.binary_search(error).is_err()) {
            warn!(%error, "source");
        }
        let broken = self.store.broken() || !self.tree_errors.is_empty();
        updates.blocking_send(Update { events: changes.events, moved, errors, broken }).is_ok()
    }

    /// Waits for events and the end of their burst, or for the time of the next scan.
    fn wait(&mut self, events: &std_mpsc::Receiver<notify::Result<notify::Event>>, scanned: Instant) -> Due {
        let mut due = Due::default();
        let mut burst: Option<Instant> = None;
        loop {
            let patience = match burst {
                Some(begun) => QUIET.min(LONGEST_BURST.saturating_sub(begun.elapsed())),
                // Short enough to see that nobody listens any more.
                None => self.rescan().saturating_sub(scanned.elapsed()).min(Duration::from_secs(1)),
            };
            match events.recv_timeout(patience) {
                Ok(event) => {
                    if self.note(event, &mut due) {
                        burst.get_or_insert_with(Instant::now);
                    }
                }
                Err(_) => break,
            }
            if burst.is_some_and(|begun| begun.elapsed() >= LONGEST_BURST) {
                break;
            }
        }
        if scanned.elapsed() >= self.rescan() {
            due.tree = true;
        }
        self.take_abandoned(&mut due);
        due.files.retain(|path| !self.writing.contains_key(path));
        due
    }

    fn take_abandoned(&mut self, due: &mut Due) {
        let silent = |since: &Instant| since.elapsed() >= LONGEST_WRITE;
        let abandoned: Vec<_> =
            self.writing.iter().filter(|(_, since)| silent(since)).map(|(path, _)| path.clone()).collect();
        for path in abandoned {
            self.writing.remove(&path);
            due.files.remove(&path);
            due.abandoned.insert(path);
        }
    }

    /// Takes an event in; true if it is about the tree's content.
    fn note(&mut self, event: notify::Result<notify::Event>, due: &mut Due) -> bool {
        let Ok(event) = event else {
            due.tree = true;
            return true;
        };
        if event.need_rescan() {
            due.tree = true;
            return true;
        }
        let closed = match event.kind {
            EventKind::Access(AccessKind::Close(AccessMode::Write)) => true,
            EventKind::Access(_) => return false,
            EventKind::Any
            | EventKind::Create(_)
            | EventKind::Modify(_)
            | EventKind::Remove(_)
            | EventKind::Other => false,
        };
        let written = matches!(event.kind, EventKind::Modify(ModifyKind::Data(_)));
        let mut about_us = false;
        for path in event.paths {
            if path == self.root || !path.starts_with(&self.root) {
                let sibling = path.parent() == self.root.parent() && path != self.root;
                due.tree |= !sibling;
                about_us |= !sibling;
                continue;
            }
            about_us = true;
            if self.is_plain_file(&path) {
                if written {
                    self.writing.insert(path.clone(), Instant::now());
                } else {
                    self.writing.remove(&path);
                }
                due.files.insert(path);
            } else if !closed && !written {
                due.tree = true;
            }
        }
        about_us
    }

    /// A file of ours that no hidden directory or link stands behind: reading it alone is enough.
    fn is_plain_file(&self, path: &Path) -> bool {
        let Ok(inside) = path.strip_prefix(&self.root) else { return false };
        let hidden = inside.components().any(|c| c.as_os_str().as_encoded_bytes().starts_with(b"."));
        if hidden || !scan::is_ours(path) {
            return false;
        }
        match fs::symlink_metadata(path) {
            Ok(metadata) => metadata.is_file(),
            Err(_) => self.stamps.contains_key(path),
        }
    }

    /// Compares the whole tree with what was read.
    fn read_tree(&mut self) {
        self.follow_root();
        let found = match scan::scan(&self.root) {
            Ok(found) => found,
            Err(error) => {
                let message = format!("the source directory cannot be read, its last objects stay: {error}");
                self.tree_errors = vec![file_error(&self.root, message)];
                return;
            }
        };
        self.tree_errors = found
            .errors
            .iter()
            .map(|(path, error)| file_error(path, format!("cannot be read, its last objects stay: {error}")))
            .collect();
        self.look_through_copies(&found);
        let gone: Vec<PathBuf> = self
            .store
            .paths()
            .filter(|path| !found.files.contains_key(*path) && !self.is_dark(path))
            .cloned()
            .collect();
        for path in gone {
            self.forget(&path);
        }
        for (path, stamp) in &found.files {
            if self.stamps.get(path) != Some(stamp) && !self.writing.contains_key(path) {
                self.read_file(path, Writer::Done);
            }
        }
    }

    fn forget(&mut self, path: &Path) {
        self.stamps.remove(path);
        self.writing.remove(path);
        self.store.remove(path);
        self.unkept.insert(path.to_owned());
    }

    fn read_file(&mut self, path: &Path, writer: Writer) {
        self.unkept.insert(path.to_owned());
        match scan::read(path) {
            Ok((stamp, bytes)) => {
                self.stamps.insert(path.to_owned(), stamp);
                let mut parsed = parse(path, &bytes);
                for kind in &parsed.ignored {
                    if self.ignored.insert(kind.clone()) {
                        info!(kind, path = %path.display(), "kind not read, ignored");
                    }
                }
                if let Some(doubt) = self.doubt(path, &bytes, writer) {
                    parsed.partial = true;
                    parsed.errors.push(file_error(path, doubt.to_owned()));
                }
                if !parsed.errors.is_empty() {
                    self.recall(path);
                }
                self.store.replace(path, parsed);
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => self.forget(path),
            Err(error) => {
                self.stamps.remove(path);
                self.recall(path);
                self.store
                    .keep(path, file_error(path, format!("cannot be read, its last objects stay: {error}")));
            }
        }
    }

    /// Why what a file does not say may still be meant.
    fn doubt(&mut self, path: &Path, bytes: &[u8], writer: Writer) -> Option<&'static str> {
        if writer == Writer::Silent {
            return Some(
                "is still open for writing; objects that it does not have stay until its writer closes it",
            );
        }
        // What a full disk leaves of a file that is copied.
        if bytes.iter().all(u8::is_ascii_whitespace) {
            self.recall(path);
            let had = self.store.says(path).is_some_and(|(mut objects, _)| objects.next().is_some());
            return had.then_some("is empty, its last objects stay; delete the file to remove them");
        }
        None
    }

    /// Watches the directory that the root's name means now, and its parent for the moment that this changes.
    fn follow_root(&mut self) {
        let Ok(metadata) = fs::metadata(&self.root) else { return };
        let identity = scan::identity(&metadata);
        if self.watcher.as_ref().is_some_and(|(_, watched)| *watched == identity) {
            return;
        }
        match self.watcher() {
            Ok(watcher) => {
                self.watcher = Some((watcher, identity));
                self.told_blind = false;
            }
            Err(error) => {
                self.watcher = None;
                if !std::mem::replace(&mut self.told_blind, true) {
                    let seconds = BLIND_RESCAN.as_secs();
                    warn!(%error, path = %self.root.display(), seconds, "no inotify, scanning instead");
                }
            }
        }
    }

    const fn rescan(&self) -> Duration {
        if self.watcher.is_some() { RESCAN } else { BLIND_RESCAN }
    }

    fn watcher(&self) -> notify::Result<RecommendedWatcher> {
        let mut watcher = (self.open)(self.sender.clone())?;
        watcher.watch(&self.root, RecursiveMode::Recursive)?;
        if let Some(parent) = self.root.parent() {
            // Only for speed: the scan sees a replaced root too.
            let _ = watcher.watch(parent, RecursiveMode::NonRecursive);
        }
        Ok(watcher)
    }
}

fn file_error(path: &Path, message: String) -> SourceError {
    SourceError { path: path.to_owned(), line: None, document: None, object: None, field: None, message }
}

#[cfg(test)]
mod tests;
