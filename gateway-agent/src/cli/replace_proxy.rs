//! `gatectl replace-proxy`.

use std::process::ExitCode;

use hyper::Method;

use super::{Paths, client};

pub(super) fn run(paths: &Paths) -> anyhow::Result<ExitCode> {
    client::raw(&paths.agent_socket(), &Method::POST, "/replace-proxy", Vec::new())?;
    println!(
        "a new proxy is being started; the old one drains once it serves (gatectl conn list shows both)"
    );
    Ok(ExitCode::SUCCESS)
}
