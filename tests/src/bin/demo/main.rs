//! `cargo xtask demo`: Gatehouse on the examples, in network namespaces of this machine, to be looked at and played with.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a demonstration talks to its user")]

mod change;
mod prompt;
mod scene;
mod show;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;
use gatehouse_tests::netns;

use scene::Scene;

/// Lays out a client, a router, a node and its Pods, runs Gatehouse on the node, and shows what it does.
#[derive(Parser)]
struct Args {
    /// End when everything was shown: with 0 if all of it was right
    #[arg(long)]
    check: bool,
    /// The Gateway API objects to run on
    #[arg(long, default_value = "manifests/examples")]
    examples: PathBuf,
}

fn main() -> ExitCode {
    let args = Args::parse();
    netns::end_cleanly();
    match run(&args) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => {
            eprintln!("demo: something was not right: see the lines with FAILED");
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("demo: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Whether all that was shown was right.
fn run(args: &Args) -> Result<bool> {
    println!("Laying out namespaces: client, router, node, Pods …");
    let place = scene::Place::new()?;
    println!("Starting backends and the agent, which starts the proxy …");
    let mut scene = Scene::start(&place, &args.examples)?;
    let mut right = show::all(&scene)?;
    right &= change::under_load(&mut scene)?;
    if !right {
        eprintln!("\nThe log of agent and proxy:\n{}", scene.node.log());
    }
    if !args.check {
        prompt::stay(&scene)?;
    }
    Ok(right)
}
