//! gateway-agent: reconciles Gateway API objects into the kernel and the proxy of this node.

use std::io::{self, Write as _};
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use gateway_agent::cli::output::say;
use gateway_agent::config::{Config, EXAMPLES, Flags, Purpose};
use gateway_agent::{app, crds, telemetry};

#[derive(Parser)]
#[command(name = "gateway-agent", version, about, max_term_width = 110)]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Reconcile until SIGTERM; SIGHUP replaces the proxy gracefully.
    #[command(after_help = EXAMPLES)]
    Run(Box<Flags>),
    /// Remove routes, programs, maps and proxies of this node; takes the flags that `run` had.
    Cleanup(Box<Flags>),
    /// Print the CustomResourceDefinitions of this version.
    Crds,
}

fn main() -> ExitCode {
    let result = match Args::parse().command {
        Command::Run(flags) => start(*flags, Purpose::Run).and_then(|config| block_on(app::run(config))),
        Command::Cleanup(flags) => {
            start(*flags, Purpose::Cleanup).and_then(|config| block_on(app::cleanup(&config)))
        }
        Command::Crds => crds::yaml().and_then(|yaml| say(yaml.trim_end())),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            if tracing::enabled!(tracing::Level::ERROR) {
                tracing::error!(error = format!("{error:#}"), "ending");
            } else {
                // There may be nobody to read it.
                let _ = writeln!(io::stderr(), "gateway-agent: {error:#}");
            }
            ExitCode::FAILURE
        }
    }
}

fn start(flags: Flags, purpose: Purpose) -> anyhow::Result<Config> {
    let config = Config::load(flags, purpose)?;
    telemetry::start(&config.log, config.log_format)?;
    tracing::info!(%config, "configured");
    Ok(config)
}

fn block_on(work: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let result = runtime.block_on(work);
    // A thread that waits for a proxy's end must not keep the agent.
    runtime.shutdown_background();
    result
}
