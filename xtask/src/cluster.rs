//! `cargo xtask cluster`: a real Kubernetes in network namespaces of this machine.
#![expect(clippy::print_stdout, reason = "a task talks to its user")]

use anyhow::Result;
use clap::Subcommand;
use gatehouse_cluster::artifacts::{Artifacts, Component};

use crate::setup::{Homes, Purpose, ensure_packages};

#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Compiles what the user's cache lacks: control plane, node programs, images and conformance suites
    Build(Build),
}

#[derive(clap::Args)]
struct Build {
    /// Only these; all if none is named
    components: Vec<Component>,
}

pub(crate) fn run(args: &Args, _: &Homes) -> Result<()> {
    ensure_packages(&[Purpose::Cluster])?;
    match &args.command {
        Command::Build(args) => build(args),
    }
}

fn build(args: &Build) -> Result<()> {
    let wanted = if args.components.is_empty() { &Component::ALL[..] } else { &args.components[..] };
    let artifacts = Artifacts::ensure(wanted, &|line| println!("  {line}"))?;
    let megabytes = artifacts.bytes()? / 1_000_000;
    println!("cluster: {} components are in the cache, {megabytes} MB", wanted.len());
    Ok(())
}
