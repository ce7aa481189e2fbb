//! `cargo xtask codegen`: types and schemas of the Gateway API out of the CRDs of its Go module; our own CRDs out of our
//! types.
#![expect(clippy::print_stdout, reason = "a task talks to its user")]

mod parts;
mod schema;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail, ensure};

use crate::workspace;

const MODULE: &str = "sigs.k8s.io/gateway-api";
const VERSION: &str = "v1.7.0";
const KOPIUM: &str = "0.24.1";

/// Group, plural and version of each kind; the experimental bundle, so that every kind and field exists.
const KINDS: [(&str, &str, &str); 14] = [
    ("gateway.networking.k8s.io", "backendtlspolicies", "v1"),
    ("gateway.networking.k8s.io", "gatewayclasses", "v1"),
    ("gateway.networking.k8s.io", "gateways", "v1"),
    ("gateway.networking.k8s.io", "grpcroutes", "v1"),
    ("gateway.networking.k8s.io", "httproutes", "v1"),
    ("gateway.networking.k8s.io", "listenersets", "v1"),
    ("gateway.networking.k8s.io", "referencegrants", "v1"),
    ("gateway.networking.k8s.io", "tcproutes", "v1"),
    ("gateway.networking.k8s.io", "tlsroutes", "v1"),
    ("gateway.networking.k8s.io", "udproutes", "v1"),
    ("gateway.networking.x-k8s.io", "xbackends", "v1alpha1"),
    ("gateway.networking.x-k8s.io", "xbackendtrafficpolicies", "v1alpha1"),
    ("gateway.networking.x-k8s.io", "xmeshes", "v1alpha1"),
    ("gateway.networking.x-k8s.io", "xtelemetrypolicies", "v1alpha1"),
];

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Write nothing; fail if a committed file is not what would be written
    #[arg(long)]
    check: bool,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let folder = crds()?;
    let kopium = kopium()?;
    let mut outputs = Vec::new();
    for (group, plural, version) in KINDS {
        let text = generate(&kopium, &folder, group, plural, version)?;
        let files = parts::split(plural, &text).into_iter();
        outputs.extend(files.map(|(name, text)| (format!("gateway-agent/api/src/{name}"), text)));
    }
    outputs.push(("gateway-agent/src/source/schema/gateway-api.json".to_owned(), schema::generate(&folder)?));
    outputs.push(("manifests/crds/gatehouse.dev.yaml".to_owned(), own_crds()?));
    let mut stale = Vec::new();
    for (name, text) in outputs {
        let path = workspace::root().join(&name);
        if fs::read_to_string(&path).is_ok_and(|old| old == text) {
            continue;
        }
        if !args.check {
            fs::create_dir_all(path.parent().unwrap_or(&path))?;
            fs::write(&path, text).with_context(|| format!("write {}", path.display()))?;
        }
        stale.push(name);
    }
    match (stale.is_empty(), args.check) {
        (true, _) => println!("codegen: everything is that of {MODULE} {VERSION}"),
        (false, false) => println!("codegen: wrote {}", stale.join(", ")),
        (false, true) => bail!("codegen: run `cargo xtask codegen`; these differ: {}", stale.join(", ")),
    }
    Ok(())
}

/// The agent knows the schema of its own kinds.
fn own_crds() -> Result<String> {
    let mut agent = Command::new("cargo");
    agent.current_dir(workspace::root());
    output(agent.args([
        "run",
        "--quiet",
        "--package",
        "gateway-agent",
        "--bin",
        "gateway-agent",
        "--",
        "crds",
    ]))
}

/// The folder of the CRDs in Go's module cache.
fn crds() -> Result<PathBuf> {
    // With a Go older than the module asks for this reports an error and downloads all the same.
    let _ = Command::new("go")
        .current_dir(std::env::temp_dir())
        .envs([("GOFLAGS", "-mod=mod"), ("GOTOOLCHAIN", "local")])
        .args(["mod", "download", &format!("{MODULE}@{VERSION}")])
        .output()
        .context("start go; install Go to fetch the CRDs")?;
    let cache = output(Command::new("go").args(["env", "GOMODCACHE"]))?;
    let folder = Path::new(cache.trim()).join(format!("{MODULE}@{VERSION}/config/crd/experimental"));
    ensure!(folder.exists(), "`go mod download {MODULE}@{VERSION}` left nothing at {}", folder.display());
    Ok(folder)
}

/// The generator, installed if it is absent.
fn kopium() -> Result<PathBuf> {
    let program = PathBuf::from("kopium");
    let version = Command::new(&program).arg("--version").output();
    let right = version.is_ok_and(|output| {
        String::from_utf8_lossy(&output.stdout).split_whitespace().any(|word| word == KOPIUM)
    });
    if !right {
        println!("codegen: installing kopium {KOPIUM}, which writes Rust types from CRDs");
        let mut install = Command::new("cargo");
        let status = install.args(["install", "kopium", "--version", KOPIUM, "--force"]).status()?;
        ensure!(status.success(), "`cargo install kopium --version {KOPIUM}` failed");
    }
    Ok(program)
}

/// One kind's module, as rustfmt leaves it.
fn generate(kopium: &Path, folder: &Path, group: &str, plural: &str, version: &str) -> Result<String> {
    let file = format!("{group}_{plural}.yaml");
    let mut command = Command::new(kopium);
    // Relative, because the generated header repeats the command.
    command.current_dir(folder).args(["-f", &file, "--api-version", version, "-D", "PartialEq"]);
    let text = output(&mut command)?;
    let scratch = workspace::target().join("xtask");
    fs::create_dir_all(&scratch)?;
    let scratch = scratch.join(format!("{plural}.rs"));
    fs::write(&scratch, text)?;
    let mut format = Command::new("rustfmt");
    format.args(["--edition", "2024", "--config-path"]).arg(workspace::root()).arg(&scratch);
    output(&mut format)?;
    fs::read_to_string(&scratch).context("read what rustfmt wrote")
}

fn output(command: &mut Command) -> Result<String> {
    let output = command.output().with_context(|| format!("start {command:?}"))?;
    ensure!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr).trim());
    String::from_utf8(output.stdout).context("output that is not UTF-8")
}
