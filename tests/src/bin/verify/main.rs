//! Shows the programs to the verifier of the running kernel, and holds them to their budgets.
//!
//! `cargo xtask verify` runs it here and in virtual machines with other kernels.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command line tool")]

mod budget;
mod guest;
mod measure;

use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;

/// Loads every program into the kernel and compares its cost with its budget.
#[derive(Parser)]
struct Args {
    /// Also attaches the programs in namespaces of its own and carries traffic through them
    #[arg(long)]
    in_guest: bool,
    /// Also prints what a packet costs
    #[arg(long)]
    measure: bool,
}

fn main() -> ExitCode {
    match run(&Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> Result<()> {
    budget::check()?;
    if args.in_guest {
        guest::carry()?;
    }
    if args.measure { measure::print() } else { Ok(()) }
}
