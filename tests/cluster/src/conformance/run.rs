//! Starts the suite in the client's network namespace and reads what it says.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

use super::invocation::{Invocation, Room};
use super::outcome::Outcome;
use super::output::{Event, Reader, Verdict, plain};
use crate::cluster::without_proxies;

/// How often something is said while nothing ends.
const ALIVE: Duration = Duration::from_secs(15);

/// Ends the suite when nobody listens any more.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Runs `program` to its end. `progress` is told a line for each test that ended, and that the suite is alive; all of the
/// output goes to `log`.
pub fn run(
    program: &Path,
    invocation: &Invocation,
    room: &Room,
    log: &Path,
    progress: &dyn Fn(&str),
) -> Result<Outcome> {
    invocation.check()?;
    let mut log = File::create(log).with_context(|| format!("create {}", log.display()))?;
    let (output, input) = std::io::pipe()?;
    let mut net = std::ffi::OsString::from("--net=");
    net.push(&room.netns);
    let mut command = Command::new("nsenter");
    command.arg(net).arg("--").arg(program).args(invocation.arguments());
    command.env("KUBECONFIG", &room.kubeconfig).stdin(Stdio::null());
    without_proxies(&mut command);
    writeln!(log, "{command:?}")?;
    command.stdout(input.try_clone()?).stderr(input);
    let mut child = Running(command.spawn().context("start nsenter")?);
    // It holds the pipe's other end.
    drop(command);
    let (lines, received) = mpsc::channel();
    thread::spawn(move || {
        for line in BufReader::new(output).split(b'\n').map_while(Result::ok) {
            if lines.send(String::from_utf8_lossy(&line).into_owned()).is_err() {
                return;
            }
        }
    });
    let mut outcome = Outcome::default();
    let mut reader = Reader::default();
    let mut alive = Alive::new();
    loop {
        match received.recv_timeout(alive.left()) {
            Ok(line) => {
                writeln!(log, "{}", plain(&line))?;
                for event in reader.read(&line) {
                    outcome.take(&event);
                    alive.take(&event, progress);
                }
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => break,
        }
        alive.tell(progress);
    }
    let status = child.0.wait()?;
    outcome.settle(&invocation.tests);
    if !status.success() && outcome.whole == Some(Verdict::Pass) {
        outcome.whole = None;
    }
    Ok(outcome)
}

/// What the user is told while the suite runs.
struct Alive {
    begun: Instant,
    next: Instant,
    test: Option<(String, Instant)>,
}

impl Alive {
    fn new() -> Self {
        let now = Instant::now();
        Self { begun: now, next: now + Duration::from_secs(2), test: None }
    }

    fn left(&self) -> Duration {
        self.next.saturating_duration_since(Instant::now())
    }

    fn tell(&mut self, progress: &dyn Fn(&str)) {
        if !self.left().is_zero() {
            return;
        }
        self.next = Instant::now() + ALIVE;
        match &self.test {
            Some((test, since)) => progress(&format!("{test} … {} s", since.elapsed().as_secs())),
            None => progress(&format!("setting up … {} s", self.begun.elapsed().as_secs())),
        }
    }

    fn take(&mut self, event: &Event, progress: &dyn Fn(&str)) {
        match event {
            Event::Runs(test) => {
                if self.test.as_ref().is_none_or(|(running, _)| running != test) {
                    self.test = Some((test.clone(), Instant::now()));
                }
            }
            Event::Ended { test, verdict, seconds, said } => {
                self.next = Instant::now() + ALIVE;
                match verdict {
                    Verdict::Pass => progress(&format!("PASS {test} ({seconds:.1} s)")),
                    Verdict::Fail => progress(&failure(test, *seconds, said)),
                    // Most are what the GatewayClass does not support; the log has them.
                    Verdict::Skip => {}
                }
            }
            Event::Whole { verdict: Verdict::Fail, seconds, said } => {
                progress(&failure("the suite as a whole", *seconds, said));
            }
            Event::Whole { .. } => {}
        }
    }
}

fn failure(what: &str, seconds: f64, said: &[String]) -> String {
    let lines: String = said.iter().map(|line| format!("\n    {}", line.trim_start())).collect();
    format!("FAIL {what} ({seconds:.1} s){lines}")
}
