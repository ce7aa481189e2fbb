//! A stream to a backend: backend by weight, endpoint by load, another endpoint when the connect fails.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use gateway_common::ir::{BackendRef, TimeoutSettings};
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

/// A connected stream to one of the backends, its PROXY header written, and the endpoint's lease.
pub async fn stream(worker: &Worker, request: &Request<'_>) -> Result<(TcpStream, Lease), ConnectError> {
    let chosen = balance::weighted(request.backends).ok_or(ConnectError::NoBackend)?;
    let id = chosen.backend.as_ref().ok_or(ConnectError::Unresolved)?;
    let timeout = Duration::from_millis(request.timeouts.connect_ms);
    let mut tried = Vec::new();
    let mut last = None;
    while tried.len() < TRIES {
        let lease = match worker.upstreams.lease(request.view, id, &tried) {
            Ok(lease) => lease,
            Err(error) => return Err(last.unwrap_or(error)),
        };
        let address = lease.address();
        match endpoint(worker, &lease, timeout).await {
            Ok(stream) => return Ok((stream, lease)),
            Err(source) => last = Some(ConnectError::Failed { backend: id.clone(), address, source }),
        }
        tried.push(address);
    }
    Err(last.unwrap_or_else(|| ConnectError::NoEndpoint(id.clone())))
}

/// Connects to the endpoint of `lease`; success and failure count for its ejection.
pub async fn endpoint(worker: &Worker, lease: &Lease, timeout: Duration) -> io::Result<TcpStream> {
    let address = lease.address();
    let result = match tokio::time::timeout(timeout, TcpStream::connect(address)).await {
        Ok(result) => result.and_then(|stream| stream.set_nodelay(true).map(|()| stream)),
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
