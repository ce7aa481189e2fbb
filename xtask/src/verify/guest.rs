//! A virtual machine whose whole userland is busybox, ip and the verify binary, in an initramfs.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail, ensure};

use super::kernel::Kernel;
use crate::step::{Ended, Log};
use crate::workspace;

/// Commands, and the Debian packages that have them.
const TOOLS: [(&str, &str); 11] = [
    ("qemu-system-x86_64", "qemu-system-x86"),
    ("busybox", "busybox-static"),
    ("cpio", "cpio"),
    ("modprobe", "kmod"),
    ("depmod", "kmod"),
    ("xz", "xz-utils"),
    ("strip", "binutils"),
    ("ldd", "libc-bin"),
    ("ip", "iproute2"),
    ("dpkg-deb", "dpkg"),
    ("apt-cache", "apt"),
];

/// What the topologies and TC need where the kernel has it as modules.
const MODULES: [&str; 6] = ["veth", "sch_ingress", "cls_bpf", "8021q", "bridge", "bonding"];

const APPLETS: [&str; 6] = ["sh", "mount", "mkdir", "insmod", "poweroff", "uname"];

/// Says that everything went well; a line of its own on the console.
const WELL: &str = "gatehouse-verify: well";

const INIT: &str = "#!/bin/sh
export PATH=/bin RUST_BACKTRACE=0
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
mount -t tmpfs tmpfs /tmp
mount -t tmpfs tmpfs /run
mkdir -p /run/netns
mount -t bpf bpf /sys/fs/bpf
for module in /modules/*; do insmod $module; done
verify --in-guest && echo 'gatehouse-verify: well'
poweroff -f
";

/// Fails with the packages to install.
pub(super) fn check_tools() -> Result<()> {
    ensure!(cfg!(target_arch = "x86_64"), "--kernel boots amd64 kernels and wants an x86-64 machine");
    let lacking = TOOLS.iter().filter(|(tool, _)| find(tool).is_none());
    let packages: BTreeSet<_> = lacking.map(|(_, package)| *package).collect();
    if !packages.is_empty() {
        let packages: Vec<_> = packages.into_iter().collect();
        bail!("--kernel lacks tools: apt-get install {}", packages.join(" "));
    }
    Ok(())
}

/// Boots the kernel and lets `binary` verify inside.
pub(super) fn run(log: &Log, kernel: &Kernel, binary: &Path) -> Result<Ended> {
    let folder = workspace::target().join("xtask/guest");
    if folder.exists() {
        fs::remove_dir_all(&folder).context("remove the last guest")?;
    }
    let root = folder.join("root");
    lay_out(&root, kernel, binary)?;
    let image = folder.join("initramfs");
    pack(&root, &image)?;
    let mut qemu = Command::new("timeout");
    // Emulated: a machine that is virtual itself often offers a /dev/kvm that cannot run every kernel.
    qemu.args(["--signal=KILL", "600", "qemu-system-x86_64", "-accel", "tcg"]);
    qemu.args(["-m", "1024", "-smp", "2", "-nographic", "-no-reboot", "-nic", "none"]);
    qemu.arg("-kernel").arg(kernel.image()).arg("-initrd").arg(&image);
    qemu.args(["-append", "console=ttyS0 quiet panic=-1"]);
    let mut ended = log.run(&format!("kernel {}", kernel.release), &mut qemu)?;
    // What comes before is the firmware's.
    if let Some(start) = ended.output.find("program ") {
        ended.output.drain(..start);
    }
    ended.success = ended.output.contains(WELL);
    Ok(ended)
}

fn lay_out(root: &Path, kernel: &Kernel, binary: &Path) -> Result<()> {
    for folder in ["bin", "proc", "sys", "dev", "tmp", "run", "modules"] {
        fs::create_dir_all(root.join(folder))?;
    }
    let busybox = find("busybox").context("busybox is gone")?;
    fs::copy(busybox, root.join("bin/busybox"))?;
    for applet in APPLETS {
        symlink("busybox", root.join("bin").join(applet))?;
    }
    let ip = find("ip").context("ip is gone")?;
    for (name, program) in [("ip", ip.as_path()), ("verify", binary)] {
        let copy = root.join("bin").join(name);
        fs::copy(program, &copy).with_context(|| format!("copy {}", program.display()))?;
        done(Command::new("strip").arg(&copy))?;
        for library in libraries(program)? {
            let target = root.join(library.trim_start_matches('/'));
            fs::create_dir_all(target.parent().context("a library in no folder")?)?;
            fs::copy(&library, target).with_context(|| format!("copy {library}"))?;
        }
    }
    for (number, module) in kernel.modules(&MODULES)?.iter().enumerate() {
        let copy = root.join("modules").join(format!("{number:02}.ko"));
        if module.extension().is_some_and(|extension| extension == "xz") {
            done(Command::new("xz").arg("-dc").arg(module).stdout(File::create(copy)?))?;
        } else {
            fs::copy(module, copy)?;
        }
    }
    let init = root.join("init");
    fs::write(&init, INIT)?;
    fs::set_permissions(&init, fs::Permissions::from_mode(0o755))?;
    Ok(())
}

/// Not compressed: unpacking would cost the emulated processor more than reading does.
fn pack(root: &Path, image: &Path) -> Result<()> {
    let script = "find . | cpio --create --format=newc --quiet";
    done(Command::new("sh").args(["-c", script]).current_dir(root).stdout(File::create(image)?))
}

/// The shared libraries that `program` loads, and the loader.
fn libraries(program: &Path) -> Result<BTreeSet<String>> {
    let output = Command::new("ldd").arg(program).output().context("start ldd")?;
    let text = String::from_utf8(output.stdout)?;
    Ok(text.split_whitespace().filter(|word| word.starts_with('/')).map(str::to_owned).collect())
}

fn find(tool: &str) -> Option<PathBuf> {
    let folders = ["/usr/local/bin", "/usr/bin", "/bin", "/usr/sbin", "/sbin"];
    folders.iter().map(|folder| Path::new(folder).join(tool)).find(|path| path.exists())
}

fn done(command: &mut Command) -> Result<()> {
    let status = command.stdin(Stdio::null()).status();
    let status = status.with_context(|| format!("start {}", command.get_program().display()))?;
    ensure!(status.success(), "{command:?} failed");
    Ok(())
}
