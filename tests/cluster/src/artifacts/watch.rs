//! One long command: its output goes to a file, and the user sees that it goes on.

use std::fs::{self, File};
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use crate::progress::{EACH, FIRST};

/// Where output and progress go.
pub(super) struct Output<'a> {
    log: PathBuf,
    progress: &'a dyn Fn(&str),
}

impl<'a> Output<'a> {
    /// An empty file at `log`.
    pub(super) fn create(log: &Path, progress: &'a dyn Fn(&str)) -> Result<Self> {
        File::create(log).with_context(|| format!("create {}", log.display()))?;
        Ok(Self { log: log.to_owned(), progress })
    }

    pub(super) fn say(&self, line: &str) {
        (self.progress)(line);
    }
}

/// Ends the process when nobody waits for it any more.
struct Watched(Child);

impl Drop for Watched {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Runs `command` to its end. `packages` is how many it compiles at most, if it names each as `go build -v` does.
pub(super) fn run(
    title: &str,
    command: &mut Command,
    output: &Output<'_>,
    packages: Option<usize>,
) -> Result<()> {
    let mut log = File::options().append(true).open(&output.log)?;
    writeln!(log, "\n==> {title}: {command:?}")?;
    let start = fs::metadata(&output.log)?.len();
    let begun = Instant::now();
    let child = command
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log.try_clone()?)
        .spawn()
        .with_context(|| format!("{title}: start {}", command.get_program().display()))?;
    let mut child = Watched(child);
    let mut next = FIRST;
    let status = loop {
        if let Some(status) = child.0.try_wait()? {
            break status;
        }
        thread::sleep(Duration::from_millis(50));
        if begun.elapsed() >= next {
            let count = packages.map_or(Ok(String::new()), |all| {
                let done = compiled(&since(&output.log, start)?);
                anyhow::Ok(format!(", {done} of {all} packages"))
            })?;
            output.say(&format!("{title} … {} s{count}", begun.elapsed().as_secs()));
            next = begun.elapsed() + EACH;
        }
    };
    if !status.success() {
        let text = since(&output.log, start)?;
        let said: Vec<&str> = text.lines().filter(|line| packages.is_none() || !is_package(line)).collect();
        let end = said[said.len().saturating_sub(20)..].join("\n");
        bail!("{title}: {status}; all of it is in {}\n{end}", output.log.display());
    }
    Ok(())
}

/// What was written to the file after its first `start` bytes.
fn since(path: &Path, start: u64) -> Result<String> {
    let mut file = File::open(path)?;
    file.seek(SeekFrom::Start(start))?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn compiled(output: &str) -> usize {
    output.lines().filter(|line| is_package(line)).count()
}

/// Whether the line is an import path; whatever else go has to say is said in words.
fn is_package(line: &str) -> bool {
    !line.is_empty() && !line.contains([' ', '#'])
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    #[test]
    fn only_import_paths_are_counted() {
        let output = "go: downloading k8s.io/api v0.37.2\ninternal/abi\nk8s.io/api/core/v1\n# k8s.io/api\n\n";
        assert_eq!(compiled(output), 2);
    }

    #[test]
    fn a_failure_shows_the_end_of_its_own_output() {
        let folder = tempfile::tempdir().unwrap();
        let lines = RefCell::new(Vec::new());
        let progress = |line: &str| lines.borrow_mut().push(line.to_owned());
        let output = Output::create(&folder.path().join("log"), &progress).unwrap();
        run("first", Command::new("sh").args(["-c", "echo one"]), &output, None).unwrap();
        let error = run("second", Command::new("sh").args(["-c", "echo two >&2; exit 3"]), &output, None);
        let error = error.unwrap_err().to_string();
        assert!(error.contains("second") && error.contains("two") && !error.contains("one\n"), "{error}");
        assert!(error.contains("exit status: 3"), "{error}");
    }

    #[test]
    fn the_names_of_compiled_packages_hide_no_error() {
        let folder = tempfile::tempdir().unwrap();
        let output = Output::create(&folder.path().join("log"), &|_| ()).unwrap();
        let script = "echo './main.go:3: no such thing'; for i in $(seq 30); do echo a/b$i; done; exit 1";
        let error = run("build", Command::new("sh").args(["-c", script]), &output, Some(31)).unwrap_err();
        assert!(error.to_string().ends_with("log\n./main.go:3: no such thing"), "{error}");
    }

    #[test]
    fn a_long_command_gives_a_sign_of_life() {
        let folder = tempfile::tempdir().unwrap();
        let lines = RefCell::new(Vec::new());
        let progress = |line: &str| lines.borrow_mut().push(line.to_owned());
        let output = Output::create(&folder.path().join("log"), &progress).unwrap();
        let mut command = Command::new("sh");
        run("slow", command.args(["-c", "echo a/b; sleep 3"]), &output, Some(7)).unwrap();
        let lines = lines.into_inner();
        assert!(
            lines.iter().any(|line| line.contains("slow") && line.ends_with("1 of 7 packages")),
            "{lines:?}"
        );
    }
}
