//! The file system of an image as a tar file: by path, of root, of no time.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use tar::{Builder, EntryType, Header};

/// Files and folders by their path without the first slash.
pub(super) struct Layer {
    entries: BTreeMap<String, Entry>,
}

struct Entry {
    mode: u32,
    /// None of a folder.
    content: Option<Vec<u8>>,
}

impl Layer {
    pub(super) fn new() -> Self {
        Self { entries: BTreeMap::new() }
    }

    pub(super) fn folder(&mut self, path: &str, mode: u32) {
        self.parents(path);
        self.entries.insert(format!("{}/", relative(path)), Entry { mode, content: None });
    }

    pub(super) fn file(&mut self, path: &str, mode: u32, content: Vec<u8>) {
        self.parents(path);
        self.entries.insert(relative(path).to_owned(), Entry { mode, content: Some(content) });
    }

    fn parents(&mut self, path: &str) {
        let path = relative(path);
        for (at, _) in path.match_indices('/') {
            let folder = format!("{}/", &path[..at]);
            self.entries.entry(folder).or_insert(Entry { mode: 0o755, content: None });
        }
    }

    pub(super) fn tar(&self) -> Result<Vec<u8>> {
        let mut builder = Builder::new(Vec::new());
        for (path, entry) in &self.entries {
            let kind = if entry.content.is_some() { EntryType::Regular } else { EntryType::Directory };
            let content = entry.content.as_deref().unwrap_or_default();
            append(&mut builder, path, kind, entry.mode, content)?;
        }
        Ok(builder.into_inner()?)
    }
}

/// Appends what is root's and has no time.
pub(super) fn append(
    builder: &mut Builder<Vec<u8>>,
    path: &str,
    kind: EntryType,
    mode: u32,
    content: &[u8],
) -> Result<()> {
    let mut header = Header::new_ustar();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_size(content.len() as u64);
    builder.append_data(&mut header, path, content).with_context(|| format!("add {path}"))
}

fn relative(path: &str) -> &str {
    path.trim_start_matches('/')
}
