//! `cargo xtask conformance`: the official suite, unmodified, from the client namespace of a running cluster.
#![expect(clippy::print_stdout, reason = "a task talks to its user")]

use std::path::{Path, PathBuf, absolute};

use anyhow::{Context as _, Result, bail, ensure};
use gatehouse_cluster::artifacts::{Artifacts, Component, Suite};
use gatehouse_cluster::cluster::{Name, Running};
use gatehouse_cluster::conformance::{self, Invocation, Room};

use crate::setup::{Purpose, ensure_packages};
use crate::workspace;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Version of the suite
    #[arg(long, default_value_t = Suite::default())]
    suite: Suite,
    /// A profile to be held to and reported, such as GATEWAY-HTTP; may be repeated. Without any it is those whose core the
    /// GatewayClass supports
    #[arg(long)]
    profile: Vec<String>,
    /// Only this test, such as HTTPRouteSimpleSameNamespace; may be repeated
    #[arg(long)]
    run_test: Vec<String>,
    /// Where the suite's report goes; of all tests or of one
    #[arg(long)]
    report: Option<PathBuf>,
    /// The cluster to run against
    #[arg(long, default_value = "default")]
    cluster: Name,
    /// The GatewayClass to test
    #[arg(long, default_value = "gatehouse")]
    gateway_class: String,
    /// Further flags of the suite, after `--`
    #[arg(last = true)]
    more: Vec<String>,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    ensure_packages(&[Purpose::Cluster])?;
    let cluster = Running::find(&args.cluster)?;
    let mut invocation = Invocation {
        suite: args.suite,
        gateway_class: args.gateway_class.clone(),
        profiles: args.profile.clone(),
        tests: args.run_test.clone(),
        report: args.report.as_ref().map(absolute).transpose().context("the report's path")?,
        more: args.more.clone(),
        ..Invocation::default()
    };
    invocation.check()?;
    // The suite would find out at its very end.
    if let Some(folder) = invocation.report.as_deref().and_then(Path::parent) {
        ensure!(folder.is_dir(), "there is no folder {} for the report", folder.display());
    }
    let progress = |line: &str| println!("  {line}");
    let program = Artifacts::ensure(&[Component::Conformance(args.suite)], &progress)?;
    let program = program.conformance_test(args.suite)?;
    invocation.features = conformance::supported_features(&cluster.kubectl(), &args.gateway_class)?;
    let room = Room { netns: cluster.client_netns(), kubeconfig: cluster.kubeconfig() };
    let folder = workspace::target().join("xtask");
    std::fs::create_dir_all(&folder)?;
    let log = folder.join(format!("conformance-{}-{}.log", args.cluster, args.suite));
    println!(
        "conformance: suite {} on cluster {}; its output goes to {}",
        args.suite,
        args.cluster,
        log.display()
    );
    let outcome = conformance::run(&program, &invocation, &room, &log, &progress)?;
    if !outcome.success() {
        bail!("conformance: {outcome}; all of it is in {}", log.display());
    }
    println!("conformance: {outcome}");
    Ok(())
}
