//! `gatectl conn list`.

use std::net::SocketAddr;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use gateway_common::admin::Connection;

use super::output::{Format, age, or_dash, print};
use super::{Paths, client};

#[derive(Subcommand, Debug)]
pub enum Command {
    /// Client, VIP, backend, round-trip time, age and bytes of each connection, of draining proxies too.
    List(List),
}

#[derive(Args, Debug)]
pub struct List {
    /// Only connections to this VIP, with or without a port.
    #[arg(long)]
    vip: Option<String>,
    /// Only connections of this client address.
    #[arg(long)]
    client: Option<std::net::IpAddr>,
    /// Only connections of this Gateway (namespace/name).
    #[arg(long)]
    gateway: Option<String>,
}

pub(super) fn run(command: &Command, paths: &Paths, format: Format) -> anyhow::Result<ExitCode> {
    let Command::List(list) = command;
    client::note_dead_agent(paths);
    let mut connections: Vec<Connection> = client::from_all(paths, "/connections")?;
    connections.retain(|connection| list.wants(connection));
    connections.sort_by_key(|connection| std::cmp::Reverse(connection.age_ms));
    let header = ["CLIENT", "VIP", "PROTOCOL", "BACKEND", "RTT", "AGE", "IN", "OUT", "REQUESTS", "GATEWAY"];
    print(format, &connections, &header, || connections.iter().map(row))?;
    Ok(ExitCode::SUCCESS)
}

impl List {
    fn wants(&self, connection: &Connection) -> bool {
        let vip = self.vip.as_deref().is_none_or(|vip| is(connection.vip, vip));
        let client = self.client.is_none_or(|client| connection.client.ip() == client);
        let gateway = self.gateway.as_deref().is_none_or(|gateway| connection.gateway.as_str() == gateway);
        vip && client && gateway
    }
}

fn is(address: SocketAddr, wanted: &str) -> bool {
    wanted.parse() == Ok(address) || wanted.parse() == Ok(address.ip())
}

fn row(connection: &Connection) -> Vec<String> {
    vec![
        connection.client.to_string(),
        connection.vip.to_string(),
        connection.protocol.clone(),
        or_dash(connection.backend),
        or_dash(connection.rtt_us.map(|us| format!("{:.1}ms", f64::from(us) / 1000.0))),
        age(connection.age_ms),
        connection.bytes_in.to_string(),
        connection.bytes_out.to_string(),
        connection.requests.to_string(),
        connection.gateway.to_string(),
    ]
}
