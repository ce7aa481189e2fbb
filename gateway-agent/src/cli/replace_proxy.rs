//! `gatectl replace-proxy`.

use std::process::ExitCode;

use hyper::Method;
use serde_json::json;

use super::output::{Format, say, structured};
use super::silence::Silence;
use super::{Paths, client};

pub(super) fn run(paths: &Paths, format: Format) -> anyhow::Result<ExitCode> {
    client::raw(&paths.agent_socket(), &Method::POST, "/replace-proxy", Vec::new()).map_err(|error| {
        match Silence::of(&error) {
            // What it said says it all.
            Silence::Failed(_) => error,
            silence @ (Silence::NotRunning | Silence::Denied | Silence::Hung) => {
                let text = format!("the agent starts proxies, and {silence}: {}", silence.remedy());
                error.context(text)
            }
        }
    })?;
    let said =
        "a new proxy is being started; the old one drains once it serves (gatectl conn list shows both)";
    match format {
        Format::Table => say(said)?,
        Format::Json | Format::Yaml => {
            say(structured(format, &json!({ "started": true, "message": said }))?.trim_end())?;
        }
    }
    Ok(ExitCode::SUCCESS)
}
