//! Shows every eBPF program to the verifier of this kernel, and of others in virtual machines.

mod guest;
mod kernel;

use std::process::Command;

use anyhow::{Result, bail};

use crate::step::Log;
use crate::workspace;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Also these kernel series, such as `6.1,6.12`: Debian's newest cloud kernel of each, booted in qemu, with traffic
    #[arg(long, value_delimiter = ',', value_name = "SERIES")]
    kernel: Vec<String>,
    /// Attaches the programs on this kernel too and carries traffic through them
    #[arg(long)]
    carry: bool,
    /// Prints what a packet costs on this machine
    #[arg(long)]
    measure: bool,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let log = Log::create("verify")?;
    let mut build = workspace::cargo();
    build.args(["build", "--quiet", "--package", "gatehouse-tests", "--bin", "verify"]);
    log.must("build verify", &mut build)?;
    let binary = workspace::target().join("debug/verify");
    let mut command = Command::new(&binary);
    if args.carry {
        command.arg("--in-guest");
    }
    if args.measure {
        command.arg("--measure");
    }
    let mut failed = Vec::new();
    let ended = log.run("this kernel", &mut command)?;
    report(&ended.output);
    if !ended.success {
        failed.push("this kernel".to_owned());
    }
    if !args.kernel.is_empty() {
        guest::check_tools()?;
    }
    for series in &args.kernel {
        let kernel = kernel::fetch(&log, series)?;
        let ended = guest::run(&log, &kernel, &binary)?;
        report(&ended.output);
        if !ended.success {
            failed.push(kernel.release);
        }
    }
    if !failed.is_empty() {
        bail!("verify fails on {}; all of it is in {}", failed.join(", "), log.path().display());
    }
    Ok(())
}

#[expect(clippy::print_stdout, reason = "a task talks to its user")]
fn report(output: &str) {
    for line in output.lines().map(str::trim_end).filter(|line| !line.is_empty() && !line.starts_with("==>"))
    {
        println!("    {line}");
    }
}
