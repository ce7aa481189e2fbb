//! `gatectl conn list`.

use std::net::{IpAddr, SocketAddr};
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
    #[arg(long, value_name = "ADDR[:PORT]", value_parser = vip)]
    vip: Option<Vip>,
    /// Only connections of this client address.
    #[arg(long)]
    client: Option<IpAddr>,
    /// Only connections of this Gateway (namespace/name).
    #[arg(long)]
    gateway: Option<String>,
}

/// An address, and perhaps a port.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Vip(IpAddr, Option<u16>);

fn vip(text: &str) -> Result<Vip, &'static str> {
    let address = text.parse().map(|ip| Vip(ip, None));
    address
        .or_else(|_| text.parse().map(|at: SocketAddr| Vip(at.ip(), Some(at.port()))))
        .map_err(|_| "expected an address, as 203.0.113.10, 203.0.113.10:443 or [2001:db8::1]:443")
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
        let vip = self.vip.is_none_or(|vip| vip.is(connection.vip));
        let client = self.client.is_none_or(|client| connection.client.ip() == client);
        let gateway = self.gateway.as_deref().is_none_or(|gateway| connection.gateway.as_str() == gateway);
        vip && client && gateway
    }
}

impl Vip {
    fn is(self, address: SocketAddr) -> bool {
        self.0 == address.ip() && self.1.is_none_or(|port| port == address.port())
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_vip_is_an_address_with_or_without_a_port() {
        let at: SocketAddr = "[2001:db8::1]:443".parse().unwrap();
        for (text, is) in
            [("2001:db8::1", true), ("[2001:db8::1]:443", true), ("[2001:db8::1]:80", false), ("::1", false)]
        {
            assert_eq!(vip(text).unwrap().is(at), is, "{text}");
        }
        for text in ["foo", "", "192.0.2.1:", "192.0.2.1:70000"] {
            assert!(vip(text).is_err(), "{text}");
        }
    }
}
