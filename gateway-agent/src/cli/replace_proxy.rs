//! `gatectl replace-proxy`.

use std::process::ExitCode;

use anyhow::Context as _;
use hyper::Method;

use super::output::say;
use super::{Paths, client};

pub(super) fn run(paths: &Paths) -> anyhow::Result<ExitCode> {
    client::raw(&paths.agent_socket(), &Method::POST, "/replace-proxy", Vec::new())
        .context("the agent starts proxies, and it does not answer: start gateway-agent")?;
    say("a new proxy is being started; the old one drains once it serves (gatectl conn list shows both)")?;
    Ok(ExitCode::SUCCESS)
}
