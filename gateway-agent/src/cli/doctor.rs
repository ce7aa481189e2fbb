//! `gatectl doctor`: sysctls, devices, kernel features and foreign programs that stand in the way.

use std::process::ExitCode;

use clap::Args;

use super::output::{Format, print};
use super::{Paths, client};
use crate::announce::{self, Announcer};
use crate::datapath::facts::{Facts, Finding, Severity, check};
use crate::device::Globs;

/// Look at this node for what breaks a gateway; each finding comes with its remedy.
#[derive(Args, Debug)]
#[command(after_help = "Exit code: 0 nothing worse than a warning, 1 an error.")]
pub struct Doctor {
    /// Globs of devices that the agent was told to use (its --device).
    #[arg(long, value_delimiter = ',')]
    device: Vec<String>,
    /// Globs of devices that the agent was told to leave alone (its --exclude-device).
    #[arg(long, value_delimiter = ',')]
    exclude_device: Vec<String>,
}

pub(super) fn run(doctor: &Doctor, paths: &Paths, format: Format) -> anyhow::Result<ExitCode> {
    client::note_dead_agent(paths);
    let globs = Globs { include: doctor.device.clone(), exclude: doctor.exclude_device.clone() };
    let mut findings = findings(paths, &globs)?;
    findings.sort_by_key(|finding| std::cmp::Reverse(rank(finding)));
    print(format, &findings, &["", "SUBJECT", "FINDING"], || findings.iter().map(row))?;
    let worst = findings.iter().map(rank).max().unwrap_or(0);
    Ok(if worst >= 2 { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// What is wrong, for `explain`: text and remedy.
pub(super) fn errors(paths: &Paths) -> Vec<(String, String)> {
    let found = findings(paths, &Globs::default()).unwrap_or_default();
    found
        .into_iter()
        .filter(|f| rank(f) == 2)
        .map(|f| (format!("{}: {}", f.subject, f.text), f.remedy))
        .collect()
}

fn findings(paths: &Paths, globs: &Globs) -> anyhow::Result<Vec<Finding>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (devices, filters) = runtime.block_on(async {
        let announcer = Announcer::open()?;
        let devices = announcer.devices().await?;
        let filters = announcer.filters(&devices).await?;
        Ok::<_, announce::Error>((devices, filters))
    })?;
    Ok(check(&Facts::gather(&paths.pin_dir, &devices, &filters, globs)))
}

const fn rank(finding: &Finding) -> u8 {
    match finding.severity {
        Severity::Info => 0,
        Severity::Warning => 1,
        Severity::Error => 2,
    }
}

fn row(finding: &Finding) -> Vec<String> {
    let severity = match finding.severity {
        Severity::Info => "ok",
        Severity::Warning => "WARNING",
        Severity::Error => "ERROR",
    };
    let remedy = if finding.remedy.is_empty() { String::new() } else { format!("\n→ {}", finding.remedy) };
    vec![severity.to_owned(), finding.subject.clone(), format!("{}{remedy}", finding.text)]
}
