//! What the agent leaves for `gatectl` to read when it is dead: objects and their status, a line of JSON each.
//!
//! Changes are appended, so that one costs what it changes; the last line of an object counts. When most lines are old,
//! the file is written anew.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use gateway_common::admin::ObjectStatus;
use serde::{Deserialize, Serialize};

use crate::object::{Kind, ObjectKey};

pub type Objects = BTreeMap<ObjectKey, Arc<ObjectStatus>>;

/// Its name in the runtime directory.
pub const NAME: &str = "objects.jsonl";
/// Old lines that are kept however few objects there are.
const SLACK: usize = 1024;

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
enum Line<'a> {
    Is(Cow<'a, ObjectStatus>),
    Gone(Name),
}

/// Kind, namespace and name.
#[derive(PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
struct Name(String, Option<String>, String);

#[derive(Debug)]
pub struct ObjectsFile {
    path: PathBuf,
    /// None: what it says is another agent's, or half of what it should say.
    file: Option<File>,
    lines: usize,
}

impl ObjectsFile {
    pub fn new(path: PathBuf) -> Self {
        Self { path, file: None, lines: 0 }
    }

    /// Makes the file say what became of the `changed` ones; how many lines that took.
    pub fn write(&mut self, changed: &BTreeSet<ObjectKey>, objects: &Objects) -> anyhow::Result<usize> {
        let written = self.append(changed, objects);
        if written.is_err() {
            self.file = None;
        }
        written.with_context(|| format!("writing {}", self.path.display()))
    }

    fn append(&mut self, changed: &BTreeSet<ObjectKey>, objects: &Objects) -> anyhow::Result<usize> {
        let mut text = Vec::new();
        if let Some(file) = &mut self.file
            && self.lines + changed.len() <= 2 * objects.len() + SLACK
        {
            for key in changed {
                line(&mut text, &objects.get(key).map_or_else(|| Line::Gone(name(key)), is))?;
            }
            file.write_all(&text)?;
            self.lines += changed.len();
            return Ok(changed.len());
        }
        for object in objects.values() {
            line(&mut text, &is(object))?;
        }
        self.file = Some(replace(&self.path, &text)?);
        self.lines = objects.len();
        Ok(objects.len())
    }
}

fn is(object: &Arc<ObjectStatus>) -> Line<'_> {
    Line::Is(Cow::Borrowed(object))
}

fn line(text: &mut Vec<u8>, line: &Line<'_>) -> serde_json::Result<()> {
    serde_json::to_writer(&mut *text, line)?;
    text.push(b'\n');
    Ok(())
}

fn name(key: &ObjectKey) -> Name {
    let namespace = Some(key.name.namespace.clone()).filter(|namespace| !namespace.is_empty());
    Name(key.kind.name().to_owned(), namespace, key.name.name.clone())
}

/// A reader sees the old file or the new one.
fn replace(path: &Path, text: &[u8]) -> io::Result<File> {
    let temporary = path.with_extension("tmp");
    let mut file = File::create(&temporary)?;
    file.write_all(text)?;
    std::fs::rename(&temporary, path)?;
    Ok(file)
}

/// What the file says; a last line that is cut off was never written.
pub fn read(path: &Path) -> anyhow::Result<Vec<ObjectStatus>> {
    let text = std::fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
    let mut objects = BTreeMap::new();
    let place = |name: Name| (Kind::ALL.iter().position(|kind| kind.name() == name.0), name);
    for line in text.split_inclusive('\n').filter(|line| line.ends_with('\n')) {
        let line: Line<'_> =
            serde_json::from_str(line).with_context(|| format!("reading {}", path.display()))?;
        match line {
            Line::Is(object) => {
                let ObjectStatus { kind, namespace, name, .. } = &*object;
                let name = Name(kind.clone(), namespace.clone(), name.clone());
                objects.insert(place(name), object.into_owned());
            }
            Line::Gone(name) => drop(objects.remove(&place(name))),
        }
    }
    Ok(objects.into_values().collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::object::NsName;

    fn key(name: &str) -> ObjectKey {
        ObjectKey { kind: Kind::Service, name: NsName::new("shop", name) }
    }

    fn put(world: &mut Objects, name: &str, generation: i64) -> ObjectKey {
        let object = ObjectStatus {
            api_version: "v1".to_owned(),
            kind: "Service".to_owned(),
            namespace: Some("shop".to_owned()),
            name: name.to_owned(),
            generation,
            origin: None,
            status: serde_json::Value::Null,
        };
        world.insert(key(name), Arc::new(object));
        key(name)
    }

    fn check(path: &Path, world: &Objects) {
        assert_eq!(read(path).unwrap(), world.values().map(|object| (**object).clone()).collect::<Vec<_>>());
    }

    #[test]
    fn the_file_says_what_is_whatever_was_written_before() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("objects.jsonl");
        std::fs::write(&path, "what another version left").unwrap();
        let (mut file, mut world) = (ObjectsFile::new(path.clone()), Objects::new());
        let both = BTreeSet::from([put(&mut world, "a", 1), put(&mut world, "b", 1)]);
        assert_eq!(file.write(&both, &world).unwrap(), 2);
        check(&path, &world);
        let changed = BTreeSet::from([put(&mut world, "a", 2), key("b")]);
        world.remove(&key("b"));
        assert_eq!(file.write(&changed, &world).unwrap(), 2);
        check(&path, &world);
        // The agent died while it wrote.
        file.file.as_mut().unwrap().write_all(b"{\"is\":").unwrap();
        check(&path, &world);
    }

    #[test]
    fn the_file_does_not_grow_for_ever() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("objects.jsonl");
        let (mut file, mut world) = (ObjectsFile::new(path.clone()), Objects::new());
        let mut most = 0;
        for generation in 0..2 * SLACK as i64 {
            let changed = BTreeSet::from([put(&mut world, "a", generation)]);
            file.write(&changed, &world).unwrap();
            most = most.max(std::fs::read_to_string(&path).unwrap().lines().count());
        }
        assert_eq!(most, SLACK + 2);
        check(&path, &world);
    }
}
