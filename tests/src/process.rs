//! Child processes whose output is kept and that end, by id, with their owner.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use rustix::net::{Shutdown, shutdown};
use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags, Signal, kill_process, pidfd_getfd, pidfd_open};

/// SO_ACCEPTCON, as /proc/net/unix shows it.
const LISTENS: &str = "00010000";

#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts `command`; what it prints is appended to `log`.
    pub fn start(name: &str, mut command: Command, log: &Path) -> Result<Self> {
        let file = File::options().create(true).append(true).open(log);
        let file = file.with_context(|| format!("open {}", log.display()))?;
        command.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file);
        let child = command.spawn().with_context(|| format!("start {command:?}"))?;
        Ok(Self { name: name.to_owned(), child, log: log.to_owned() })
    }

    /// As [`Self::start`], but nobody reads what it prints: each write fails.
    pub fn start_unheard(name: &str, mut command: Command, log: &Path) -> Result<Self> {
        let (reader, writer) = io::pipe().context("make a pipe")?;
        drop(reader);
        command.stdin(Stdio::null()).stdout(writer.try_clone()?).stderr(writer);
        let child = command.spawn().with_context(|| format!("start {command:?}"))?;
        Ok(Self { name: name.to_owned(), child, log: log.to_owned() })
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Everything that it, and processes before it with the same log, printed.
    pub fn log(&self) -> String {
        fs::read(&self.log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
    }

    pub fn signal(&self, signal: Signal) -> Result<()> {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, signal).with_context(|| format!("signal {} ({})", self.name, self.id()))
    }

    /// Ends it at once and reaps it.
    pub fn kill(&mut self) -> Result<()> {
        self.child.kill().with_context(|| format!("kill {}", self.name))?;
        self.child.wait().with_context(|| format!("wait for {}", self.name))?;
        Ok(())
    }

    /// Asks it to end (SIGTERM) and waits until it did.
    pub fn stop(&mut self, limit: Duration) -> Result<ExitStatus> {
        self.signal(Signal::TERM)?;
        self.wait(limit)
    }

    pub fn wait(&mut self, limit: Duration) -> Result<ExitStatus> {
        match wait_for(limit, || self.child.try_wait().transpose()) {
            Some(status) => Ok(status?),
            None => bail!("{} ({}) still runs after {limit:?}\n{}", self.name, self.id(), self.log()),
        }
    }

    /// How it ended, if it did.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Shuts down the connections that a process accepted on its Unix socket at `path`.
pub fn cut_connections(pid: u32, path: &Path) -> Result<()> {
    let wanted = path.to_str().context("a path in UTF-8")?;
    let table = fs::read_to_string(format!("/proc/{pid}/net/unix"))?;
    let mut inodes = BTreeSet::new();
    for line in table.lines() {
        // Num RefCount Protocol Flags Type St Inode Path
        let fields: Vec<&str> = line.split_whitespace().collect();
        if let [_, _, _, flags, _, _, inode, name] = fields[..]
            && name == wanted
            && flags != LISTENS
        {
            inodes.insert(PathBuf::from(format!("socket:[{inode}]")));
        }
    }
    let process = Pid::from_raw(i32::try_from(pid)?).context("a process id")?;
    let process = pidfd_open(process, PidfdFlags::empty()).context("open the process")?;
    let mut cut = 0;
    for entry in fs::read_dir(format!("/proc/{pid}/fd"))? {
        let path = entry?.path();
        if fs::read_link(&path).is_ok_and(|target| inodes.contains(&target)) {
            let fd = path.file_name().and_then(OsStr::to_str).context("a descriptor")?.parse()?;
            let copy = pidfd_getfd(&process, fd, PidfdGetfdFlags::empty()).context("copy the descriptor")?;
            shutdown(&copy, Shutdown::Both).context("shut the connection down")?;
            cut += 1;
        }
    }
    ensure!(cut > 0, "process {pid} has no connection at {wanted}");
    Ok(())
}

/// Asks until there is an answer or the time is up.
pub fn wait_for<T>(limit: Duration, mut ask: impl FnMut() -> Option<T>) -> Option<T> {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(answer) = ask() {
            return Some(answer);
        }
        if Instant::now() >= deadline {
            return None;
        }
        thread::sleep(Duration::from_millis(10));
    }
}

/// Where cargo put the programs of this build: beside the running one.
pub fn programs() -> Result<PathBuf> {
    let own = std::env::current_exe().context("find the running program")?;
    let folder = own.parent().context("the running program has no folder")?;
    let folder = if folder.ends_with("deps") { folder.parent().unwrap_or(folder) } else { folder };
    Ok(folder.to_owned())
}

/// A folder with programs to be taken before those of this build, as with those that are released.
pub const PROGRAMS: &str = "GATEHOUSE_PROGRAMS";

/// A program of [`PROGRAMS`], or else of this build.
pub fn program(name: &str) -> Result<PathBuf> {
    let chosen = std::env::var_os(PROGRAMS).map(|folder| PathBuf::from(folder).join(name));
    if let Some(path) = chosen.filter(|path| path.exists()) {
        return Ok(path);
    }
    let path = programs()?.join(name);
    if !path.exists() {
        bail!("{} is not built: run `cargo build --workspace --bins`, or `cargo xtask test`", path.display());
    }
    Ok(path)
}
