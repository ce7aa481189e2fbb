//! Writes the status of objects as YAML files, `KIND/NAMESPACE/NAME.yaml`: what the API server would show, for people and
//! scripts on a node without one. The only user of `--status-dir`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use gateway_common::admin::ObjectStatus;
use serde::Serialize;

use crate::object::ObjectKey;
use crate::objects_file::Objects;

/// The first line of a file that is ours to replace and remove.
const MARK: &str = "# Written by gateway-agent; changes are lost.\n";
/// Beside the file that it becomes; no object's name begins so.
const TEMPORARY: &str = ".tmp";
/// The longest name of a file (`NAME_MAX` of limits.h). A DNS name may have 253 bytes.
const LONGEST_NAME: usize = 255;

/// The directory, and what it holds of ours.
#[derive(Debug)]
pub struct StatusDir {
    root: PathBuf,
    written: BTreeMap<PathBuf, String>,
    /// Nothing of a former agent is left.
    swept: bool,
    /// To be tried again.
    failed: BTreeSet<ObjectKey>,
    /// Files of others where ours should be; the log says so.
    foreign: BTreeSet<PathBuf>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct File<'a> {
    api_version: &'a str,
    kind: &'a str,
    metadata: Metadata<'a>,
    status: &'a serde_json::Value,
}

#[derive(Serialize)]
struct Metadata<'a> {
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    namespace: Option<&'a str>,
    generation: i64,
}

impl StatusDir {
    /// Makes the directory and finds what a former agent left in it.
    pub fn open(root: &Path) -> anyhow::Result<Self> {
        fs::create_dir_all(root)
            .with_context(|| format!("creating the status directory {} (--status-dir)", root.display()))?;
        let mut written = BTreeMap::new();
        find(root, 0, &mut written)
            .with_context(|| format!("reading the status directory {} (--status-dir)", root.display()))?;
        Ok(Self {
            root: root.to_owned(),
            written,
            swept: false,
            failed: BTreeSet::new(),
            foreign: BTreeSet::new(),
        })
    }

    /// Makes the directory show what became of the `changed` ones. Every file is tried; the first failure is returned.
    pub fn write(&mut self, changed: &BTreeSet<ObjectKey>, objects: &Objects) -> anyhow::Result<()> {
        let mut failure = None;
        let again = std::mem::take(&mut self.failed);
        for key in again.union(changed) {
            let path = self.root.join(place(key));
            let done = match objects.get(key).filter(|object| !object.status.is_null()) {
                Some(object) => self.write_one(&path, object),
                None => self.remove(&path),
            };
            if let Err(error) = done {
                failure.get_or_insert(error);
                self.failed.insert(key.clone());
            }
        }
        if !self.swept {
            self.swept = true;
            let wanted: BTreeSet<_> = objects.keys().map(|key| self.root.join(place(key))).collect();
            let gone: Vec<_> = self.written.keys().filter(|path| !wanted.contains(*path)).cloned().collect();
            for path in gone {
                if let Err(error) = self.remove(&path) {
                    failure.get_or_insert(error);
                    self.swept = false;
                }
            }
        }
        failure.map_or(Ok(()), Err)
    }

    fn write_one(&mut self, path: &Path, object: &ObjectStatus) -> anyhow::Result<()> {
        let text = render(object)?;
        if self.written.get(path) == Some(&text) {
            return Ok(());
        }
        if is_foreign(path) {
            if self.foreign.insert(path.to_owned()) {
                tracing::warn!(path = %path.display(), "not written by gateway-agent, left as it is; remove it to see the status");
            }
            return Ok(());
        }
        self.foreign.remove(path);
        replace(path, &text).with_context(|| format!("writing {}", path.display()))?;
        self.written.insert(path.to_owned(), text);
        Ok(())
    }

    fn remove(&mut self, path: &Path) -> anyhow::Result<()> {
        if !self.written.contains_key(path) {
            return Ok(());
        }
        if is_foreign(path) {
            self.written.remove(path);
            return Ok(());
        }
        match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(error).with_context(|| format!("removing {}", path.display()));
            }
            Ok(()) | Err(_) => {}
        }
        self.written.remove(path);
        // Fails on a directory that is not empty, which is meant.
        for parent in path.ancestors().skip(1).take_while(|parent| *parent != self.root) {
            if fs::remove_dir(parent).is_err() {
                break;
            }
        }
        Ok(())
    }
}

/// Names are DNS names (`source` and the API server see to that), so none leads out of the directory.
fn place(key: &ObjectKey) -> PathBuf {
    let mut path = PathBuf::from(key.kind.name().to_ascii_lowercase());
    if !key.name.namespace.is_empty() {
        path.push(&key.name.namespace);
    }
    path.join(file_name(&key.name.name))
}

/// A name that is too long for a file is cut, and told from others that begin alike by a hash.
fn file_name(name: &str) -> String {
    const SUFFIX: &str = ".yaml";
    if name.len() + SUFFIX.len() <= LONGEST_NAME {
        return format!("{name}{SUFFIX}");
    }
    let hash = name.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    // No object's name has an underscore.
    let end = format!("_{hash:016x}{SUFFIX}");
    format!("{}{end}", &name[..LONGEST_NAME - end.len()])
}

fn render(object: &ObjectStatus) -> anyhow::Result<String> {
    let file = File {
        api_version: &object.api_version,
        kind: &object.kind,
        metadata: Metadata {
            name: &object.name,
            namespace: object.namespace.as_deref(),
            generation: object.generation,
        },
        status: &object.status,
    };
    let yaml = serde_saphyr::to_string(&file)
        .with_context(|| format!("status of {} {} as YAML", object.kind, object.name))?;
    Ok(format!("{MARK}{yaml}"))
}

/// There is a file without our mark.
fn is_foreign(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|metadata| !metadata.is_dir())
        && !fs::read(path).is_ok_and(|bytes| bytes.starts_with(MARK.as_bytes()))
}

/// A reader sees the old file or the new one.
fn replace(path: &Path, text: &str) -> io::Result<()> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    let temporary = path.with_file_name(TEMPORARY);
    fs::write(&temporary, text)?;
    fs::rename(&temporary, path)
}

/// Files with our mark, and what a killed agent left half written.
fn find(dir: &Path, depth: usize, found: &mut BTreeMap<PathBuf, String>) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let path = entry.path();
        let kind = entry.file_type()?;
        if kind.is_dir() && depth < 2 {
            find(&path, depth + 1, found)?;
        } else if kind.is_file() && depth > 0 && is_named_as_ours(&path) {
            let Ok(text) = fs::read_to_string(&path) else { continue };
            if text.starts_with(MARK) {
                found.insert(path, text);
            }
        }
    }
    Ok(())
}

fn is_named_as_ours(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "yaml") || path.ends_with(TEMPORARY)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::object::{Kind, NsName};
    use std::os::unix::fs::MetadataExt as _;
    use std::sync::Arc;

    fn object(kind: Kind, namespace: &str, name: &str, accepted: &str) -> (ObjectKey, Arc<ObjectStatus>) {
        let object = ObjectStatus {
            api_version: "gateway.networking.k8s.io/v1".to_owned(),
            kind: kind.name().to_owned(),
            namespace: Some(namespace.to_owned()).filter(|namespace| !namespace.is_empty()),
            name: name.to_owned(),
            generation: 2,
            origin: None,
            status: match accepted {
                "" => serde_json::Value::Null,
                accepted => serde_json::json!({"conditions": [{"type": "Accepted", "status": accepted}]}),
            },
        };
        (ObjectKey { kind, name: NsName::new(namespace, name) }, Arc::new(object))
    }

    fn write(status: &mut StatusDir, objects: &Objects) -> anyhow::Result<()> {
        status.write(&objects.keys().cloned().collect(), objects)
    }

    fn files(root: &Path) -> Vec<String> {
        let mut files = Vec::new();
        let mut dirs = vec![root.to_owned()];
        while let Some(dir) = dirs.pop() {
            for entry in fs::read_dir(dir).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    dirs.push(path);
                } else {
                    files.push(path.strip_prefix(root).unwrap().display().to_string());
                }
            }
        }
        files.sort();
        files
    }

    #[test]
    fn the_directory_shows_the_objects_of_the_last_write() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("status");
        let mut status = StatusDir::open(&root).unwrap();
        let class = object(Kind::GatewayClass, "", "gatehouse", "True");
        let route = object(Kind::HttpRoute, "shop", "web", "False");
        let silent = object(Kind::Service, "shop", "web", "");
        write(&mut status, &Objects::from([class.clone(), route.clone(), silent])).unwrap();
        assert_eq!(files(&root), ["gatewayclass/gatehouse.yaml", "httproute/shop/web.yaml"]);
        let text = fs::read_to_string(root.join("httproute/shop/web.yaml")).unwrap();
        let value: serde_json::Value = serde_saphyr::from_str(&text).unwrap();
        assert_eq!(
            value,
            serde_json::json!({
                "apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute",
                "metadata": {"name": "web", "namespace": "shop", "generation": 2},
                "status": {"conditions": [{"type": "Accepted", "status": "False"}]},
            })
        );

        // Unchanged files are left as they are, files of others too, and a successor knows its own.
        fs::write(root.join("httproute/shop/mine.yaml"), "a: 1\n").unwrap();
        let inode = |name: &str| fs::metadata(root.join(name)).unwrap().ino();
        let before = inode("httproute/shop/web.yaml");
        let mut status = StatusDir::open(&root).unwrap();
        let mut objects = Objects::from([class.clone(), route.clone()]);
        write(&mut status, &objects).unwrap();
        assert_eq!(inode("httproute/shop/web.yaml"), before);

        // What is not said to have changed is not looked at.
        let (key, two) = object(Kind::HttpRoute, "shop", "two", "True");
        objects = Objects::from([class, (key.clone(), two)]);
        status.write(&BTreeSet::from([key]), &objects).unwrap();
        let all = ["gatewayclass/gatehouse.yaml", "httproute/shop/mine.yaml", "httproute/shop/two.yaml"];
        assert_eq!(files(&root), [&all[..], &["httproute/shop/web.yaml"]].concat());
        status.write(&BTreeSet::from([route.0]), &objects).unwrap();
        assert_eq!(files(&root), all);

        // A successor removes what is gone.
        let mut status = StatusDir::open(&root).unwrap();
        status.write(&BTreeSet::new(), &Objects::new()).unwrap();
        assert_eq!(files(&root), ["httproute/shop/mine.yaml"]);
    }

    #[test]
    fn a_file_of_somebody_else_is_left_where_ours_should_be() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("gateway/a/x.yaml");
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, "a: 1\n").unwrap();
        let mut status = StatusDir::open(dir.path()).unwrap();
        let objects = Objects::from([object(Kind::Gateway, "a", "x", "True")]);
        write(&mut status, &objects).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "a: 1\n");
        assert_eq!(status.foreign, BTreeSet::from([path.clone()]));
        fs::remove_file(&path).unwrap();
        write(&mut status, &objects).unwrap();
        assert!(fs::read_to_string(&path).unwrap().starts_with(MARK));
        assert!(status.foreign.is_empty());

        // What was ours and is somebody else's now.
        fs::write(&path, "a: 2\n").unwrap();
        let objects = Objects::from([object(Kind::Gateway, "a", "x", "False")]);
        write(&mut status, &objects).unwrap();
        write(&mut status, &Objects::new()).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "a: 2\n");
    }

    #[test]
    fn every_name_of_an_object_is_one_of_a_file() {
        let dir = tempfile::tempdir().unwrap();
        let mut status = StatusDir::open(dir.path()).unwrap();
        let names = [format!("{}a", "x".repeat(252)), format!("{}b", "x".repeat(252)), "x".repeat(250)];
        let objects = names.each_ref().map(|name| object(Kind::HttpRoute, "a", name, "True"));
        write(&mut status, &Objects::from(objects)).unwrap();
        let found = files(dir.path());
        assert_eq!(found.len(), 3, "{found:?}");
        assert!(found.contains(&format!("httproute/a/{}.yaml", names[2])), "{found:?}");
        // What a killed agent left.
        fs::write(dir.path().join("httproute/a").join(TEMPORARY), MARK).unwrap();
        let mut status = StatusDir::open(dir.path()).unwrap();
        status.write(&BTreeSet::new(), &Objects::new()).unwrap();
        assert_eq!(files(dir.path()), [""; 0]);
    }

    #[test]
    fn one_file_that_cannot_be_written_does_not_stop_the_others() {
        let dir = tempfile::tempdir().unwrap();
        let mut status = StatusDir::open(dir.path()).unwrap();
        fs::create_dir_all(dir.path().join("gateway/a/x.yaml/in-the-way")).unwrap();
        let (x, y) = (object(Kind::Gateway, "a", "x", "True"), object(Kind::Gateway, "b", "y", "True"));
        let objects = Objects::from([x, y]);
        let error = write(&mut status, &objects).unwrap_err();
        assert!(format!("{error:#}").contains("gateway/a/x.yaml"), "{error:#}");
        assert!(dir.path().join("gateway/b/y.yaml").is_file());
        fs::remove_dir_all(dir.path().join("gateway/a/x.yaml")).unwrap();
        status.write(&BTreeSet::new(), &objects).unwrap();
        assert!(dir.path().join("gateway/a/x.yaml").is_file());
    }
}
