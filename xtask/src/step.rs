//! One long command: its output goes to a log file, the terminal sees that it is alive.
#![expect(clippy::print_stdout, reason = "a task talks to its user")]

use std::fs::{self, File};
use std::io::{self, IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

/// Where the output of steps goes.
pub(crate) struct Log {
    file: File,
    path: PathBuf,
}

/// How a step ended.
pub(crate) struct Ended {
    pub(crate) success: bool,
    /// What it printed.
    pub(crate) output: String,
}

impl Log {
    /// An empty log at `target/xtask/NAME.log`.
    pub(crate) fn create(name: &str) -> Result<Self> {
        let folder = crate::workspace::target().join("xtask");
        fs::create_dir_all(&folder).with_context(|| format!("create {}", folder.display()))?;
        let path = folder.join(format!("{name}.log"));
        let file = File::create(&path).with_context(|| format!("create {}", path.display()))?;
        Ok(Self { file, path })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Runs `command` to its end under `title`.
    pub(crate) fn run(&self, title: &str, command: &mut Command) -> Result<Ended> {
        let start = fs::metadata(&self.path)?.len();
        writeln!(&self.file, "\n==> {title}: {command:?}")?;
        let begun = Instant::now();
        let mut child = command
            .stdin(Stdio::null())
            .stdout(self.file.try_clone()?)
            .stderr(self.file.try_clone()?)
            .spawn()
            .with_context(|| format!("{title}: start {}", command.get_program().display()))?;
        let mut ticker = Ticker::new(title);
        let status = loop {
            if let Some(status) = child.try_wait()? {
                break status;
            }
            thread::sleep(Duration::from_millis(50));
            ticker.tick(begun.elapsed());
        };
        ticker.end(status.success(), begun.elapsed());
        let all = fs::read(&self.path)?;
        let own = all.get(usize::try_from(start)?..).unwrap_or_default();
        Ok(Ended { success: status.success(), output: String::from_utf8_lossy(own).into_owned() })
    }

    /// Runs `command`; its failure is an error that shows the end of its output.
    pub(crate) fn must(&self, title: &str, command: &mut Command) -> Result<()> {
        let ended = self.run(title, command)?;
        if !ended.success {
            bail!("{title} failed; all of it is in {}\n{}", self.path.display(), tail(&ended.output, 40));
        }
        Ok(())
    }
}

/// The last `lines` lines.
pub(crate) fn tail(text: &str, lines: usize) -> String {
    let all: Vec<&str> = text.lines().collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}

/// Says how long a step has been running: each second on a terminal, now and then in a log.
struct Ticker<'a> {
    title: &'a str,
    terminal: bool,
    next: Duration,
}

impl<'a> Ticker<'a> {
    fn new(title: &'a str) -> Self {
        Self { title, terminal: io::stdout().is_terminal(), next: Duration::from_secs(2) }
    }

    fn tick(&mut self, elapsed: Duration) {
        if elapsed < self.next {
            return;
        }
        let seconds = elapsed.as_secs();
        if self.terminal {
            print!("\r  {} … {seconds} s", self.title);
            let _ = io::stdout().flush();
            self.next = elapsed + Duration::from_secs(1);
        } else {
            println!("  {} … {seconds} s", self.title);
            self.next = elapsed + Duration::from_secs(60);
        }
    }

    fn end(&self, success: bool, elapsed: Duration) {
        let start = if self.terminal { "\r\x1b[K" } else { "" };
        let word = if success { "ok" } else { "FAILED" };
        println!("{start}  {}: {word} ({:.1} s)", self.title, elapsed.as_secs_f64());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tail_is_at_most_so_long() {
        assert_eq!(tail("a\nb\nc\n", 2), "b\nc");
        assert_eq!(tail("a", 2), "a");
        assert_eq!(tail("", 2), "");
    }
}
