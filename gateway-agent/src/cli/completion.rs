//! `gatectl completion SHELL`.

use std::process::ExitCode;

use clap::{Args, CommandFactory};

/// Print a shell completion script.
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  source <(gatectl completion bash)")]
pub struct Completion {
    shell: clap_complete::Shell,
}

pub(super) fn run(command: &Completion) -> anyhow::Result<ExitCode> {
    clap_complete::generate(command.shell, &mut super::Gatectl::command(), "gatectl", &mut std::io::stdout());
    Ok(ExitCode::SUCCESS)
}
