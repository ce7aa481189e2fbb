//! `cargo xtask bench`: builds everything as it is released, and becomes the benchmark.

use anyhow::Result;

use crate::demo::{become_program, build};
use crate::setup::{Homes, Purpose, ensure};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Arguments of the benchmark; `cargo xtask bench -- --help` lists them
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<String>,
}

pub(crate) fn run(args: &Args, homes: &Homes) -> Result<()> {
    ensure(&[Purpose::Build, Purpose::Test, Purpose::Bench], homes)?;
    build("bench")?;
    become_program("bench", &args.arguments)
}
