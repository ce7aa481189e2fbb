//! `gatectl vip list`.

use std::process::ExitCode;

use clap::Subcommand;
use serde::Serialize;

use super::output::{Format, or_dash, print};
use super::{Paths, client, get};
use crate::datapath::view::{View, VipView};

#[derive(Subcommand, Debug)]
pub enum Command {
    /// Address, Gateway, ports, socket slots and counters, out of the kernel's maps.
    List,
}

/// A VIP of the kernel with the Gateway that the objects name.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Row {
    /// `namespace/name`; None: no object claims the address any more, or the agent never ran here.
    holder: Option<String>,
    #[serde(flatten)]
    vip: VipView,
}

pub(super) fn run(command: &Command, paths: &Paths, format: Format) -> anyhow::Result<ExitCode> {
    let Command::List = command;
    client::note_dead_agent(paths);
    let view = View::open(&paths.pin_dir)?;
    let objects = get::objects_quietly(paths);
    let rows: Vec<Row> =
        view.vips()?.into_iter().map(|vip| Row { holder: get::holder(&objects, vip.address), vip }).collect();
    let header =
        ["VIP", "PORT", "PROTOCOL", "GATEWAY", "SLOT", "PACKETS", "BYTES", "TO-LISTENER", "DROPPED", "ELSE"];
    print(format, &rows, &header, || rows.iter().flat_map(table))?;
    Ok(ExitCode::SUCCESS)
}

fn table(row: &Row) -> Vec<Vec<String>> {
    let Row { holder, vip } = row;
    let other = if vip.drops_without_listener { "drop" } else { "reject" };
    let start = |port: String, protocol: &str| {
        vec![vip.address.to_string(), port, protocol.to_owned(), or_dash(holder.as_ref())]
    };
    if vip.ports.is_empty() {
        return vec![start("-".to_owned(), "-")];
    }
    let port = |port: &crate::datapath::view::PortView| {
        let mut cells = start(port.port.to_string(), &port.protocol);
        let numbers =
            [u64::from(port.slot), port.packets, port.bytes, port.listener + port.lookup, port.dropped];
        cells.extend(numbers.map(|number| number.to_string()));
        cells.push(other.to_owned());
        cells
    };
    vip.ports.iter().map(port).collect()
}
