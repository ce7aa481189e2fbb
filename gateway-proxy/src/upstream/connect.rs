//! A stream to a backend: backend by weight, endpoint by load, another endpoint when the connect fails.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use gateway_common::ir::{Backend, BackendRef, TimeoutSettings};
use tokio::net::TcpStream;
use tracing::debug;

use super::{Lease, balance};
use crate::error::ConnectError;
use crate::snapshot::Snapshot;
use crate::worker::Worker;

/// Endpoints tried for one request or stream.
pub const TRIES: usize = 3;

/// What a stream is wanted for.
pub struct Request<'a> {
    pub view: &'a Snapshot,
    pub backends: &'a [BackendRef],
    pub timeouts: &'a TimeoutSettings,
    pub client: SocketAddr,
    pub vip: SocketAddr,
}

/// On whose behalf an endpoint of which backend is connected to.
pub struct Via<'a> {
    pub backend: &'a Backend,
    pub timeouts: &'a TimeoutSettings,
    pub client: SocketAddr,
    pub vip: SocketAddr,
}

/// A connected stream to one of the backends, its PROXY header written, and the endpoint's lease.
pub async fn stream(worker: &Worker, request: &Request<'_>) -> Result<(TcpStream, Lease), ConnectError> {
    let chosen = balance::weighted(request.backends).ok_or(ConnectError::NoBackend)?;
    let id = chosen.backend.as_ref().ok_or(ConnectError::Unresolved)?;
    let backend = request.view.backend(id).ok_or(ConnectError::Unresolved)?;
    let via = Via { backend, timeouts: request.timeouts, client: request.client, vip: request.vip };
    let mut tried = Vec::new();
    let mut last = None;
    while tried.len() < TRIES {
        let lease = match worker.upstreams.lease(request.view, id, &tried) {
            Ok(lease) => lease,
            Err(error) => return Err(last.unwrap_or(error)),
        };
        let address = lease.address();
        match endpoint(worker, &lease, &via).await {
            Ok(stream) => return Ok((stream, lease)),
            Err(source) => last = Some(ConnectError::Failed { backend: id.clone(), address, source }),
        }
        tried.push(address);
    }
    Err(last.unwrap_or_else(|| ConnectError::NoEndpoint(id.clone())))
}

/// Connects to the endpoint of `lease`; success and failure count for its ejection.
pub async fn endpoint(worker: &Worker, lease: &Lease, via: &Via<'_>) -> io::Result<TcpStream> {
    let address = lease.address();
    let timeout = Duration::from_millis(via.timeouts.connect_ms);
    let result = match tokio::time::timeout(timeout, open(address)).await {
        Ok(result) => result,
        Err(_) => Err(io::ErrorKind::TimedOut.into()),
    };
    match &result {
        Ok(_) => lease.endpoint().connected(),
        Err(error) => {
            debug!(%address, %error, "connect failed");
            lease.endpoint().failed(worker.upstreams.now_ms());
        }
    }
    result
}

async fn open(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}
