//! `gatectl explain VIP:PORT [--from IP]`: walks the chain from client to backend and stops at the first broken link.

mod chain;
mod gather;
mod mtu;
mod queue;

use std::net::{IpAddr, SocketAddr};
use std::process::ExitCode;

use clap::{Args, ValueEnum};
use gateway_common::abi::Proto;

use super::Paths;
use super::output::{Format, note, print};
use chain::{State, Verdict, walk};

/// Why does (or doesn't) a connection to a VIP work?
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Explain {
    /// VIP:PORT, an IPv6 address in brackets.
    target: SocketAddr,
    /// The client's address, to look at the device its packets arrive on.
    #[arg(long)]
    from: Option<IpAddr>,
    /// UDP instead of TCP.
    #[arg(long, value_enum, default_value_t)]
    proto: Transport,
    /// Host of the request, for the routing link. [default: a hostname of the listener's routes, or the VIP]
    #[arg(long)]
    host: Option<String>,
    /// Path of the request.
    #[arg(long, default_value = "/", value_parser = parse_path)]
    path: String,
}

#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug, Default)]
enum Transport {
    #[default]
    Tcp,
    Udp,
}

fn parse_path(text: &str) -> Result<String, &'static str> {
    if text.starts_with('/') { Ok(text.to_owned()) } else { Err("a path begins with /") }
}

/// As clap ends when it does not understand the arguments.
const USAGE: u8 = 2;

const EXAMPLES: &str = "Examples:
  gatectl explain 203.0.113.10:443 --from 198.51.100.7
  gatectl explain '[2001:db8::10]:80' --host shop.example.com --path /cart
  gatectl explain 203.0.113.10:53 --proto udp
Exit code: 0 the whole chain holds (there may be warnings); else that of the first broken link:
  11 address    12 kernel    13 route      14 device     15 port       16 socket   17 proxy
  18 generation 19 listener  20 routing    21 endpoints  22 backend";

pub(super) fn run(explain: &Explain, paths: &Paths, format: Format) -> anyhow::Result<ExitCode> {
    if let Some(from) = explain.from.filter(|from| from.is_ipv4() != explain.target.is_ipv4()) {
        let vip = explain.target.ip();
        note(format_args!(
            "gatectl: --from {from} and {vip} are of different families: no packet of that client reaches this VIP; give the client's address of the VIP's family, or the Gateway's other VIP"
        ));
        return Ok(ExitCode::from(USAGE));
    }
    let facts = gather::facts(explain, paths)?;
    let verdicts = walk(&facts);
    print(format, &verdicts, &["LINK", "", "FINDING"], || verdicts.iter().map(row))?;
    let broken = verdicts.iter().find(|verdict| verdict.state == State::Broken);
    Ok(ExitCode::from(broken.map_or(0, |verdict| verdict.stage.exit_code())))
}

fn row(verdict: &Verdict) -> Vec<String> {
    let mark = match verdict.state {
        State::Ok => "ok",
        State::Warning => "WARNING",
        State::Broken => "BROKEN",
        State::Skipped => "-",
    };
    let remedy = if verdict.remedy.is_empty() { String::new() } else { format!("\n→ {}", verdict.remedy) };
    vec![verdict.stage.name().to_owned(), mark.to_owned(), format!("{}{remedy}", verdict.text)]
}

impl Explain {
    const fn proto(&self) -> Proto {
        match self.proto {
            Transport::Tcp => Proto::Tcp,
            Transport::Udp => Proto::Udp,
        }
    }
}
