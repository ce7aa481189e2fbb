//! `gatectl backend list`.

use std::process::ExitCode;

use clap::Subcommand;
use gateway_common::admin::{BackendStatus, EndpointStatus};
use hyper::Method;

use super::output::{Format, print};
use super::{Paths, client};

#[derive(Subcommand, Debug)]
pub enum Command {
    /// State, requests in flight, connections and failures of each endpoint.
    List,
}

pub(super) fn run(command: &Command, paths: &Paths, format: Format) -> anyhow::Result<ExitCode> {
    let Command::List = command;
    client::note_dead_agent(paths);
    let backends: Vec<BackendStatus> = client::from_current(paths, &Method::GET, "/backends", &[])?;
    let header = ["BACKEND", "ENDPOINT", "STATE", "ACTIVE", "CONNECTIONS", "REQUESTS", "CONNECT FAILURES"];
    print(format, &backends, &header, || backends.iter().flat_map(rows))?;
    Ok(ExitCode::SUCCESS)
}

fn rows(backend: &BackendStatus) -> Vec<Vec<String>> {
    if backend.endpoints.is_empty() {
        return vec![vec![backend.id.to_string(), "-".to_owned(), "no endpoints".to_owned()]];
    }
    backend.endpoints.iter().map(|endpoint| row(backend, endpoint)).collect()
}

fn row(backend: &BackendStatus, endpoint: &EndpointStatus) -> Vec<String> {
    vec![
        backend.id.to_string(),
        endpoint.address.to_string(),
        endpoint.state.clone(),
        endpoint.active.to_string(),
        endpoint.connections.to_string(),
        endpoint.requests.to_string(),
        endpoint.connect_failures.to_string(),
    ]
}
