//! Named network namespaces that go away: on drop, or at the next start when their owner died first.
//!
//! A name is `gh<pid>-<number>-<label>`. Code runs inside on a thread of its own, programs are children that end with
//! the thread that started them. Both see `/sys` of the namespace and the namespace's own bpffs.
#![expect(unsafe_code, reason = "unshare(2) and code between fork and exec")]

use std::fs::{self, File};
use std::io::Write as _;
use std::os::fd::AsFd as _;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Once, mpsc};
use std::thread::JoinHandle;
use std::{io, panic, process, thread};

use anyhow::{Context as _, Result, bail, ensure};
use rustix::mount::{
    MountFlags, MountPropagationFlags, UnmountFlags, mount, mount_bind, mount_change, unmount,
};
use rustix::process::{Pid, Signal, kill_process, set_parent_process_death_signal};
use rustix::thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space, unshare_unsafe};
use tokio::signal::unix::{SignalKind, signal};

/// Where iproute2 keeps its names.
const NAMES: &str = "/run/netns";
/// What belongs to a namespace besides its name: its bpffs, and the files of its node.
const STATE: &str = "/run/gatehouse-tests";

#[derive(Debug)]
pub struct Netns {
    name: String,
    handle: File,
    bpffs: PathBuf,
}

impl Netns {
    /// A new namespace with `lo` up. The first call of a process removes what dead owners left.
    pub fn new(label: &str) -> Result<Self> {
        let netns = Self::bare(label)?;
        netns.ip("link set lo up")?;
        // A test need not wait for duplicate address detection.
        netns.sysctl("net.ipv6.conf.default.accept_dad", "0")?;
        Ok(netns)
    }

    /// As the kernel makes one: even `lo` is down.
    pub fn bare(label: &str) -> Result<Self> {
        static SWEEP: Once = Once::new();
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        ensure!(rustix::process::geteuid().is_root(), "network namespaces need root: run the tests as root");
        SWEEP.call_once(sweep);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        Self::named(format!("gh{}-{number}-{label}", process::id()))
    }

    fn named(name: String) -> Result<Self> {
        run(Command::new("ip").args(["netns", "add", &name]))?;
        let handle = File::open(Path::new(NAMES).join(&name)).context("open the namespace")?;
        let bpffs = Path::new(STATE).join(&name).join("bpf");
        let netns = Self { name, handle, bpffs };
        fs::create_dir_all(&netns.bpffs).context("create the mount point of the bpffs")?;
        mount("bpf", &netns.bpffs, "bpf", MountFlags::empty(), None).context("mount a bpffs")?;
        Ok(netns)
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// The namespace's bpffs as seen from outside; inside it is `/sys/fs/bpf`.
    pub fn bpffs(&self) -> &Path {
        &self.bpffs
    }

    /// A folder that goes away with the namespace; every user may look into it.
    pub fn folder(&self) -> &Path {
        self.bpffs.parent().unwrap_or(&self.bpffs)
    }

    /// Shows the file `from` at `at`, which is in [`Netns::folder`].
    pub fn mount_file(&self, from: &Path, at: &Path) -> Result<()> {
        File::create(at).with_context(|| format!("create {}", at.display()))?;
        mount_bind(from, at).with_context(|| format!("mount {} at {}", from.display(), at.display()))
    }

    /// Runs `ip -n NAME` with each line of `script`, which ends at the first line that fails.
    pub fn ip(&self, script: &str) -> Result<()> {
        let mut child = Command::new("ip")
            .args(["-n", &self.name, "-batch", "-"])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .context("start ip; install iproute2")?;
        let mut input = child.stdin.take().context("ip has no standard input")?;
        for line in script.lines().map(str::trim).filter(|line| !line.is_empty()) {
            writeln!(input, "{line}").context("write to ip")?;
        }
        drop(input);
        let output = child.wait_with_output()?;
        let text = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "ip -n {}: {}\n{script}", self.name, text.trim());
        Ok(())
    }

    /// Sets `key` (`net.ipv4.ip_forward`) inside.
    pub fn sysctl(&self, key: &str, value: &str) -> Result<()> {
        let path = sysctl_path(key);
        self.run(|| fs::write(&path, value)).with_context(|| format!("sysctl {key}={value}"))
    }

    pub fn read_sysctl(&self, key: &str) -> Result<String> {
        let text = self.run(|| fs::read_to_string(sysctl_path(key)));
        Ok(text.with_context(|| format!("sysctl {key}"))?.trim().to_owned())
    }

    /// Runs `f` on a thread inside the namespace. Sockets that it makes stay inside wherever they are used.
    pub fn run<T: Send>(&self, f: impl FnOnce() -> T + Send) -> T {
        let inside = || {
            let entered = self.enter();
            assert!(entered.is_ok(), "cannot enter namespace {}: {entered:?}", self.name);
            f()
        };
        let joined = thread::scope(|scope| scope.spawn(inside).join());
        joined.unwrap_or_else(|panicked| panic::resume_unwind(panicked))
    }

    /// Runs `f` inside on a thread that goes on by itself.
    pub fn spawn<T: Send + 'static>(&self, f: impl FnOnce() -> T + Send + 'static) -> Result<JoinHandle<T>> {
        let (handle, bpffs) = (self.handle.try_clone()?, self.bpffs.clone());
        let (told, entered) = mpsc::channel();
        let thread = thread::spawn(move || {
            let _ = told.send(enter(&handle, &bpffs));
            f()
        });
        entered
            .recv()
            .context("the thread ended")?
            .with_context(|| format!("enter namespace {}", self.name))?;
        Ok(thread)
    }

    /// Runs `f`, which is async, on a runtime of its own inside the namespace.
    pub fn block_on<T: Send>(&self, f: impl AsyncFnOnce() -> T + Send) -> T {
        self.run(|| block_on(f))
    }

    /// A command that will run inside. It is killed when the thread that spawns it ends.
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Result<Command> {
        let handle = self.handle.try_clone()?;
        let bpffs = self.bpffs.clone();
        let mut command = Command::new(program);
        let enter = move || {
            set_parent_process_death_signal(Some(Signal::KILL))?;
            enter(&handle, &bpffs)
        };
        // SAFETY: `enter` makes system calls only; its paths fit rustix's stack buffers, so nothing is allocated.
        unsafe { command.pre_exec(enter) };
        Ok(command)
    }

    /// Processes inside, by id.
    pub fn processes(&self) -> Vec<i32> {
        self.handle.metadata().map(|own| processes_in(own.ino())).unwrap_or_default()
    }

    fn enter(&self) -> io::Result<()> {
        enter(&self.handle, &self.bpffs)
    }
}

impl Drop for Netns {
    fn drop(&mut self) {
        remove(&self.name);
    }
}

/// Runs `f` on a runtime of its own, on this thread.
pub fn block_on<T>(f: impl AsyncFnOnce() -> T) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.unwrap_or_else(|error| panic!("cannot start a runtime: {error}"));
    tokio::task::LocalSet::new().block_on(&runtime, f())
}

/// A veth pair between two namespaces; both ends are up.
pub fn veth(a: &Netns, a_device: &str, b: &Netns, b_device: &str) -> Result<()> {
    a.ip(&format!(
        "link add {a_device} type veth peer name {b_device} netns {}
         link set {a_device} up",
        b.name
    ))?;
    b.ip(&format!("link set {b_device} up"))
}

fn enter(handle: &File, bpffs: &Path) -> io::Result<()> {
    move_into_link_name_space(handle.as_fd(), Some(LinkNameSpaceType::Network))?;
    // SAFETY: the thread shares no mount-dependent state that safe code relies on; descriptors stay valid.
    unsafe { unshare_unsafe(UnshareFlags::NEWNS) }?;
    mount_change("/", MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC)?;
    mount("sysfs", "/sys", "sysfs", MountFlags::empty(), None)?;
    mount_bind(bpffs, "/sys/fs/bpf")?;
    Ok(())
}

fn sysctl_path(key: &str) -> PathBuf {
    // A device name may contain a dot, which sysctl(8) writes as a slash.
    let path: String = key
        .chars()
        .map(|c| {
            if c == '.' {
                '/'
            } else if c == '/' {
                '.'
            } else {
                c
            }
        })
        .collect();
    Path::new("/proc/sys").join(path)
}

fn run(command: &mut Command) -> Result<()> {
    let output = command.output().with_context(|| format!("start {command:?}"))?;
    if !output.status.success() {
        bail!("{command:?}: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}

/// Removes the namespaces of owners that are gone, with the processes in them.
pub fn sweep() {
    let names = fs::read_dir(NAMES).into_iter().flatten().chain(fs::read_dir(STATE).into_iter().flatten());
    for entry in names.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if owner(&name).is_some_and(|pid| !Path::new("/proc").join(pid.to_string()).exists()) {
            remove(&name);
        }
    }
}

/// Has Ctrl-C and SIGTERM end the process and take its namespaces away, which no drop does then.
pub fn end_cleanly() {
    thread::spawn(|| {
        block_on(async || {
            let (Ok(mut interrupt), Ok(mut terminate)) =
                (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
            else {
                return;
            };
            let code = tokio::select! { _ = interrupt.recv() => 130, _ = terminate.recv() => 143 };
            for entry in fs::read_dir(NAMES).into_iter().flatten().flatten() {
                let name = entry.file_name().to_string_lossy().into_owned();
                if owner(&name) == Some(process::id()) {
                    remove(&name);
                }
            }
            process::exit(code);
        });
    });
}

/// The process that made the namespace, if the name is one of ours.
fn owner(name: &str) -> Option<u32> {
    name.strip_prefix("gh")?.split_once('-')?.0.parse().ok()
}

/// Ends what runs in the namespace and takes its name and its bpffs away; what is already gone is no error.
fn remove(name: &str) {
    if let Ok(own) = fs::metadata(Path::new(NAMES).join(name)) {
        for pid in processes_in(own.ino()) {
            if let Some(pid) = Pid::from_raw(pid) {
                let _ = kill_process(pid, Signal::KILL);
            }
        }
    }
    let state = Path::new(STATE).join(name);
    for mounted in mounts_under(&state) {
        let _ = unmount(mounted, UnmountFlags::DETACH);
    }
    // What is still mounted is busy and stays: nothing is deleted through a mount.
    if mounts_under(&state).is_empty() {
        let _ = fs::remove_dir_all(&state);
    }
    let _ = Command::new("ip").args(["netns", "delete", name]).stderr(Stdio::null()).status();
}

fn mounts_under(folder: &Path) -> Vec<PathBuf> {
    let table = fs::read_to_string("/proc/thread-self/mountinfo").unwrap_or_default();
    let points = table.lines().filter_map(|line| line.split(' ').nth(4)).map(PathBuf::from);
    points.filter(|point| point.starts_with(folder)).collect()
}

fn processes_in(namespace: u64) -> Vec<i32> {
    let inside =
        |pid: &i32| fs::metadata(format!("/proc/{pid}/ns/net")).is_ok_and(|ns| ns.ino() == namespace);
    let all = fs::read_dir("/proc").into_iter().flatten().flatten();
    all.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).filter(inside).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_owner_is_read_from_our_names_only() {
        assert_eq!(owner("gh12-0-node"), Some(12));
        assert_eq!(owner("ghost-1"), None);
        assert_eq!(owner("node"), None);
    }

    #[test]
    fn a_dot_in_a_device_name_stays() {
        assert_eq!(
            sysctl_path("net.ipv4.conf.eth0/100.rp_filter"),
            Path::new("/proc/sys/net/ipv4/conf/eth0.100/rp_filter")
        );
    }

    #[test]
    fn a_namespace_is_entered_and_goes_away() {
        let netns = Netns::new("own").unwrap();
        let (name, bpffs) = (netns.name().to_owned(), netns.bpffs().to_owned());
        let outside = fs::metadata("/proc/self/ns/net").unwrap().ino();
        assert_ne!(netns.run(|| fs::metadata("/proc/thread-self/ns/net").unwrap().ino()), outside);
        netns.run(|| fs::create_dir("/sys/fs/bpf/here")).unwrap();
        assert!(bpffs.join("here").exists(), "what is pinned outlives the thread");
        let mut child = netns.command("sleep").unwrap().arg("60").spawn().unwrap();
        assert_eq!(netns.processes(), [i32::try_from(child.id()).unwrap()]);
        drop(netns);
        assert!(!child.wait().unwrap().success());
        assert!(!Path::new(NAMES).join(name).exists());
        assert!(!bpffs.exists());
    }

    #[test]
    fn what_a_dead_owner_left_is_swept() {
        let mut ended = Command::new("true").spawn().unwrap();
        ended.wait().unwrap();
        let stale = Netns::named(format!("gh{}-0-stale", ended.id())).unwrap();
        sweep();
        assert!(!Path::new(NAMES).join(stale.name()).exists());
    }
}
