//! The pins: `ROOT/v<ABI_VERSION>/{maps,progs,links}/…` on a BPF file system.
//!
//! A directory of another ABI version, or one whose maps have another layout, keeps serving beside ours until we serve.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use aya::maps::MapInfo;
use gateway_common::abi::ABI_VERSION;
use gateway_common::abi::names::PINNED_MAPS;
use rustix::io::Errno;

use super::Error;
use super::layout::Layout;

/// Where pins go unless the configuration says otherwise.
pub const DEFAULT_ROOT: &str = "/sys/fs/bpf/gatehouse";
/// `BPF_FS_MAGIC` of linux/magic.h.
const BPF_FS_MAGIC: u64 = 0xcafe_4a11;

/// Paths of the pins of this ABI version.
#[derive(Clone, Debug)]
pub struct Pins {
    root: PathBuf,
}

impl Pins {
    /// Names the paths; touches nothing.
    pub fn at(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    fn current(&self) -> PathBuf {
        self.root.join(format!("v{ABI_VERSION}"))
    }

    pub fn maps(&self) -> PathBuf {
        self.current().join("maps")
    }

    pub fn map(&self, name: &str) -> PathBuf {
        self.maps().join(name)
    }

    fn programs(&self) -> PathBuf {
        self.current().join("progs")
    }

    pub fn program(&self, name: &str) -> PathBuf {
        self.programs().join(name)
    }

    pub fn links(&self) -> PathBuf {
        self.current().join("links")
    }

    /// Whether an agent of this ABI version has been here.
    pub fn exist(&self) -> bool {
        self.maps().is_dir()
    }

    /// Makes the directories ready: on a BPF file system, with maps of the right layout or none.
    pub(super) fn prepare(&self, mount: bool) -> Result<(), Error> {
        self.require_bpffs(mount)?;
        if let Some((name, have, want)) = self.mismatch()? {
            let aside = self.aside();
            tracing::warn!(
                map = name, %have, %want, moved_to = %aside.display(),
                "pinned map has another layout; the maps are made anew and the old ones serve until then"
            );
            fs::rename(self.current(), &aside).map_err(|e| Error::io("rename", &self.current(), e))?;
        }
        for dir in [self.maps(), self.programs(), self.links()] {
            fs::create_dir_all(&dir).map_err(|e| Error::io("mkdir", &dir, e))?;
        }
        Ok(())
    }

    /// Directories of other versions, and those set aside. What else lies there is not ours.
    pub(super) fn older(&self) -> Vec<PathBuf> {
        let names = names_in(&self.root).into_iter().filter(|name| is_version(name));
        let dirs = names.map(|name| self.root.join(name));
        dirs.filter(|dir| *dir != self.current() && dir.is_dir()).collect()
    }

    /// Removes the directories of other versions: their programs detach, their maps end.
    pub(super) fn remove_older(&self) -> Result<(), Error> {
        for dir in self.older() {
            tracing::info!(directory = %dir.display(), "removing pins of another ABI version");
            // Links first: no program may run without its maps being found by an operator.
            for part in ["links", "progs", "maps"] {
                remove_directory(&dir.join(part))?;
            }
            remove_directory(&dir)?;
        }
        Ok(())
    }

    /// Removes every pin: traffic to VIPs is no longer taken. For uninstallation only.
    pub fn remove_all(&self) -> Result<(), Error> {
        self.remove_older()?;
        for dir in [self.links(), self.programs(), self.maps(), self.current()] {
            remove_directory(&dir)?;
        }
        match fs::remove_dir(&self.root) {
            Err(e) if !matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::DirectoryNotEmpty) => {
                Err(Error::io("rmdir", &self.root, e))
            }
            _ => Ok(()),
        }
    }

    /// The first pinned map whose layout is not the ABI's: name, what is there, what is wanted.
    fn mismatch(&self) -> Result<Option<(&'static str, Layout, Layout)>, Error> {
        for name in PINNED_MAPS {
            let path = self.map(name);
            if !path.exists() {
                continue;
            }
            let info = MapInfo::from_pin(&path).map_err(|e| Error::map("open", name, e))?;
            let (have, want) = (Layout::of_map(&info), Layout::of_abi(name));
            if let Some(want) = want.filter(|want| *want != have) {
                return Ok(Some((name, have, want)));
            }
        }
        Ok(None)
    }

    /// A free name beside the current directory; bpffs allows no dots.
    fn aside(&self) -> PathBuf {
        let free = |n: &u32| !self.root.join(format!("v{ABI_VERSION}-old{n}")).exists();
        let n = (1..).find(free).unwrap_or(0);
        self.root.join(format!("v{ABI_VERSION}-old{n}"))
    }

    fn require_bpffs(&self, mount: bool) -> Result<(), Error> {
        if is_mount_point(&self.root) {
            return Err(Error::PinsOfAll { path: self.root.clone() });
        }
        let on = self.root.ancestors().find(|dir| dir.exists()).unwrap_or(Path::new("/"));
        if is_bpffs(on)? {
            return Ok(());
        }
        let point = self.root.parent().unwrap_or(Path::new("/sys/fs/bpf"));
        if !mount {
            return Err(Error::NoBpffs { path: point.to_owned() });
        }
        rustix::mount::mount("bpf", point, "bpf", rustix::mount::MountFlags::empty(), c"mode=0700")
            .map_err(|e| Error::io("mount bpffs", point, e.into()))
    }
}

/// Whether a file system begins there.
fn is_mount_point(path: &Path) -> bool {
    let device = |path: &Path| rustix::fs::stat(path).ok().map(|stat| stat.st_dev);
    let above = path.parent().and_then(device);
    above.is_some() && device(path).is_some_and(|own| Some(own) != above)
}

/// Whether the path lies on a BPF file system.
pub fn is_bpffs(path: &Path) -> Result<bool, Error> {
    match rustix::fs::statfs(path) {
        Ok(stat) => Ok(stat.f_type as u64 == BPF_FS_MAGIC),
        Err(Errno::NOENT) => Ok(false),
        Err(e) => Err(Error::io("statfs", path, e.into())),
    }
}

/// Names of the pins in a directory, sorted; empty when there is none.
pub(super) fn names_in(dir: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(dir) else { return Vec::new() };
    let mut names: Vec<String> =
        entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.sort();
    names
}

/// Whether a directory has a name that we give: `v1`, or `v1-old2` when it was set aside.
fn is_version(name: &str) -> bool {
    let number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let Some(version) = name.strip_prefix('v') else { return false };
    match version.split_once("-old") {
        Some((version, copy)) => number(version) && number(copy),
        None => number(version),
    }
}

/// Removes a directory and the pins in it; a missing one is fine.
fn remove_directory(dir: &Path) -> Result<(), Error> {
    let ok_if_missing = |result: io::Result<()>, call, path: &Path| match result {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(Error::io(call, path, e)),
        _ => Ok(()),
    };
    for name in names_in(dir) {
        let path = dir.join(name);
        if !path.is_dir() {
            ok_if_missing(fs::remove_file(&path), "unlink", &path)?;
        }
    }
    ok_if_missing(fs::remove_dir(dir), "rmdir", dir)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_root_that_is_no_bpffs_is_an_error_with_the_remedy() {
        let dir = tempfile::tempdir().unwrap();
        let pins = Pins::at(dir.path().join("gatehouse"));
        let error = pins.prepare(false).unwrap_err().to_string();
        assert!(error.contains("mount -t bpf bpf"), "{error}");
        assert!(!pins.exist());
    }

    #[test]
    fn a_mount_point_is_not_ours_alone() {
        let error = Pins::at("/proc").prepare(false).unwrap_err().to_string();
        assert!(error.contains("/proc/gatehouse"), "{error}");
    }

    #[test]
    fn only_directories_with_our_names_are_of_other_versions() {
        let dir = tempfile::tempdir().unwrap();
        let current = format!("v{ABI_VERSION}");
        for name in ["v0", "v0-old1", "tc", "v", "v2x", "v1-old", "cilium", &current] {
            fs::create_dir(dir.path().join(name)).unwrap();
        }
        let pins = Pins::at(dir.path());
        assert_eq!(pins.older(), ["v0", "v0-old1"].map(|name| dir.path().join(name)));
        fs::write(dir.path().join("pin"), "").unwrap();
        pins.remove_all().unwrap();
        assert_eq!(names_in(dir.path()), ["cilium", "pin", "tc", "v", "v1-old", "v2x"]);
    }
}
