//! The agent's own log.

use std::io::IsTerminal as _;

use anyhow::Context;
use tracing_subscriber::EnvFilter;

use crate::config::LogFormat;

/// Starts logging to stderr; aya-log's records come in through the `log` bridge that tracing-subscriber installs.
pub fn start(filter: &str, format: LogFormat) -> anyhow::Result<()> {
    let filter = EnvFilter::try_new(filter).with_context(|| {
        format!("log filter `{filter}`: write it as `info` or `gateway_agent::source=debug,info`")
    })?;
    // A reader of stderr that goes away must not end the agent, which eprintln in an error path would.
    let mut builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .log_internal_errors(false);
    if !std::io::stderr().is_terminal() {
        // On a terminal NO_COLOR decides.
        builder = builder.with_ansi(false);
    }
    match format {
        LogFormat::Text => builder.try_init(),
        LogFormat::Json => builder.json().try_init(),
    }
    .map_err(|error| anyhow::anyhow!("starting the log: {error}"))
}
