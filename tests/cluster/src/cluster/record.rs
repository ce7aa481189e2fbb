//! What has been done to the machine, on disk before it is done: enough for `down` to undo it after any crash.
//!
//! One line of JSON per effect, only ever appended to. A process gets its line after it was started, as nothing else
//! knows its id; until then the cgroup that it joins before it becomes the program is what leads to it.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

use super::process::Identity;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Effect {
    /// The directory of the cluster in one hierarchy.
    Cgroup(PathBuf),
    /// By its name in iproute2.
    Netns(String),
    Process {
        name: String,
        identity: Identity,
    },
}

#[derive(Clone, Debug)]
pub(crate) struct Record {
    path: PathBuf,
}

impl Record {
    pub(crate) fn at(path: &Path) -> Self {
        Self { path: path.to_owned() }
    }

    /// Writes one effect down. Lines of several threads do not mix: each is one write to a file opened for appending.
    pub(crate) fn note(&self, effect: &Effect) -> Result<()> {
        let mut line = serde_json::to_string(effect)?;
        line.push('\n');
        let file = File::options().create(true).append(true).open(&self.path);
        let mut file = file.with_context(|| format!("open {}", self.path.display()))?;
        file.write_all(line.as_bytes()).with_context(|| format!("write {}", self.path.display()))
    }

    /// Everything noted, in order. A line that a crash cut short describes an effect that did not happen.
    pub(crate) fn effects(&self) -> Vec<Effect> {
        let text = fs::read_to_string(&self.path).unwrap_or_default();
        text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    /// The latest process of each name.
    pub(crate) fn processes(&self) -> BTreeMap<String, Identity> {
        let processes = self.effects().into_iter().filter_map(|effect| match effect {
            Effect::Process { name, identity } => Some((name, identity)),
            Effect::Cgroup(_) | Effect::Netns(_) => None,
        });
        processes.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_process_of_a_name_counts_and_torn_lines_do_not() {
        let folder = tempfile::tempdir().unwrap();
        let record = Record::at(&folder.path().join("record"));
        assert!(record.effects().is_empty());
        let process = |pid| Effect::Process { name: "etcd".into(), identity: Identity { pid, started: 7 } };
        let cgroup = Effect::Cgroup("/sys/fs/cgroup/pids/x".into());
        for effect in [&cgroup, &process(1), &process(2)] {
            record.note(effect).unwrap();
        }
        File::options().append(true).open(&record.path).unwrap().write_all(b"{\"netns\":\"x").unwrap();
        assert_eq!(record.effects(), [cgroup, process(1), process(2)]);
        assert_eq!(record.processes()["etcd"].pid, 2);
    }
}
