//! `cargo xtask setup`: finds what the build lacks and installs it, or says what to install.
#![expect(clippy::print_stdout, reason = "a task talks to its user")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};

use crate::step::Log;

mod linker;
mod packages;
mod toolchain;

pub(crate) use packages::Purpose;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Also what `cargo xtask bench` needs
    #[arg(long)]
    bench: bool,
    /// Also what `cargo xtask verify --kernel` needs
    #[arg(long)]
    kernels: bool,
    /// Also what `cargo xtask cluster` needs
    #[arg(long)]
    cluster: bool,
}

/// The user's folders that installed tools go to.
#[derive(clap::Args)]
pub(crate) struct Homes {
    #[arg(long, env = "HOME", hide = true, global = true, default_value = "/root")]
    home: PathBuf,
    #[arg(long, env = "CARGO_HOME", hide = true, global = true)]
    cargo_home: Option<PathBuf>,
    #[arg(long, env = "XDG_CACHE_HOME", hide = true, global = true)]
    cache_home: Option<PathBuf>,
}

impl Homes {
    /// Where cargo installs programs.
    fn programs(&self) -> PathBuf {
        self.cargo_home.clone().unwrap_or_else(|| self.home.join(".cargo")).join("bin")
    }

    /// What is worth keeping between machines or checkouts; never required.
    fn cache(&self) -> PathBuf {
        self.cache_home.clone().unwrap_or_else(|| self.home.join(".cache")).join("gatehouse")
    }
}

/// One thing that is missing.
struct Lack {
    what: String,
    why: &'static str,
    remedy: Remedy,
}

enum Remedy {
    /// Packages of a Debian-like system.
    Packages(Vec<String>),
    /// A command that any system understands.
    Command(Vec<String>),
    /// What [`linker::install`] does, as a command.
    Linker(String),
    /// Only the user can tell.
    Advice(String),
}

pub(crate) fn run(args: &Args, homes: &Homes) -> Result<()> {
    let mut purposes = vec![Purpose::Build, Purpose::Test];
    purposes.extend(args.bench.then_some(Purpose::Bench));
    purposes.extend(args.kernels.then_some(Purpose::Kernels));
    purposes.extend(args.cluster.then_some(Purpose::Cluster));
    ensure(&purposes, homes)?;
    println!("setup: everything is here");
    Ok(())
}

/// Makes sure that what `purposes` need is installed; quick and silent when it is.
pub(crate) fn ensure(purposes: &[Purpose], homes: &Homes) -> Result<()> {
    let mut lacks = packages::lacks(purposes)?;
    lacks.extend(toolchain::lacks(purposes)?);
    // What the linker needs depends on the toolchain, so it is asked once that is there.
    if lacks.is_empty() {
        lacks = linker::lacks(homes)?;
    }
    if lacks.is_empty() {
        return Ok(());
    }
    if !may_install() {
        bail!(advice(&lacks));
    }
    let log = Log::create("setup")?;
    install(&lacks, &log)?;
    linker::install(homes, &log)?;
    let mut still = packages::lacks(purposes)?;
    still.extend(toolchain::lacks(purposes)?);
    if !still.is_empty() {
        bail!("installed, and still missing ({}):\n{}", log.path().display(), advice(&still));
    }
    Ok(())
}

/// The same for purposes that compile nothing of ours.
pub(crate) fn ensure_packages(purposes: &[Purpose]) -> Result<()> {
    let lacks = packages::lacks(purposes)?;
    if lacks.is_empty() {
        return Ok(());
    }
    if !may_install() {
        bail!(advice(&lacks));
    }
    let log = Log::create("setup")?;
    install(&lacks, &log)?;
    let still = packages::lacks(purposes)?;
    if !still.is_empty() {
        bail!("installed, and still missing ({}):\n{}", log.path().display(), advice(&still));
    }
    Ok(())
}

/// Root on a system with apt.
fn may_install() -> bool {
    let root = fs::metadata("/proc/self").is_ok_and(|own| std::os::unix::fs::MetadataExt::uid(&own) == 0);
    root && Path::new("/etc/debian_version").exists() && present("apt-get")
}

fn install(lacks: &[Lack], log: &Log) -> Result<()> {
    let mut packages = Vec::new();
    for Lack { what, why, remedy } in lacks {
        println!("setup: {what} is missing: {why}");
        match remedy {
            Remedy::Packages(names) => packages.extend(names.iter().cloned()),
            Remedy::Advice(text) => bail!("{what}: {text}"),
            Remedy::Command(_) | Remedy::Linker(_) => {}
        }
    }
    apt(&packages, log)?;
    for lack in lacks {
        if let Remedy::Command(words) = &lack.remedy {
            log.must(&words.join(" "), Command::new(&words[0]).args(&words[1..]))?;
        }
    }
    Ok(())
}

/// Installs Debian packages.
fn apt(packages: &[String], log: &Log) -> Result<()> {
    if packages.is_empty() {
        return Ok(());
    }
    let mut update = Command::new("apt-get");
    log.must("apt-get update", update.args(["update", "-q"]))?;
    let mut install = Command::new("apt-get");
    install.env("DEBIAN_FRONTEND", "noninteractive").args(["install", "-q", "-y", "--no-install-recommends"]);
    log.must(&format!("apt-get install {}", packages.join(" ")), install.args(packages))
}

/// What a user types who must install these by hand.
fn advice(lacks: &[Lack]) -> String {
    let mut text = String::from(
        "Something is missing and is only installed for you on Debian-like systems, as root. Install:\n",
    );
    for Lack { what, why, remedy } in lacks {
        let how = match remedy {
            Remedy::Packages(names) => format!("Debian's package {}", names.join(" ")),
            Remedy::Command(words) => words.join(" "),
            Remedy::Linker(text) | Remedy::Advice(text) => text.clone(),
        };
        text.push_str(&format!("  {what} ({why}):\n      {how}\n"));
    }
    text
}

/// Whether a program can be started by that name.
fn present(program: &str) -> bool {
    find(&[program]).is_ok_and(|paths| !paths.is_empty())
}

/// Where those of `programs` are that are on the path.
fn find(programs: &[&str]) -> Result<Vec<PathBuf>> {
    let script = r#"PATH="$PATH:/usr/sbin:/sbin"; for p; do command -v "$p"; done"#;
    let output = Command::new("sh")
        .args(["-c", script, "sh"])
        .args(programs)
        .stderr(Stdio::null())
        .output()
        .context("start sh")?;
    Ok(String::from_utf8_lossy(&output.stdout).lines().map(PathBuf::from).collect())
}

/// What a command prints, or None when it cannot be run or fails.
pub(crate) fn answer(command: &mut Command) -> Option<String> {
    let output = command.stdin(Stdio::null()).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn advice_names_thing_reason_and_remedy() {
        let lacks = [
            Lack {
                what: "ip".into(),
                why: "lays out namespaces",
                remedy: Remedy::Packages(vec!["iproute2".into()]),
            },
            Lack {
                what: "rust-src".into(),
                why: "builds core",
                remedy: Remedy::Command(vec!["rustup".into(), "x".into()]),
            },
        ];
        let text = advice(&lacks);
        assert!(text.contains("ip (lays out namespaces):\n      Debian's package iproute2\n"), "{text}");
        assert!(text.contains("rust-src (builds core):\n      rustup x\n"), "{text}");
    }

    #[test]
    fn programs_are_looked_up_by_name() {
        let found = find(&["no-such-program-here", "sh"]).unwrap();
        assert!(found.len() == 1 && found[0].ends_with("sh"), "{found:?}");
    }
}
