//! `cargo xtask cluster logs`: what the cluster's programs print.
#![expect(clippy::print_stdout, reason = "a task talks to its user")]

use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use gatehouse_cluster::cluster::{Running, Status, tail};

#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  cargo xtask cluster logs                        # the last lines of everything
  cargo xtask cluster logs apiserver --lines 500
  cargo xtask cluster logs n1/kubelet n2/kubelet --follow")]
pub(crate) struct Args {
    /// `apiserver`, `n1/kubelet`, … or a part of such names; all when there is none
    programs: Vec<String>,
    #[arg(long, default_value_t = 20)]
    lines: usize,
    /// Goes on with what is printed from now on
    #[arg(long, short)]
    follow: bool,
}

pub(super) fn run(args: &Args, cluster: &Running) -> Result<()> {
    let processes = Status::of(cluster).processes;
    let wanted = |name: &str| {
        args.programs.is_empty() || args.programs.iter().any(|part| name.contains(part.as_str()))
    };
    let chosen: Vec<_> = processes.iter().filter(|process| wanted(&process.name)).collect();
    let names: Vec<&str> = processes.iter().map(|process| process.name.as_str()).collect();
    ensure!(!chosen.is_empty(), "nothing like that runs; there are {}", names.join(", "));
    if args.follow {
        let files: Vec<&PathBuf> = chosen.iter().map(|process| &process.log).collect();
        let lines = format!("--lines={}", args.lines);
        return Err(Command::new("tail").arg(lines).arg("--follow").args(files).exec()).context("start tail");
    }
    for process in chosen {
        println!("==> {} ({})\n{}\n", process.name, process.log.display(), tail(&process.log, args.lines));
    }
    Ok(())
}
