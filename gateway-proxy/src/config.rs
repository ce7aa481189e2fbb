//! Flags of the proxy, parsed once.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;

use crate::access_log::{Query, Target};

const EXAMPLES: &str = "Examples:
  gateway-proxy
      serve with one worker per core, as the agent on /run/gatehouse/control.sock says
  gateway-proxy --control /tmp/control.sock --admin-dir /tmp/proxy --workers 1 --log debug
      one worker, own sockets, detailed log";

#[derive(Clone, Debug, Parser)]
#[command(name = "gateway-proxy", version, about = "Serves the traffic of one node's Gateways", after_help = EXAMPLES)]
pub struct Config {
    /// Control socket of the agent.
    #[arg(long, value_name = "SOCKET", default_value = "/run/gatehouse/control.sock")]
    pub control: PathBuf,

    /// Directory in which the proxy opens its admin socket, PID.sock.
    #[arg(long, value_name = "DIR", default_value = "/run/gatehouse/proxy")]
    pub admin_dir: PathBuf,

    /// Worker threads; by default the cores that it may use.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    pub workers: Option<u16>,

    /// Where the access log goes: a file, or `-` for standard output.
    #[arg(long, value_name = "FILE", default_value = "-")]
    pub access_log: Target,

    /// Whether the access log has the queries of requests.
    #[arg(long, value_name = "WHAT", default_value = "omit")]
    pub access_log_query: Query,

    /// Also answers /metrics and /ready on this TCP address.
    #[arg(long, value_name = "ADDR:PORT")]
    pub metrics_listen: Option<SocketAddr>,

    /// What is logged, as `info` or `gateway_proxy::upstream=debug,info`.
    #[arg(long, value_name = "FILTER", env = "GATEHOUSE_LOG", default_value = "info")]
    pub log: String,

    /// Time that connections get to finish after SIGTERM, in seconds.
    #[arg(long, value_name = "SECONDS", default_value = "60", value_parser = seconds)]
    pub drain_deadline: Duration,
}

impl Config {
    pub fn worker_count(&self) -> usize {
        let available = || std::thread::available_parallelism().map_or(1, usize::from);
        self.workers.map_or_else(available, usize::from)
    }
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| format!("`{text}` is not a number of seconds"))?;
    Duration::try_from_secs_f64(seconds).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn flags_are_consistent() {
        Config::command().debug_assert();
    }

    #[test]
    fn a_deadline_may_have_a_fraction() {
        let config = Config::parse_from(["gateway-proxy", "--drain-deadline", "0.5", "--workers", "3"]);
        assert_eq!(config.drain_deadline, Duration::from_millis(500));
        assert_eq!(config.worker_count(), 3);
        assert!(Config::try_parse_from(["gateway-proxy", "--drain-deadline=-1"]).is_err());
    }
}
