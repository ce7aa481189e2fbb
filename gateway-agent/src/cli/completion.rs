//! `gatectl completion SHELL`.

use std::process::ExitCode;

use clap::{Args, CommandFactory};

use super::output::say;

/// Print a shell completion script.
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  source <(gatectl completion bash)")]
pub struct Completion {
    shell: clap_complete::Shell,
}

pub(super) fn run(command: &Completion) -> anyhow::Result<ExitCode> {
    // It panics when it cannot write, which a buffer always lets it.
    let mut script = Vec::new();
    clap_complete::generate(command.shell, &mut super::Gatectl::command(), "gatectl", &mut script);
    say(String::from_utf8(script)?.trim_end())?;
    Ok(ExitCode::SUCCESS)
}
