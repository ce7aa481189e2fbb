//! `cargo xtask bench`: what a request costs, beside HAProxy and nginx, in the same namespaces and with the same work.
//!
//! All three forward to the same backend over kept connections, set `X-Forwarded-For`, write no access log and have two
//! workers. They take turns, and the figures are medians over the rounds. CPU time is what `/proc/PID/stat` says of the
//! proxy's processes, so what generator and backend use does not count.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a benchmark prints its figures")]

mod contender;
mod cpu;
mod figures;
mod generator;
mod turn;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result};
use clap::Parser;
use gatehouse_tests::netns;

use contender::{Contender, Place};
use figures::Figures;
use generator::Load;

#[derive(Parser)]
struct Args {
    /// How often each contender has its turn on each load
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: u32,
    /// Seconds of one turn, after a warm-up of one second
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=60))]
    seconds: u64,
    /// Only these loads
    #[arg(long, value_enum, value_delimiter = ',')]
    loads: Vec<Load>,
    /// Write the figures here
    #[arg(long)]
    json: Option<PathBuf>,
    /// End with failure if a load costs more than its limit
    #[arg(long)]
    check: bool,
}

fn main() -> ExitCode {
    netns::end_cleanly();
    let args = Args::parse();
    match run(&args) {
        Ok(within) if within || !args.check => ExitCode::SUCCESS,
        Ok(_) => {
            eprintln!("bench: a load costs more than its limit: see the lines with OVER");
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Whether no load costs more than its limit.
fn run(args: &Args) -> Result<bool> {
    let loads = if args.loads.is_empty() { Load::ALL.to_vec() } else { args.loads.clone() };
    let turn = Duration::from_secs(args.seconds);
    let turns = u64::from(args.rounds) * loads.len() as u64 * 3;
    println!("bench: {turns} turns of {} s and a warm-up each", args.seconds);
    let place = Place::new()?;
    let contenders = [Contender::gatehouse(&place)?, Contender::haproxy(&place)?, Contender::nginx(&place)?];
    let mut figures = Figures::default();
    for round in 1..=args.rounds {
        for load in &loads {
            for offset in 0..contenders.len() {
                // Each begins as often as the others.
                let contender = &contenders[(round as usize + offset) % contenders.len()];
                let sample = turn::take(&place, contender, *load, turn)
                    .with_context(|| format!("{} under {load:?}", contender.name()))?;
                println!(
                    "  round {round} of {}: {}: {}: {:.1} µs",
                    args.rounds,
                    load.title(),
                    contender.name(),
                    sample.cpu_us
                );
                figures.add(*load, contender.name(), sample);
            }
        }
    }
    println!("\n{figures}");
    if let Some(file) = &args.json {
        let json = serde_json::to_string_pretty(&figures.json(args.rounds, args.seconds))?;
        std::fs::write(file, json).with_context(|| format!("write {}", file.display()))?;
    }
    Ok(figures.within())
}
