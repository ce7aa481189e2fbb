//! What is done to the code rather than by it: `cargo xtask --help`.
//!
//! Imports none of the product's crates, so that it builds on a machine that lacks everything else.
#![expect(clippy::print_stderr, reason = "a task talks to its user")]

mod bench;
mod cluster;
mod codegen;
mod conformance;
mod demo;
mod image;
mod setup;
mod step;
mod test;
mod tidy;
mod verify;
mod workspace;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

/// Gatehouse's own tasks.
#[derive(Parser)]
#[command(name = "cargo xtask", disable_help_subcommand = true)]
struct Cli {
    #[command(subcommand)]
    task: Task,
    #[command(flatten)]
    homes: setup::Homes,
}

#[derive(Subcommand)]
enum Task {
    /// Installs what the build lacks, or says what to install
    Setup(setup::Args),
    /// Runs a gateway, its clients and backends in network namespaces of this machine
    Demo(demo::Args),
    /// Runs every check and every test; ends with `N passed, N failed`
    Test(test::Args),
    /// Loads the eBPF programs into the kernel and holds them to their instruction budgets
    Verify(verify::Args),
    /// Builds a real Kubernetes from its Go modules and runs it in network namespaces of this machine
    Cluster(cluster::Args),
    /// Runs the official conformance suite against a running cluster
    Conformance(conformance::Args),
    /// Packs static programs as OCI archives, without a container engine
    Image(image::Args),
    /// Checks the rules of the house that compiler and clippy do not know
    Tidy,
    /// Compares CPU, throughput and latency with HAProxy and nginx
    Bench(bench::Args),
    /// Writes the Gateway API types anew from their CRDs
    Codegen(codegen::Args),
}

fn main() -> ExitCode {
    match run(Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(cli: Cli) -> Result<()> {
    match cli.task {
        Task::Setup(args) => setup::run(&args, &cli.homes),
        Task::Demo(args) => demo::run(&args, &cli.homes),
        Task::Test(args) => test::run(&args, &cli.homes),
        Task::Verify(args) => verify::run(&args),
        Task::Cluster(args) => cluster::run(args),
        Task::Conformance(args) => conformance::run(&args),
        Task::Image(args) => image::run(&args, &cli.homes),
        Task::Tidy => tidy::run(),
        Task::Bench(args) => bench::run(&args, &cli.homes),
        Task::Codegen(args) => codegen::run(&args),
    }
}
