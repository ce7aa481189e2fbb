//! `cargo xtask test`: every check and every test, one after the other, and one line at the end.
#![expect(clippy::print_stdout, reason = "a task talks to its user")]

use std::process::{Command, exit};

use anyhow::{Context as _, Result};

use crate::setup::{Homes, Purpose, ensure};
use crate::step::{Log, tail};
use crate::{tidy, workspace};

mod kernel;
mod tally;

use kernel::Kernel;
use tally::Tally;

const TESTS: &str = "unit, property, packet and namespace tests";

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Only the steps whose title contains this
    #[arg(long)]
    only: Option<String>,
}

/// How a step's output is counted.
#[derive(Clone, Copy)]
enum Counted {
    /// The step passes or fails.
    Whole,
    /// By libtest's result lines.
    Libtest,
}

struct Step {
    title: &'static str,
    counted: Counted,
    command: Command,
}

pub(crate) fn run(args: &Args, homes: &Homes) -> Result<()> {
    ensure(&[Purpose::Build, Purpose::Test, Purpose::Kernels, Purpose::Cluster], homes)?;
    let log = Log::create("test")?;
    println!("test: the output of all steps goes to {}", log.path().display());
    let wanted = |title: &str| args.only.as_ref().is_none_or(|only| title.contains(only.as_str()));
    let mut total = Tally::default();
    if wanted("tidy") {
        total.add(tidy_step()?);
    }
    let kernel = Kernel::ask();
    for mut step in steps(&kernel)?.into_iter().filter(|step| wanted(step.title)) {
        let ended = log.run(step.title, &mut step.command)?;
        let tally = match step.counted {
            Counted::Whole => Tally::whole(ended.success),
            Counted::Libtest => Tally::libtest(&ended.output, ended.success, kernel::optional),
        };
        if tally.failed > 0 {
            println!("{}\n", failure(&ended.output));
        }
        total.add(tally);
    }
    if let Some(line) = kernel.not_run().filter(|_| wanted(TESTS)) {
        println!("{line}");
    }
    println!("{total}");
    if total.failed > 0 || total.passed == 0 {
        exit(1);
    }
    Ok(())
}

fn tidy_step() -> Result<Tally> {
    let findings = tidy::findings()?;
    for finding in &findings {
        println!("{finding}");
    }
    println!("  tidy: {} findings", findings.len());
    Ok(Tally::whole(findings.is_empty()))
}

/// In the order of what fails fastest.
fn steps(kernel: &Kernel) -> Result<Vec<Step>> {
    use Counted::{Libtest, Whole};
    let lints = ["--", "-D", "warnings"];
    let own = std::env::current_exe().context("find the running program")?;
    let cargo = |title, counted, arguments: &[&str], more: &[&str]| {
        let mut command = workspace::cargo();
        // A backtrace per failing test buries the failure.
        command.env("CARGO_TERM_COLOR", "never").env("RUST_BACKTRACE", "0").args(arguments).args(more);
        Step { title, counted, command }
    };
    let task = |title, arguments: &[&str]| {
        let mut command = Command::new(&own);
        command.current_dir(workspace::root()).args(arguments);
        Step { title, counted: Whole, command }
    };
    let mut steps = vec![
        cargo("formatting", Whole, &["fmt", "--all", "--check"], &[]),
        cargo("clippy", Whole, &["clippy", "--workspace", "--all-targets"], &lints),
        cargo("build", Whole, &["build", "--workspace", "--all-targets"], &[]),
        task("eBPF programs in the kernel", &["verify"]),
        task("eBPF programs in other kernels", &["verify", "--kernel", "6.1,6.12"]),
        cargo(TESTS, Libtest, &["test", "--workspace", "--no-fail-fast"], &[]),
    ];
    let mut demo = Command::new(workspace::target().join("debug/demo"));
    demo.current_dir(workspace::root()).arg("--check");
    steps.push(Step { title: "demo", counted: Whole, command: demo });
    let marks = kernel.marks();
    if !marks.is_empty() {
        let arguments = ["test", "-p", "gatehouse-tests", "--tests", "--no-fail-fast", "--", "--ignored"];
        steps.push(cargo("namespace tests with what this kernel has", Libtest, &arguments, &marks));
    }
    let clustered = ["--package", "gatehouse-cluster", "--features", "cluster"];
    let linted = [["clippy", "--all-targets"].as_slice(), &clustered].concat();
    // Two cores carry two clusters and no more.
    let tested =
        [["test", "--test", "cluster"].as_slice(), &clustered, &["--", "--test-threads", "2"]].concat();
    steps.extend([
        cargo("clippy of the cluster tests", Whole, &linted, &lints),
        task("cluster programs", &["cluster", "build"]),
        // What an interrupted run left is not what this one is about.
        task("cluster removal before", &["cluster", "--name", "shared", "down"]),
        cargo("cluster tests", Libtest, &tested, &[]),
        task("cluster removal after", &["cluster", "--name", "shared", "down"]),
    ]);
    Ok(steps)
}

/// The part of a step's output that says why it failed.
fn failure(output: &str) -> String {
    let at = ["\nfailures:\n", "\nerror"].iter().filter_map(|mark| output.find(mark)).min();
    let from = &output[at.unwrap_or_default()..];
    let shown: Vec<&str> = from.lines().take(120).collect();
    if at.is_some() { shown.join("\n") } else { tail(output, 60) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reason_of_a_failure_is_shown() {
        assert_eq!(failure("a\nb\nfailures:\nc\n"), "\nfailures:\nc");
        assert_eq!(failure("a\nerror[E1]: x\n"), "\nerror[E1]: x");
        assert_eq!(failure("a\nb"), "a\nb");
    }
}
