//! What the files said when they were good, kept below the state directory: an agent that starts while a file is broken
//! goes on with that.
//!
//! The directory mirrors the source, a copy per file. Secrets are in it only while their file is broken.

use std::ffi::OsStr;
use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use tracing::warn;

use super::parse::{self, Found};
use crate::object::{Kind, Object};

/// Its name in the state directory.
pub(crate) const NAME: &str = "last-good";
/// Ends the name of each copy: a source around the state directory would read it otherwise.
const SUFFIX: &str = ".kept";
const TEMPORARY: &str = ".tmp";

pub(super) struct LastGood {
    /// The source.
    root: PathBuf,
    dir: PathBuf,
    /// The log says that copies cannot be written.
    told: bool,
}

#[derive(Serialize, Deserialize)]
struct Copy {
    /// A state directory that is used with another source has copies of other files.
    source: String,
    objects: Vec<Entry>,
}

#[derive(Serialize, Deserialize)]
struct Entry {
    kind: String,
    line: u32,
    object: Value,
}

impl LastGood {
    pub(super) fn new(root: &Path, state_dir: &Path) -> Self {
        Self { root: root.to_owned(), dir: state_dir.join(NAME), told: false }
    }

    /// What a file said when it was good; nothing where that is not known.
    pub(super) fn read(&self, path: &Path) -> Vec<Found> {
        let Some(place) = self.place(path) else { return Vec::new() };
        match fs::read(&place).and_then(|bytes| self.decode(&bytes)) {
            Ok(objects) => objects,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => {
                warn!(%error, path = %place.display(), "last good objects of a broken file cannot be read");
                Vec::new()
            }
        }
    }

    /// Keeps what a file says; false when that must be tried again.
    pub(super) fn keep<'a>(
        &mut self,
        path: &Path,
        objects: impl Iterator<Item = &'a Found>,
        broken: bool,
    ) -> bool {
        let objects = objects.filter(|found| broken || found.key.kind != Kind::Secret);
        let done = objects.map(entry).collect::<Result<Vec<_>, _>>().map_err(io::Error::from);
        let done = done.and_then(|objects| self.write(path, objects));
        self.report(path, done)
    }

    /// Removes what is kept of a file; false when that must be tried again.
    pub(super) fn forget(&mut self, path: &Path) -> bool {
        let done = self.write(path, Vec::new());
        self.report(path, done)
    }

    /// The files of which something is kept.
    pub(super) fn paths(&self) -> Vec<PathBuf> {
        let (mut dirs, mut paths) = (vec![self.dir.clone()], Vec::new());
        while let Some(dir) = dirs.pop() {
            for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
                if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                    dirs.push(entry.path());
                } else if let Ok(inside) = entry.path().strip_prefix(&self.dir)
                    && let Some(inside) = inside.as_os_str().as_bytes().strip_suffix(SUFFIX.as_bytes())
                {
                    paths.push(self.root.join(OsStr::from_bytes(inside)));
                }
            }
        }
        paths
    }

    fn place(&self, path: &Path) -> Option<PathBuf> {
        let mut place = self.dir.join(path.strip_prefix(&self.root).ok()?).into_os_string();
        place.push(SUFFIX);
        Some(place.into())
    }

    fn decode(&self, bytes: &[u8]) -> io::Result<Vec<Found>> {
        let copy: Copy = serde_json::from_slice(bytes)?;
        if copy.source != self.root.to_string_lossy() {
            return Ok(Vec::new());
        }
        copy.objects.into_iter().map(found).collect()
    }

    /// A reader sees the old copy or the new one.
    fn write(&self, path: &Path, objects: Vec<Entry>) -> io::Result<()> {
        let Some(place) = self.place(path) else { return Ok(()) };
        if objects.is_empty() {
            return self.remove(&place);
        }
        let copy = Copy { source: self.root.to_string_lossy().into_owned(), objects };
        let bytes = serde_json::to_vec(&copy)?;
        if fs::read(&place).is_ok_and(|old| old == bytes) {
            return Ok(());
        }
        match self.replace(&place, &bytes) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let parent = place.parent().unwrap_or(&self.dir);
                DirBuilder::new().recursive(true).mode(0o700).create(parent)?;
                self.replace(&place, &bytes)
            }
            done => done,
        }
    }

    fn replace(&self, place: &Path, bytes: &[u8]) -> io::Result<()> {
        let temporary = self.dir.join(TEMPORARY);
        let mut options = OpenOptions::new();
        let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
        file.write_all(bytes)?;
        fs::rename(&temporary, place)
    }

    fn remove(&self, place: &Path) -> io::Result<()> {
        match fs::remove_file(place) {
            Err(error) if !matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                return Err(error);
            }
            Ok(()) | Err(_) => {}
        }
        // Fails on a directory that is not empty, which is meant.
        for parent in place.ancestors().skip(1).take_while(|parent| *parent != self.dir) {
            if fs::remove_dir(parent).is_err() {
                break;
            }
        }
        Ok(())
    }

    fn report(&mut self, path: &Path, done: io::Result<()>) -> bool {
        match done {
            Ok(()) => {
                self.told = false;
                true
            }
            Err(error) => {
                if !std::mem::replace(&mut self.told, true) {
                    warn!(%error, path = %path.display(), dir = %self.dir.display(),
                        "what a file says is not kept for a restart; it is tried again");
                }
                false
            }
        }
    }
}

fn entry(found: &Found) -> serde_json::Result<Entry> {
    let object = match &found.object {
        Object::GatewayClass(o) => serde_json::to_value(o),
        Object::GatewayParameters(o) => serde_json::to_value(o),
        Object::Gateway(o) => serde_json::to_value(o),
        Object::HttpRoute(o) => serde_json::to_value(o),
        Object::TlsRoute(o) => serde_json::to_value(o),
        Object::TcpRoute(o) => serde_json::to_value(o),
        Object::UdpRoute(o) => serde_json::to_value(o),
        Object::ReferenceGrant(o) => serde_json::to_value(o),
        Object::Namespace(o) => serde_json::to_value(o),
        Object::Service(o) => serde_json::to_value(o),
        Object::EndpointSlice(o) => serde_json::to_value(o),
        Object::Secret(o) => serde_json::to_value(o),
    }?;
    Ok(Entry { kind: found.key.kind.name().to_owned(), line: found.line, object })
}

fn found(entry: Entry) -> io::Result<Found> {
    let Entry { kind, line, object } = entry;
    let known = Kind::ALL.into_iter().find(|known| known.name() == kind);
    let known = known.ok_or_else(|| io::Error::other(format!("{kind} is no kind of ours")))?;
    let object = parse::typed(known, object).map_err(|problems| {
        let told: Vec<_> = problems.iter().map(|(path, message)| format!("{path}: {message}")).collect();
        io::Error::other(told.join("; "))
    })?;
    Ok(Found { key: crate::world::key_of(&object), object, line })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;
    use std::os::unix::fs::PermissionsExt as _;

    fn files(dir: &Path) -> BTreeMap<PathBuf, u32> {
        let kept = LastGood::new(Path::new(""), dir);
        let mode =
            |path: &Path| fs::metadata(kept.place(path).unwrap()).unwrap().permissions().mode() & 0o777;
        kept.paths().into_iter().map(|path| (path.clone(), mode(&path))).collect()
    }

    #[test]
    fn every_kind_comes_back_as_it_was() {
        let dir = tempfile::tempdir().unwrap();
        let mut kept = LastGood::new(Path::new("/src"), dir.path());
        let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../manifests/examples");
        let mut kinds = std::collections::BTreeSet::new();
        for file in fs::read_dir(examples).unwrap() {
            let path = file.unwrap().path();
            let parsed = parse::parse(&path, &fs::read(&path).unwrap());
            let place = Path::new("/src/sub").join(path.file_name().unwrap());
            assert!(kept.keep(&place, parsed.objects.iter(), true));
            let all = kept.read(&place);
            assert_eq!(all.len(), parsed.objects.len());
            for (a, b) in all.iter().zip(&parsed.objects) {
                kinds.insert(a.key.kind);
                assert_eq!((&a.key, &a.object, a.line), (&b.key, &b.object, b.line));
            }
            assert!(kept.forget(&place));
        }
        assert!(kinds.len() > 6, "{kinds:?}");
        assert!(files(dir.path()).is_empty());
    }

    #[test]
    fn copies_are_the_owners_and_hold_secrets_only_of_broken_files() {
        let dir = tempfile::tempdir().unwrap();
        let path = Path::new("/src/a.yaml");
        let text = b"apiVersion: v1\nkind: Secret\nmetadata: {name: s}\nstringData: {a: b}\n---\n\
            apiVersion: v1\nkind: Namespace\nmetadata: {name: n}\n";
        let parsed = parse::parse(path, text);
        let mut kept = LastGood::new(Path::new("/src"), dir.path());
        assert!(kept.keep(path, parsed.objects.iter(), true));
        assert_eq!(files(dir.path()), BTreeMap::from([("a.yaml".into(), 0o600)]));
        assert_eq!(kept.read(path).len(), 2);
        // Another source knows nothing of it.
        assert_eq!(LastGood::new(Path::new("/other"), dir.path()).read(Path::new("/other/a.yaml")).len(), 0);
        assert!(kept.keep(path, parsed.objects.iter(), false));
        let kinds: Vec<_> = kept.read(path).iter().map(|found| found.key.kind).collect();
        assert_eq!(kinds, [Kind::Namespace]);
        fs::write(kept.place(path).unwrap(), "{").unwrap();
        assert_eq!(kept.read(path).len(), 0);
    }
}
