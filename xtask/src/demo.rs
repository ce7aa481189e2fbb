//! `cargo xtask demo`: builds everything as it is released, and becomes the demonstration.

use std::os::unix::process::CommandExt as _;
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::setup::{Homes, Purpose, ensure};
use crate::step::Log;
use crate::workspace;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// End by itself: with 0 if everything was as it should be
    #[arg(long)]
    check: bool,
}

pub(crate) fn run(args: &Args, homes: &Homes) -> Result<()> {
    ensure(&[Purpose::Build, Purpose::Test], homes)?;
    build("demo")?;
    become_program("demo", &if args.check { vec!["--check".to_owned()] } else { Vec::new() })
}

/// Builds the programs as they are released, and what tries them: no others, each is linked for a minute.
pub(crate) fn build(task: &str) -> Result<()> {
    let log = Log::create(task)?;
    let programs = ["gateway-agent", "gatectl", "gateway-proxy", "echo", task];
    let programs = programs.iter().flat_map(|program| ["--bin", program]);
    let mut cargo = workspace::cargo();
    cargo.args(["build", "--release"]).args(programs);
    log.must("release build (minutes when it is the first)", &mut cargo)
}

/// Replaces this process, so that Ctrl-C reaches nobody else.
pub(crate) fn become_program(name: &str, arguments: &[String]) -> Result<()> {
    let program = workspace::target().join("release").join(name);
    let error = Command::new(&program).current_dir(workspace::root()).args(arguments).exec();
    Err(error).with_context(|| format!("start {}", program.display()))
}
