//! `gatectl`, one file per command. Noun commands change nothing; verb commands do.

mod backend;
mod client;
mod completion;
mod conn;
mod doctor;
mod drops;
mod explain;
mod get;
mod listener;
mod map;
pub mod output;
mod paths;
mod prog;
mod replace_proxy;
mod route;
mod silence;
mod vip;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

pub use output::Format;
pub use paths::Paths;

/// Inspect and debug Gatehouse on this node.
///
/// Reads the kernel's maps and the admin sockets of agent and proxy; most commands work when the agent is dead, and say
/// so.
#[derive(Parser, Debug)]
#[command(name = "gatectl", version, after_help = EXAMPLES, max_term_width = 110)]
pub struct Gatectl {
    #[command(flatten)]
    pub paths: Paths,
    /// How to print.
    #[arg(short, long, value_enum, default_value_t, global = true)]
    pub output: Format,
    #[command(subcommand)]
    pub command: Command,
}

const EXAMPLES: &str = "Examples:
  gatectl explain 203.0.113.10:443 --from 198.51.100.7   why does this connection (not) work?
  gatectl route test --host shop.example.com --path /cart
  gatectl conn list -o json
  gatectl drops --watch";

#[derive(Subcommand, Debug)]
pub enum Command {
    /// Virtual addresses as the kernel has them.
    #[command(subcommand)]
    Vip(vip::Command),
    /// Listeners as the proxy serves them.
    #[command(subcommand)]
    Listener(listener::Command),
    /// Routes as the proxy compiled them.
    #[command(subcommand)]
    Route(route::Command),
    /// Client connections.
    #[command(subcommand)]
    Conn(conn::Command),
    /// Backends and their endpoints.
    #[command(subcommand)]
    Backend(backend::Command),
    Drops(drops::Drops),
    Explain(explain::Explain),
    Doctor(doctor::Doctor),
    /// The kernel's maps.
    #[command(subcommand)]
    Map(map::Command),
    /// eBPF programs at our hooks.
    #[command(subcommand)]
    Prog(prog::Command),
    Get(get::Get),
    /// Start a new proxy and let the old one drain.
    ReplaceProxy,
    /// Print a shell completion script.
    Completion(completion::Completion),
}

/// 128 + SIGPIPE, as a shell reports a program that wrote into a closed pipe.
const CLOSED: u8 = 141;

/// Runs one command; failures end on stderr and in the exit code.
pub fn run(gatectl: Gatectl) -> ExitCode {
    let Gatectl { paths, output, command } = gatectl;
    let result = match command {
        Command::Vip(command) => vip::run(&command, &paths, output),
        Command::Explain(command) => explain::run(&command, &paths, output),
        Command::Doctor(command) => doctor::run(&command, &paths, output),
        Command::Drops(command) => drops::run(&command, &paths, output),
        Command::Map(command) => map::run(&command, &paths, output),
        Command::Prog(command) => prog::run(&command, &paths, output),
        Command::Listener(command) => listener::run(command, &paths, output),
        Command::Route(command) => route::run(command, &paths, output),
        Command::Conn(command) => conn::run(&command, &paths, output),
        Command::Backend(command) => backend::run(&command, &paths, output),
        Command::Get(command) => get::run(&command, &paths, output),
        Command::ReplaceProxy => replace_proxy::run(&paths, output),
        Command::Completion(command) => completion::run(&command),
    };
    match result {
        Ok(code) => code,
        Err(error) if error.is::<output::Closed>() => ExitCode::from(CLOSED),
        Err(error) => {
            output::note(format_args!("gatectl: {error:#}"));
            ExitCode::FAILURE
        }
    }
}
