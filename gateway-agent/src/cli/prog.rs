//! `gatectl prog list`.

use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Subcommand};

use super::output::{Format, note, or_dash, print};
use super::{Paths, client};
use crate::announce::Announcer;
use crate::datapath::programs::{self, Program};
use crate::datapath::view::View;

#[derive(Subcommand, Debug)]
pub enum Command {
    /// Hooks, order, instruction counts and run times of the programs at our hooks, other people's too.
    List(List),
}

#[derive(Args, Debug)]
pub struct List {
    /// Let the kernel measure run times for this many seconds first (it costs every program some time).
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=300))]
    measure: Option<u64>,
}

pub(super) fn run(command: &Command, paths: &Paths, format: Format) -> anyhow::Result<ExitCode> {
    let Command::List(list) = command;
    client::note_dead_agent(paths);
    let view = View::open(&paths.pin_dir)?;
    if let Some(seconds) = list.measure {
        let _measuring = programs::measure()?;
        note(format_args!("measuring for {seconds} s"));
        std::thread::sleep(Duration::from_secs(seconds));
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let filters = runtime.block_on(async {
        let announcer = Announcer::open()?;
        announcer.filters(&announcer.devices().await?).await
    })?;
    let programs = view.programs(&filters)?;
    let header = ["HOOK", "DEVICE", "ORDER", "PROGRAM", "ID", "OURS", "VERIFIED INSNS", "RUNS", "NS/RUN"];
    print(format, &programs, &header, || programs.iter().map(row))?;
    Ok(ExitCode::SUCCESS)
}

fn row(program: &Program) -> Vec<String> {
    let mean = program.run_time_ns.checked_div(program.run_count);
    vec![
        program.hook.clone(),
        or_dash(program.device.as_ref()),
        or_dash(program.position.map(|(place, of)| format!("{place}/{of}"))),
        program.name.clone(),
        program.id.to_string(),
        if program.ours { "yes" } else { "no" }.to_owned(),
        or_dash(program.verified_instructions),
        program.run_count.to_string(),
        or_dash(mean),
    ]
}
