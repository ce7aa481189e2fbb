//! `cargo xtask image`: Gatehouse's own image and those of the test cluster, as OCI archives.
#![expect(clippy::print_stdout, reason = "a task talks to its user")]

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail, ensure};
use gatehouse_cluster::artifacts::{Artifacts, Component};
use gatehouse_cluster::image::{Image, NONROOT, Sbom};

use crate::setup::{Homes, Purpose, answer, ensure as ensure_tools, ensure_packages};
use crate::step::Log;
use crate::workspace;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// The folder of the archives, NAME.tar each
    #[arg(long, default_value = "target/image")]
    output: PathBuf,
    /// `gatehouse`, or one of the test cluster's; all if none is named
    names: Vec<String>,
}

/// The programs of our own image, and where they are in it.
const PROGRAMS: [(&str, &str); 3] = [
    ("gateway-agent", "/usr/local/bin/gateway-agent"),
    ("gatectl", "/usr/local/bin/gatectl"),
    ("gateway-proxy", "/usr/local/bin/gateway-proxy"),
];
const OWN: &str = "gatehouse";

pub(crate) fn run(args: &Args, homes: &Homes) -> Result<()> {
    let known: Vec<String> = Component::IMAGES.iter().map(Component::to_string).collect();
    if let Some(name) = args.names.iter().find(|name| *name != OWN && !known.contains(name)) {
        bail!("no image `{name}`: there are {OWN}, {}", known.join(", "));
    }
    let wanted = |name: &str| args.names.is_empty() || args.names.iter().any(|other| other == name);
    fs::create_dir_all(&args.output).with_context(|| format!("create {}", args.output.display()))?;
    if wanted(OWN) {
        ensure_tools(&[Purpose::Build], homes)?;
        own(&args.output.join(format!("{OWN}.tar")))?;
    }
    let components = Component::IMAGES.into_iter().filter(|one| wanted(&one.to_string()));
    of_cluster(&components.collect::<Vec<_>>(), &args.output)
}

fn of_cluster(components: &[Component], output: &Path) -> Result<()> {
    if components.is_empty() {
        return Ok(());
    }
    ensure_packages(&[Purpose::Cluster])?;
    // All at once: a builder keeps its compiled packages from one to the next.
    let artifacts = Artifacts::ensure(components, &|line| println!("  {line}"))?;
    for &component in components {
        let archive = output.join(format!("{component}.tar"));
        let image = artifacts.image(component)?;
        fs::copy(&image, &archive).with_context(|| format!("copy {}", image.display()))?;
        println!("  {}", archive.display());
    }
    Ok(())
}

/// Our own programs in one image: the agent starts the proxy beside it.
fn own(archive: &Path) -> Result<()> {
    let log = Log::create("image")?;
    let target = target()?;
    let mut build = workspace::cargo();
    // glibc linked in: a toolchain for musl is not needed, and the programs look up no names and load no libraries.
    let flags = format!("CARGO_TARGET_{}_RUSTFLAGS", target.to_uppercase().replace('-', "_"));
    build.env(flags, "-C target-feature=+crt-static").env("CARGO_PROFILE_RELEASE_STRIP", "symbols");
    build.env("RUSTC_WRAPPER", wrapper()?);
    build.env("CHECKOUT", workspace::root()).env("BUILT", workspace::target());
    build.args(["build", "--release", "--bins", "--target", &target]);
    build.args(["--package", "gateway-agent", "--package", "gateway-proxy"]);
    log.must("static programs", &mut build)?;
    let mut sbom = Sbom::new(OWN);
    // The agent carries the eBPF programs within.
    for package in ["gateway-agent", "gateway-proxy", "gateway-ebpf"] {
        sbom.add_cargo(&tree(package, &target)?)?;
    }
    let (registry, version) = libc()?;
    sbom.add_library(&registry, "glibc", &version);
    let parts = workspace::target().join(&target).join("release");
    let digest = image().pack(&parts, &sbom, archive)?;
    println!("  {}: {digest}", archive.display());
    Ok(())
}

/// Writes the program through which cargo starts the compiler.
fn wrapper() -> Result<PathBuf> {
    let path = workspace::target().join("xtask/rustc.sh");
    fs::write(&path, include_str!("image/rustc.sh")).with_context(|| format!("write {}", path.display()))?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
    Ok(path)
}

fn image() -> Image {
    let version = env!("CARGO_PKG_VERSION");
    Image {
        names: vec![format!("gatehouse.dev/{OWN}:{version}")],
        title: OWN,
        description: "Kubernetes Gateway API for bare-metal nodes",
        version: version.to_owned(),
        programs: PROGRAMS.to_vec(),
        files: Vec::new(),
        entrypoint: PROGRAMS[0].1,
        user: NONROOT,
    }
}

/// The machine's own target, named, so that flags are not those of build scripts as well.
fn target() -> Result<String> {
    let output = Command::new("rustc").arg("-vV").output().context("start rustc")?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let host = text.lines().find_map(|line| line.strip_prefix("host: "));
    Ok(host.context("`rustc -vV` names no host")?.to_owned())
}

/// Who made the glibc that is linked in, as in a package URL, and its version.
fn libc() -> Result<(String, String)> {
    let package = ["--show", "--showformat=${source:Version}", "libc6-dev"];
    if let Some(version) = answer(Command::new("dpkg-query").args(package)) {
        let system = fs::read_to_string("/etc/os-release").unwrap_or_default();
        let name = system.lines().find_map(|line| line.strip_prefix("ID=")).unwrap_or("debian");
        return Ok((format!("deb/{}", name.trim_matches('"')), version));
    }
    // Its first line ends with the version.
    let text = answer(Command::new("ldd").arg("--version")).context("nobody says which glibc this is")?;
    let version = text.lines().next().and_then(|line| line.split_whitespace().last());
    Ok(("generic".to_owned(), version.context("`ldd --version` says nothing")?.to_owned()))
}

/// What a package is linked from.
fn tree(package: &str, target: &str) -> Result<String> {
    let mut cargo = workspace::cargo();
    cargo.args(["tree", "--edges", "normal,no-proc-macro", "--prefix", "none", "--format", "{p}|{l}"]);
    let output = cargo.args(["--package", package, "--target", target]).output().context("start cargo")?;
    ensure!(output.status.success(), "cargo tree: {}", String::from_utf8_lossy(&output.stderr).trim());
    String::from_utf8(output.stdout).context("output that is not UTF-8")
}
