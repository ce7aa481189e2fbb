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

/// Builds the programs as they are released. What tries them is not: it would be optimised for minutes to wait for others.
pub(crate) fn build(task: &str) -> Result<()> {
    let log = Log::create(task)?;
    for (what, profile, programs) in [
        (
            "release build (minutes when it is the first)",
            "release",
            ["gateway-agent", "gatectl", "gateway-proxy"].as_slice(),
        ),
        ("build of what tries it", "dev", &["echo", task]),
    ] {
        let mut cargo = workspace::cargo();
        cargo
            .args(["build", "--profile", profile])
            .args(programs.iter().flat_map(|program| ["--bin", program]));
        log.must(what, &mut cargo)?;
    }
    Ok(())
}

/// Replaces this process, so that Ctrl-C reaches nobody else.
pub(crate) fn become_program(name: &str, arguments: &[String]) -> Result<()> {
    let program = workspace::target().join("debug").join(name);
    let mut command = Command::new(&program);
    command.env("GATEHOUSE_PROGRAMS", workspace::target().join("release"));
    let error = command.current_dir(workspace::root()).args(arguments).exec();
    Err(error).with_context(|| format!("start {}", program.display()))
}
