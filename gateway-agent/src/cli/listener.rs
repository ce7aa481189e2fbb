//! `gatectl listener list`.

use std::process::ExitCode;

use clap::Subcommand;
use gateway_common::admin::ListenerStatus;
use hyper::Method;

use super::output::{Format, or_dash, print};
use super::{Paths, client};

#[derive(Subcommand, Debug)]
pub enum Command {
    /// Gateway, port, protocol, hostname, routes, connections and certificates of each listener.
    List,
}

pub(super) fn run(command: Command, paths: &Paths, format: Format) -> anyhow::Result<ExitCode> {
    let Command::List = command;
    client::note_dead_agent(paths);
    let listeners: Vec<ListenerStatus> = client::from_current(paths, &Method::GET, "/listeners", &[])?;
    let header =
        ["GATEWAY", "LISTENER", "PORT", "PROTOCOL", "HOSTNAME", "ROUTES", "CONNECTIONS", "CERTIFICATES"];
    print(format, &listeners, &header, || {
        listeners.iter().map(|listener| {
            vec![
                listener.gateway.to_string(),
                listener.name.clone(),
                listener.port.to_string(),
                listener.protocol.clone(),
                or_dash(listener.hostname.as_ref()),
                listener.routes.to_string(),
                listener.connections.to_string(),
                or_dash(Some(listener.certificates.join(",")).filter(|names| !names.is_empty())),
            ]
        })
    })?;
    Ok(ExitCode::SUCCESS)
}
