//! Where objects come from. A source only tells which objects there are; what is wrong with what it reads is a list beside
//! them and never stops the rest.

mod defaults;
mod identity;
mod last_good;
mod parse;
mod scan;
mod schema;
mod semantics;
mod store;
mod watch;

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use tokio::sync::mpsc;

use crate::object::ObjectKey;
use crate::world::Event;

pub(crate) use identity::is_dns_name;
pub(crate) use last_good::NAME as LAST_GOOD;
pub use parse::{Found, Parsed, parse};

/// What changed since the last update. The first one holds everything that was there at the start.
#[derive(Clone, Debug, Default)]
pub struct Update {
    /// In order of kind and name, at most one per object.
    pub events: Vec<Event>,
    /// Objects that stand elsewhere now ([`Origins`]).
    pub moved: Vec<ObjectKey>,
    /// Everything that is wrong now, in order of file and line.
    pub errors: Arc<[SourceError]>,
    /// Some of the errors keep objects from being known.
    pub broken: bool,
}

/// A running source.
pub struct Source {
    updates: mpsc::Receiver<Update>,
    origins: Origins,
}

impl Source {
    /// Watches a tree of `.yaml`, `.yml` and `.json` files; what must outlive a restart is below `state_dir`. It ends when
    /// the `Source` is dropped.
    pub fn directory(root: &Path, state_dir: &Path) -> io::Result<Self> {
        let origins = Origins::default();
        let (sender, updates) = mpsc::channel(1);
        watch::start(root, state_dir, origins.clone(), sender)?;
        Ok(Self { updates, origins })
    }

    /// The next changes; None when the source has ended. Cancel-safe.
    pub async fn next(&mut self) -> Option<Update> {
        self.updates.recv().await
    }

    pub fn origins(&self) -> Origins {
        self.origins.clone()
    }
}

/// Which file each object came from; shared with whoever has to tell.
#[derive(Clone, Default, Debug)]
pub struct Origins(Arc<RwLock<BTreeMap<ObjectKey, Origin>>>);

impl Origins {
    pub fn of(&self, key: &ObjectKey) -> Option<Origin> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).get(key).cloned()
    }

    fn set(&self, changes: impl IntoIterator<Item = (ObjectKey, Option<Origin>)>) {
        let mut origins = self.0.write().unwrap_or_else(PoisonError::into_inner);
        for (key, origin) in changes {
            match origin {
                Some(origin) => origins.insert(key, origin),
                None => origins.remove(&key),
            };
        }
    }
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Origin {
    pub path: Arc<Path>,
    pub line: u32,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.path.display(), self.line)
    }
}

/// Something that a source could not use.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct SourceError {
    pub path: PathBuf,
    /// None: the file as a whole.
    pub line: Option<u32>,
    /// Its number in the file, from 1; None: the file as a whole.
    pub document: Option<usize>,
    /// `Kind namespace/name`, as far as it could be read.
    pub object: Option<String>,
    /// As `spec.rules[0].matches`.
    pub field: Option<String>,
    /// What was expected.
    pub message: String,
}

impl fmt::Display for SourceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.path.display())?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        match (&self.object, self.document) {
            (Some(object), Some(document)) => write!(f, ": {object} (document {document})")?,
            (Some(object), None) => write!(f, ": {object}")?,
            (None, Some(document)) => write!(f, ": document {document}")?,
            (None, None) => {}
        }
        if let Some(field) = &self.field {
            write!(f, ": {field}")?;
        }
        write!(f, ": {}", self.message)
    }
}
