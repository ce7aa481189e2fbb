//! `gatectl drops`.

use std::process::ExitCode;
use std::time::Duration;

use clap::Args;

use super::output::{Format, print, say};
use super::{Paths, client};
use crate::datapath::view::{DropView, View};

/// Packets for VIPs that were dropped or rejected, by reason, since the maps were made.
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  gatectl drops\n  gatectl drops --watch --interval 5\n  gatectl drops -o json"
)]
pub struct Drops {
    /// Print what was added, again and again, until interrupted.
    #[arg(short, long)]
    watch: bool,
    /// Seconds between two looks.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=3600))]
    interval: u64,
    /// Reasons that never occurred too.
    #[arg(long)]
    all: bool,
}

pub(super) fn run(command: &Drops, paths: &Paths, format: Format) -> anyhow::Result<ExitCode> {
    client::note_dead_agent(paths);
    let view = View::open(&paths.pin_dir)?;
    let mut last = view.drops()?;
    let before = last.iter().filter(|drop| command.all || drop.count > 0);
    if !command.watch {
        show(before, format)?;
        return Ok(ExitCode::SUCCESS);
    }
    look(before, format)?;
    loop {
        std::thread::sleep(Duration::from_secs(command.interval));
        let now = view.drops()?;
        let added = difference(&last, &now);
        if !added.is_empty() {
            look(added.iter(), format)?;
        }
        last = now;
    }
}

/// One of several, so that a program can tell them apart: a document of YAML, a line of JSON.
fn look<'a>(drops: impl Iterator<Item = &'a DropView>, format: Format) -> anyhow::Result<()> {
    match format {
        Format::Table => show(drops, format),
        Format::Json => say(serde_json::to_string(&drops.collect::<Vec<_>>())?),
        Format::Yaml => {
            say("---")?;
            show(drops, format)
        }
    }
}

fn show<'a>(drops: impl Iterator<Item = &'a DropView>, format: Format) -> anyhow::Result<()> {
    let drops: Vec<&DropView> = drops.collect();
    print(format, &drops, &["REASON", "COUNT", "MEANING"], || {
        drops.iter().map(|drop| vec![drop.reason.clone(), drop.count.to_string(), drop.meaning.clone()])
    })
}

fn difference(last: &[DropView], now: &[DropView]) -> Vec<DropView> {
    let added = |now: &DropView| {
        let before = last.iter().find(|drop| drop.reason == now.reason).map_or(0, |drop| drop.count);
        // Counters that start anew (the maps were made again) count from zero.
        let count = now.count.checked_sub(before).unwrap_or(now.count);
        DropView { count, ..now.clone() }
    };
    now.iter().map(added).filter(|drop| drop.count > 0).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_watch_shows_what_was_added() {
        let drop = |reason: &str, count| DropView { reason: reason.into(), count, meaning: String::new() };
        let added = difference(
            &[drop("denied", 5), drop("no_socket", 1), drop("truncated", 9)],
            &[drop("denied", 7), drop("no_socket", 1), drop("truncated", 2)],
        );
        assert_eq!(added, [drop("denied", 2), drop("truncated", 2)]);
    }
}
