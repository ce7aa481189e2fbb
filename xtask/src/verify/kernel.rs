//! Debian's cloud kernels: found by apt, unpacked below `target/xtask/kernels`, never installed.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result, bail, ensure};

use crate::step::Log;
use crate::workspace;

pub(super) struct Kernel {
    /// As `uname -r` says it.
    pub(super) release: String,
    /// Where the package is unpacked.
    pub(super) root: PathBuf,
}

/// The newest cloud kernel of a series, downloaded unless it is there already.
pub(super) fn fetch(log: &Log, series: &str) -> Result<Kernel> {
    let well_formed = series.split('.').count() == 2 && numbers(series).len() == 2;
    ensure!(well_formed, "--kernel {series}: a series is two numbers, such as 6.12");
    let package = newest(&search(series)?).with_context(|| {
        format!("no package linux-image-{series}…-cloud-amd64; `apt-get update`, or add Debian's backports")
    })?;
    let release = package.trim_start_matches("linux-image-").to_owned();
    let folder = workspace::target().join("xtask/kernels");
    let root = folder.join(&release);
    let kernel = Kernel { release, root };
    if kernel.image().exists() {
        return Ok(kernel);
    }
    let downloads = folder.join(format!("{package}.part"));
    fs::create_dir_all(&downloads)?;
    let mut download = Command::new("apt-get");
    download.args(["download", &package]).current_dir(&downloads);
    log.must(&format!("download {package}"), &mut download)?;
    let deb = fs::read_dir(&downloads)?.flatten().map(|entry| entry.path());
    let deb = deb.max().with_context(|| format!("apt-get downloaded no {package}"))?;
    let unpacked = downloads.join("root");
    log.must("unpack it", Command::new("dpkg-deb").arg("-x").arg(&deb).arg(&unpacked))?;
    log.must("list its modules", Command::new("depmod").arg("-b").arg(&unpacked).arg(&kernel.release))?;
    fs::rename(&unpacked, &kernel.root).context("move the kernel into place")?;
    fs::remove_dir_all(&downloads)?;
    Ok(kernel)
}

impl Kernel {
    pub(super) fn image(&self) -> PathBuf {
        self.root.join("boot").join(format!("vmlinuz-{}", self.release))
    }

    /// The files of `modules` and of what they need, in the order to load them. What is built in has none.
    pub(super) fn modules(&self, modules: &[&str]) -> Result<Vec<PathBuf>> {
        let mut files = Vec::new();
        for module in modules {
            let output = Command::new("modprobe")
                .arg("-d")
                .arg(&self.root)
                .args(["-S", &self.release, "--show-depends", module])
                .output()
                .context("start modprobe")?;
            if !output.status.success() {
                bail!("{} has no module {module}", self.release);
            }
            let text = String::from_utf8(output.stdout)?;
            // A module's options follow its file.
            let file =
                |line: &str| line.strip_prefix("insmod ")?.split_whitespace().next().map(PathBuf::from);
            for file in text.lines().filter_map(file) {
                if !files.contains(&file) {
                    files.push(file);
                }
            }
        }
        Ok(files)
    }
}

fn search(series: &str) -> Result<Vec<String>> {
    let pattern = format!("^linux-image-{}\\..*-cloud-amd64$", series.replace('.', "\\."));
    let output = Command::new("apt-cache")
        .args(["search", "--names-only", &pattern])
        .output()
        .context("start apt-cache; --kernel needs a Debian with its package lists")?;
    ensure!(output.status.success(), "apt-cache search failed");
    let text = String::from_utf8(output.stdout)?;
    Ok(text.lines().filter_map(|line| Some(line.split_once(" - ")?.0.to_owned())).collect())
}

fn newest(packages: &[String]) -> Option<String> {
    packages.iter().max_by_key(|package| numbers(package)).cloned()
}

fn numbers(text: &str) -> Vec<u64> {
    text.split(|c: char| !c.is_ascii_digit()).filter_map(|part| part.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_compare_by_number() {
        let packages = ["6.1.0-9-cloud-amd64", "6.1.0-56-cloud-amd64", "6.1.0-10-cloud-amd64"];
        let packages = packages.map(|release| format!("linux-image-{release}"));
        assert_eq!(newest(&packages), Some("linux-image-6.1.0-56-cloud-amd64".to_owned()));
        assert_eq!(newest(&[]), None);
    }
}
