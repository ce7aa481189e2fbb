//! Shows the programs to the verifier of the running kernel, and holds them to their budgets.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command line tool")]

mod budget;

use std::process::ExitCode;

use clap::Parser;

/// Loads every program into the kernel and compares its cost with its budget.
#[derive(Parser)]
struct Args {}

fn main() -> ExitCode {
    let Args {} = Args::parse();
    match budget::check() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
