//! What the files said when they were good, for the time when they are not and an agent starts.

use std::path::{Path, PathBuf};

use super::super::Parsed;
use super::super::scan::Scan;
use super::Watch;

impl Watch {
    /// Keeps what files say for the next agent.
    pub(super) fn keep(&mut self) {
        for path in std::mem::take(&mut self.unkept) {
            let dark = self.is_dark(&path);
            let kept = match self.store.says(&path) {
                Some((objects, whole)) => self.last_good.keep(&path, objects, dark || !whole),
                None => self.last_good.forget(&path),
            };
            if !kept {
                self.unkept.insert(path);
            }
        }
    }

    /// A file that this agent never saw whole says what it said to the one before.
    pub(super) fn recall(&mut self, path: &Path) {
        if !self.store.knows(path) {
            let objects = self.last_good.read(path);
            self.store.replace(path, Parsed { objects, ..Parsed::default() });
        }
    }

    /// Of files that cannot be seen, what they said stays; of files that went while no agent ran, nothing.
    pub(super) fn look_through_copies(&mut self, found: &Scan) {
        let dark = found.errors.iter().map(|(path, _)| path.clone()).collect();
        let before = std::mem::replace(&mut self.dark, dark);
        if before != self.dark {
            let turned = |path: &PathBuf| before.iter().chain(&self.dark).any(|dark| path.starts_with(dark));
            self.unkept.extend(self.store.paths().filter(|path| turned(path)).cloned());
        }
        if std::mem::replace(&mut self.recalled, true) {
            return;
        }
        for path in self.last_good.paths() {
            if self.is_dark(&path) {
                self.recall(&path);
            } else if !found.files.contains_key(&path) {
                self.unkept.insert(path);
            }
        }
    }

    /// Behind something that could not be looked into.
    pub(super) fn is_dark(&self, path: &Path) -> bool {
        self.dark.iter().any(|dark| path.starts_with(dark))
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::Source;
    use super::super::tests::{Follower, namespace};
    use super::*;
    use std::fs;
    use std::time::{Duration, Instant};
    use tempfile::TempDir;

    /// Starts a source on a directory, as one agent after the other would.
    struct Agents {
        root: TempDir,
        state: PathBuf,
        _dir: TempDir,
    }

    impl Agents {
        fn new() -> Self {
            let dir = tempfile::tempdir().unwrap();
            Self { root: tempfile::tempdir().unwrap(), state: dir.path().to_owned(), _dir: dir }
        }

        async fn start(&self) -> Follower {
            let source = Source::directory(self.root.path(), &self.state).unwrap();
            Follower::of(source, tempfile::tempdir().unwrap()).await
        }

        fn write(&self, name: &str, text: &str) {
            fs::write(self.root.path().join(name), text).unwrap();
        }

        /// Waits until what is kept of a file is so.
        fn wait_kept(&self, name: &str, what: impl Fn(&str) -> bool) {
            let begun = Instant::now();
            let path = self.state.join("last-good").join(format!("{name}.kept"));
            while !what(&fs::read_to_string(&path).unwrap_or_default()) {
                assert!(begun.elapsed() < Duration::from_secs(60), "{:?}", fs::read_to_string(&path));
                std::thread::sleep(Duration::from_millis(5));
            }
        }
    }

    #[tokio::test]
    async fn a_file_that_breaks_keeps_its_objects_over_a_restart() {
        let agents = Agents::new();
        agents.write("a.yaml", &namespace("a", "1"));
        let mut follower = agents.start().await;
        assert!(!follower.broken);
        agents.write("a.yaml", "bad: [");
        while !follower.broken {
            follower.step().await;
        }
        drop(follower);
        let mut follower = agents.start().await;
        assert_eq!(follower.labels(), [("a", "1")]);
        assert_eq!((follower.errors.len(), follower.broken), (1, true));
        agents.write("a.yaml", &namespace("b", "1"));
        follower.until(&[("b", "1")]).await;
        assert!(!follower.broken);
    }

    #[tokio::test]
    async fn a_file_that_breaks_while_no_agent_runs_keeps_its_objects() {
        let agents = Agents::new();
        agents.write("a.yaml", &namespace("a", "1"));
        agents.write("b.yaml", &namespace("b", "1"));
        agents.write("c.yaml", &namespace("c", "1"));
        drop(agents.start().await);
        for name in ["a.yaml", "b.yaml", "c.yaml"] {
            agents.wait_kept(name, |text| !text.is_empty());
        }
        agents.write("a.yaml", "bad: [");
        agents.write("b.yaml", &namespace("b", "2"));
        fs::remove_file(agents.root.path().join("c.yaml")).unwrap();
        assert_eq!(agents.start().await.labels(), [("a", "1"), ("b", "2")]);
        agents.wait_kept("c.yaml", str::is_empty);
    }

    #[tokio::test]
    async fn one_wrong_object_stays_over_a_restart_and_its_neighbours_change() {
        let service = |port: u32| {
            format!(
                "apiVersion: v1\nkind: Service\nmetadata: {{name: web, namespace: a}}\nspec: {{ports: [{{port: {port}}}]}}\n---\n"
            )
        };
        let agents = Agents::new();
        agents.write("services.yaml", &(service(80) + &namespace("b", "1")));
        drop(agents.start().await);
        agents.wait_kept("services.yaml", |text| !text.is_empty());
        agents.write("services.yaml", &(service(70_000) + &namespace("b", "2")));
        let follower = agents.start().await;
        assert_eq!(follower.labels(), [("a", ""), ("b", "2")]);
        assert!(follower.errors[0].contains("70000"), "{:?}", follower.errors);
        // What is kept is the old object beside the new one.
        agents.wait_kept("services.yaml", |text| text.contains("\"port\":80") && text.contains("\"2\""));
    }

    #[tokio::test]
    async fn a_secret_is_kept_only_while_its_file_is_broken() {
        let secret =
            "apiVersion: v1\nkind: Secret\nmetadata: {name: s, namespace: a}\nstringData: {a: b}\n---\n";
        let agents = Agents::new();
        agents.write("a.yaml", &(secret.to_owned() + &namespace("a", "1")));
        let mut follower = agents.start().await;
        agents.wait_kept("a.yaml", |text| text.contains("Namespace") && !text.contains("Secret"));
        agents.write("a.yaml", "bad: [");
        while !follower.broken {
            follower.step().await;
        }
        agents.wait_kept("a.yaml", |text| text.contains("Secret"));
        agents.write("a.yaml", &namespace("a", "2"));
        agents.wait_kept("a.yaml", |text| text.contains("Namespace") && !text.contains("Secret"));
    }
}
