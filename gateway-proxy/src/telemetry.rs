//! The proxy's own log.

use std::io::IsTerminal as _;

use anyhow::Context as _;
use tracing_subscriber::EnvFilter;

/// Starts logging to stderr.
pub fn start(filter: &str) -> anyhow::Result<()> {
    let filter = EnvFilter::try_new(filter).context("--log")?;
    // A reader of stderr that goes away must not end the proxy, which eprintln in an error path would.
    let mut builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .log_internal_errors(false);
    if !std::io::stderr().is_terminal() {
        // On a terminal NO_COLOR decides.
        builder = builder.with_ansi(false);
    }
    builder.try_init().map_err(|error| anyhow::anyhow!("starting the log: {error}"))
}
