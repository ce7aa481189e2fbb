//! gatectl: what a node's Gatehouse does, and why a connection does not work.

use std::process::ExitCode;

use clap::Parser;
use gateway_agent::cli::{self, Gatectl};

fn main() -> ExitCode {
    cli::run(Gatectl::parse())
}
