//! `gatectl map dump`.

use std::process::ExitCode;

use clap::Subcommand;
use gateway_common::abi::names::PINNED_MAPS;
use serde_json::Value;

use super::output::{Format, print};
use super::{Paths, client};
use crate::datapath::view::View;

#[derive(Subcommand, Debug)]
pub enum Command {
    /// The decoded entries of a pinned map.
    Dump {
        /// VIPS, PORTS, SOCKS, PORT_STATS, REASONS or DENY.
        #[arg(value_parser = clap::builder::PossibleValuesParser::new(PINNED_MAPS), ignore_case = true)]
        name: String,
    },
}

pub(super) fn run(command: &Command, paths: &Paths, format: Format) -> anyhow::Result<ExitCode> {
    let Command::Dump { name } = command;
    client::note_dead_agent(paths);
    let entries = View::open(&paths.pin_dir)?.dump(&name.to_ascii_uppercase())?;
    print(format, &entries, &["KEY", "VALUE"], || {
        entries.as_array().into_iter().flatten().map(|entry| vec![text(&entry["key"]), text(&entry["value"])])
    })?;
    Ok(ExitCode::SUCCESS)
}

fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => "-".to_owned(),
        Value::Object(fields) => {
            fields.iter().map(|(name, value)| format!("{name}={}", text(value))).collect::<Vec<_>>().join(" ")
        }
        Value::Array(items) => items.iter().map(text).collect::<Vec<_>>().join(" "),
        Value::Bool(_) | Value::Number(_) => value.to_string(),
    }
}
