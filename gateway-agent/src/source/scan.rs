//! Which files are there, and whether they are still the same.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, Metadata};
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// Files above this are refused. A cluster keeps objects below 1.5 MiB each; this is one file of many.
pub(super) const MAX_FILE_BYTES: u64 = 8 << 20;
/// Directories below the root; a loop of symbolic links ends here at the latest.
const MAX_DEPTH: usize = 16;

/// Tells one state of a file from another without reading it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl From<&Metadata> for Stamp {
    fn from(m: &Metadata) -> Self {
        Self {
            device: m.dev(),
            inode: m.ino(),
            size: m.size(),
            modified: (m.mtime(), m.mtime_nsec()),
            changed: (m.ctime(), m.ctime_nsec()),
        }
    }
}

#[derive(Default, Debug)]
pub(super) struct Scan {
    pub(super) files: BTreeMap<PathBuf, Stamp>,
    /// Directories and links that could not be looked into; what is below them is unknown.
    pub(super) errors: Vec<(PathBuf, io::Error)>,
}

/// Every file of the tree that is ours to read, symbolic links followed. An error: the root itself cannot be read.
pub(super) fn scan(root: &Path) -> io::Result<Scan> {
    let mut scan = Scan::default();
    let entries = fs::read_dir(root)?;
    let mut seen = BTreeSet::from([identity(&fs::metadata(root)?)]);
    walk(root, entries, 0, &mut seen, &mut scan);
    Ok(scan)
}

fn walk(
    directory: &Path,
    entries: fs::ReadDir,
    depth: usize,
    seen: &mut BTreeSet<(u64, u64)>,
    scan: &mut Scan,
) {
    for entry in entries {
        let path = match entry {
            Ok(entry) => entry.path(),
            Err(error) => {
                scan.errors.push((directory.to_owned(), error));
                return;
            }
        };
        if is_hidden(&path) {
            continue;
        }
        let metadata = match fs::metadata(&path) {
            Ok(metadata) => metadata,
            // Gone since it was listed; a link is there whose end is not, such as one into what is not mounted.
            Err(error) if error.kind() == io::ErrorKind::NotFound && !is_link(&path) => continue,
            Err(error) => {
                scan.errors.push((path, error));
                continue;
            }
        };
        if metadata.is_file() && is_ours(&path) {
            scan.files.insert(path, Stamp::from(&metadata));
        } else if metadata.is_dir() && depth < MAX_DEPTH && seen.insert(identity(&metadata)) {
            match fs::read_dir(&path) {
                Ok(entries) => walk(&path, entries, depth + 1, seen, scan),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => scan.errors.push((path, error)),
            }
        }
    }
}

fn is_link(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_symlink())
}

pub(super) fn identity(metadata: &Metadata) -> (u64, u64) {
    (metadata.dev(), metadata.ino())
}

/// Names with a dot in front: `..data` of a mounted ConfigMap, editors' swap files, `.git`.
pub(super) fn is_hidden(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."))
}

pub(super) fn is_ours(path: &Path) -> bool {
    path.extension().is_some_and(|e| e == "yaml" || e == "yml" || e == "json")
}

/// Reads a file whose size is bounded whatever its metadata says.
pub(super) fn read(path: &Path) -> io::Result<(Stamp, Vec<u8>)> {
    let file = File::open(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(io::Error::other("is not a regular file"));
    }
    let mut bytes = Vec::new();
    (&file).take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err(io::Error::other(format!(
            "is larger than {} MiB; split it into several files",
            MAX_FILE_BYTES >> 20
        )));
    }
    Ok((Stamp::from(&file.metadata()?), bytes))
}
