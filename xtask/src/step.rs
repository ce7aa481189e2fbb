//! One long command: its output goes to a log file, the terminal sees that it is alive.
#![expect(clippy::print_stdout, reason = "a task talks to its user")]

use std::fs::{self, File};
use std::io::{self, IsTerminal as _, Read as _, Seek as _, SeekFrom, Write as _};
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
            ticker.tick(begun.elapsed(), || self.last_line(start));
        };
        ticker.end(status.success(), begun.elapsed());
        let all = fs::read(&self.path)?;
        let own = all.get(usize::try_from(start)?..).unwrap_or_default();
        Ok(Ended { success: status.success(), output: String::from_utf8_lossy(own).into_owned() })
    }

    /// What the command that writes since `start` said last, to be shown in a line with other things.
    fn last_line(&self, start: u64) -> Option<String> {
        let mut file = File::open(&self.path).ok()?;
        let end = file.metadata().ok()?.len();
        file.seek(SeekFrom::Start(start.max(end.saturating_sub(SHOWN_FROM)))).ok()?;
        let mut bytes = Vec::new();
        file.take(SHOWN_FROM).read_to_end(&mut bytes).ok()?;
        last_line(&String::from_utf8_lossy(&bytes))
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

/// Enough of the end of a log to have a whole line in it.
const SHOWN_FROM: u64 = 4096;
const SHOWN: usize = 60;

/// The last line that says something, without what a terminal would obey. The first one names the command.
fn last_line(text: &str) -> Option<String> {
    let line = text.lines().rfind(|line| !line.starts_with("==> ") && !line.trim().is_empty())?;
    Some(line.trim().chars().filter(|letter| !letter.is_control()).take(SHOWN).collect())
}

/// Says how long a step has been running, and what it said last: each second on a terminal, now and then in a log.
struct Ticker<'a> {
    title: &'a str,
    terminal: bool,
    next: Duration,
}

impl<'a> Ticker<'a> {
    fn new(title: &'a str) -> Self {
        Self { title, terminal: io::stdout().is_terminal(), next: Duration::from_secs(2) }
    }

    fn tick(&mut self, elapsed: Duration, last: impl FnOnce() -> Option<String>) {
        if elapsed < self.next {
            return;
        }
        let seconds = elapsed.as_secs();
        let said = last().map(|line| format!(": {line}")).unwrap_or_default();
        if self.terminal {
            print!("\r\x1b[K  {} … {seconds} s{said}", self.title);
            let _ = io::stdout().flush();
            self.next = elapsed + Duration::from_secs(1);
        } else {
            println!("  {} … {seconds} s{said}", self.title);
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
    fn the_last_line_says_something_and_does_nothing() {
        let text = "==> build: cargo\n   Compiling tokio v1.0.0\n \n";
        assert_eq!(last_line(text).as_deref(), Some("Compiling tokio v1.0.0"));
        assert_eq!(last_line("\x1b[2Ja\tb").as_deref(), Some("[2Jab"));
        assert_eq!(last_line("==> build: cargo\n"), None);
        assert_eq!(last_line(&"ä".repeat(100)).map(|line| line.chars().count()), Some(SHOWN));
    }

    #[test]
    fn a_tail_is_at_most_so_long() {
        assert_eq!(tail("a\nb\nc\n", 2), "b\nc");
        assert_eq!(tail("a", 2), "a");
        assert_eq!(tail("", 2), "");
    }
}
