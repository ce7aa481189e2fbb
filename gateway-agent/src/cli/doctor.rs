//! `gatectl doctor`: sysctls, devices, kernel features and foreign programs that stand in the way.

use std::process::ExitCode;

use clap::Args;
use gateway_common::admin::AgentStatus;
use hyper::Method;

use super::output::{Format, print};
use super::{Paths, client};
use crate::announce::{self, Announcer};
use crate::datapath::facts::{Facts, Finding, Severity, check};
use crate::device::Globs;

/// Look at this node for what breaks a gateway; each finding comes with its remedy.
#[derive(Args, Debug)]
#[command(after_help = "Exit code: 0 nothing worse than a warning, 1 an error.")]
pub struct Doctor {
    /// Globs of devices that the agent was told to use (its --device). [default: what it says]
    #[arg(long, value_delimiter = ',')]
    device: Vec<String>,
    /// Globs of devices that the agent was told to leave alone (its --exclude-device). [default: what it says]
    #[arg(long, value_delimiter = ',')]
    exclude_device: Vec<String>,
}

pub(super) fn run(doctor: &Doctor, paths: &Paths, format: Format) -> anyhow::Result<ExitCode> {
    client::note_dead_agent(paths);
    let named = !(doctor.device.is_empty() && doctor.exclude_device.is_empty());
    let globs = if named {
        Globs { include: doctor.device.clone(), exclude: doctor.exclude_device.clone() }
    } else {
        of_agent(paths)
    };
    let mut findings = findings(paths, &globs)?;
    findings.sort_by_key(|finding| std::cmp::Reverse(rank(finding)));
    print(format, &findings, &["", "SUBJECT", "FINDING"], || findings.iter().map(row))?;
    let worst = findings.iter().map(rank).max().unwrap_or(0);
    Ok(if worst >= 2 { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// What is wrong and may be about packets of a family, for `explain`: text and remedy, the worst first.
pub(super) fn troubles(paths: &Paths, v4: bool) -> Vec<(String, String)> {
    let mut found = findings(paths, &of_agent(paths)).unwrap_or_default();
    let other = if v4 { "net.ipv6" } else { "net.ipv4" };
    found.retain(|f| rank(f) > 0 && !f.subject.starts_with(other));
    found.sort_by_key(|finding| std::cmp::Reverse(rank(finding)));
    found.into_iter().map(|f| (format!("{}: {}", f.subject, f.text), f.remedy)).collect()
}

/// What the agent was told; the default while it is silent.
fn of_agent(paths: &Paths) -> Globs {
    let status = client::ask::<AgentStatus>(&paths.agent_socket(), &Method::GET, "/status", Vec::new());
    status.map_or_else(
        |_| Globs::default(),
        |status| Globs { include: status.devices, exclude: status.exclude_devices },
    )
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
