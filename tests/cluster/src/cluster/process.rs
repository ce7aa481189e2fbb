//! Processes by id and start time, so that an id that the kernel gave to another is never touched.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use serde::{Deserialize, Serialize};

use crate::wait::poll;

/// One process, for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    pub pid: i32,
    /// In clock ticks since boot, as `/proc/PID/stat` has it.
    pub started: u64,
}

impl Identity {
    pub fn of(pid: i32) -> Option<Self> {
        let (_, started) = state(pid)?;
        Some(Self { pid, started })
    }

    /// Whether it still runs; a zombie does not.
    pub fn is_alive(self) -> bool {
        state(self.pid).is_some_and(|(state, started)| started == self.started && !"ZX".contains(state))
    }

    /// Sends a signal to this process and to no other; false when it is gone.
    pub fn signal(self, signal: Signal) -> bool {
        let Some(pid) = Pid::from_raw(self.pid) else { return false };
        let Ok(handle) = pidfd_open(pid, PidfdFlags::empty()) else { return false };
        // The handle is of whoever has the id now: looked at after it is held, it cannot change any more.
        self.is_alive() && pidfd_send_signal(handle, signal).is_ok()
    }

    /// SIGTERM, and SIGKILL once `patience` is over.
    pub fn end(self, patience: Duration) -> Result<()> {
        self.signal(Signal::TERM);
        if poll(patience, || (!self.is_alive()).then_some(())).is_some() {
            return Ok(());
        }
        self.kill()
    }

    pub fn kill(self) -> Result<()> {
        self.signal(Signal::KILL);
        match poll(Duration::from_secs(10), || (!self.is_alive()).then_some(())) {
            Some(()) => Ok(()),
            None => bail!("process {} does not die", self.pid),
        }
    }

    /// Its share of resident memory in bytes: six programs are one file, whose pages count once among them.
    pub fn memory(self) -> u64 {
        let text = fs::read_to_string(format!("/proc/{}/smaps_rollup", self.pid)).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix("Pss:"));
        let kilobytes = line.and_then(|rest| rest.trim().trim_end_matches(" kB").parse::<u64>().ok());
        kilobytes.unwrap_or_default() * 1024
    }
}

/// State letter and start time.
fn state(pid: i32) -> Option<(char, u64)> {
    parse(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// The name, field 2, may hold anything, brackets included.
fn parse(stat: &str) -> Option<(char, u64)> {
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    let state = fields.next()?.chars().next()?;
    Some((state, fields.nth(18)?.parse().ok()?))
}

/// Processes, but not this one, of whose folder below `/proc` it is true.
pub(crate) fn others(wanted: impl Fn(&Path) -> bool) -> Vec<Identity> {
    let own = std::process::id().to_string();
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok()).filter(|name| *name != own);
    let ids = names.filter_map(|name| name.parse::<i32>().ok());
    ids.filter(|pid| wanted(&Path::new("/proc").join(pid.to_string()))).filter_map(Identity::of).collect()
}

/// Kills them all and waits until there are none.
pub(crate) fn end_all(wanted: impl Fn(&Path) -> bool) -> Result<()> {
    let gone = poll(Duration::from_secs(10), || {
        let left = others(&wanted);
        for process in &left {
            process.signal(Signal::KILL);
        }
        left.is_empty().then_some(())
    });
    gone.with_context(|| format!("processes do not die: {:?}", others(&wanted)))
}

/// Kills all whose root that directory is: who was led into a node by hand and went on from there to a Pod's network is in
/// no cgroup and no network of the cluster.
pub(crate) fn end_rooted(root: &Path) -> Result<()> {
    let Ok(own) = fs::metadata(root) else { return Ok(()) };
    let same = |other: fs::Metadata| (other.dev(), other.ino()) == (own.dev(), own.ino());
    end_all(|process| fs::metadata(process.join("root")).is_ok_and(same))
        .with_context(|| format!("end who is in {}", root.display()))
}

/// A program that runs on by itself.
pub(crate) struct Daemon<'a> {
    /// Directories of the cgroups that it and its children live in.
    pub(crate) cgroups: &'a [PathBuf],
    /// Arguments of nsenter(1).
    pub(crate) room: &'a [OsString],
    pub(crate) log: &'a Path,
    /// Where it looks for other programs first.
    pub(crate) programs: &'a Path,
}

/// Drops what it has of the caller but its standard streams, joins the cgroups as itself, says its id, and becomes the
/// program: no moment at which only an id would lead to it. For bash, because sh closes descriptors below 10 alone.
const JOIN: &str = r#"
umask 022
for fd in /proc/self/fd/*; do
  fd=${fd##*/}
  if ((fd > 2)); then exec {fd}>&-; fi
done
for cgroup in $CGROUPS; do echo 0 >"$cgroup/cgroup.procs" || exit 70; done
log=$LOG
unset CGROUPS LOG
echo $$
exec "$@" >>"$log" 2>&1
"#;

impl Daemon<'_> {
    /// Starts it in a session of its own, as nobody's child, so that no zombie is left with us, and with nothing of our
    /// environment: a proxy set for the user is not the cluster's.
    pub(crate) fn start(
        &self,
        program: &Path,
        arguments: impl IntoIterator<Item = OsString>,
    ) -> Result<Identity> {
        if let Some(folder) = self.log.parent() {
            fs::create_dir_all(folder).with_context(|| format!("create {}", folder.display()))?;
        }
        let log = File::options().create(true).append(true).open(self.log);
        let log = log.with_context(|| format!("open {}", self.log.display()))?;
        let cgroups: Vec<String> = self.cgroups.iter().map(|path| path.display().to_string()).collect();
        let mut command = Command::new("setsid");
        command
            .args(["--fork", "bash", "-c", JOIN, "bash", "nsenter"])
            .args(self.room)
            .arg("--")
            .arg(program)
            .args(arguments)
            .env_clear()
            .env("PATH", path(self.programs))
            .env("HOME", "/")
            .env("CGROUPS", cgroups.join(" "))
            .env("LOG", self.log)
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log);
        let mut forker = command.spawn().context("start setsid")?;
        let mut said = String::new();
        let output = forker.stdout.take().context("setsid has no output")?;
        BufReader::new(output).read_line(&mut said).context("read the process id")?;
        forker.wait().context("wait for setsid")?;
        let identity = said.trim().parse().ok().and_then(Identity::of);
        identity.with_context(|| format!("{} ended at once; see {}", program.display(), self.log.display()))
    }
}

/// A proxy that the user set is not the cluster's.
pub(crate) fn without_proxies(command: &mut Command) {
    for proxy in ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"] {
        command.env_remove(proxy);
    }
}

/// Has files that are made from now on readable for Pods of other users, whatever the caller prefers.
pub(crate) fn plain_umask() {
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
}

/// The search path of what runs in a cluster.
pub(crate) fn path(programs: &Path) -> String {
    format!("{}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", programs.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_brackets_does_not_shift_the_fields() {
        let stat = "7 (a) b) S 1 7 7 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 4242 1000 1\n";
        assert_eq!(parse(stat), Some(('S', 4242)));
        assert_eq!(parse("7 (a"), None);
    }

    #[test]
    fn another_process_with_the_same_id_is_left_alone() {
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        let own = Identity::of(i32::try_from(child.id()).unwrap()).unwrap();
        let earlier = Identity { started: own.started - 1, ..own };
        assert!(!earlier.is_alive());
        assert!(!earlier.signal(Signal::KILL));
        assert!(own.is_alive());
        own.kill().unwrap();
        assert!(!own.is_alive(), "a zombie does not run");
        child.wait().unwrap();
        assert_eq!(Identity::of(own.pid), None);
    }

    #[test]
    fn whoever_ignores_sigterm_is_killed() {
        let mut child = Command::new("sh")
            .args(["-c", "trap '' TERM; echo; exec sleep 60"])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut byte = [0];
        std::io::Read::read_exact(&mut child.stdout.take().unwrap(), &mut byte).unwrap();
        let own = Identity::of(i32::try_from(child.id()).unwrap()).unwrap();
        own.end(Duration::from_millis(50)).unwrap();
        assert!(!own.is_alive());
        child.wait().unwrap();
    }

    #[test]
    fn a_daemon_keeps_nothing_of_its_caller() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("log");
        // Not closed on exec, as what a shell opens for its lock.
        let (ours, theirs) = std::io::pipe().unwrap();
        rustix::io::fcntl_setfd(&theirs, rustix::io::FdFlags::empty()).unwrap();
        let daemon = Daemon { cgroups: &[], room: &[], log: &log, programs: Path::new("/") };
        let started = daemon.start(Path::new("sleep"), ["60".into()]).unwrap();
        drop(theirs);
        let umask = fs::read_to_string(format!("/proc/{}/status", started.pid)).unwrap();
        let mut end = BufReader::new(ours);
        let closed = std::thread::spawn(move || end.read_line(&mut String::new()).unwrap());
        let closed = poll(Duration::from_secs(10), || closed.is_finished().then_some(()));
        started.kill().unwrap();
        assert_eq!(closed, Some(()));
        assert!(umask.contains("\nUmask:\t0022\n"), "{umask}");
    }
}
