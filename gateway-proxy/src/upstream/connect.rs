//! A stream to a backend: backend by weight, endpoint by load, another endpoint when the connect fails.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use gateway_common::ir::{BackendId, BackendRef, TimeoutSettings};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tracing::debug;

use super::{Lease, Open, balance};
use crate::error::{ConnectError, is_own};
use crate::keepalive;
use crate::proxy_protocol::{self, Addresses};
use crate::snapshot::{Backend, Snapshot};
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
    /// The TLS server name that the client asked for.
    pub sni: Option<&'a str>,
}

/// On whose behalf an endpoint of which backend is connected to.
pub struct Via<'a> {
    pub backend: &'a Backend,
    pub timeouts: &'a TimeoutSettings,
    pub client: SocketAddr,
    pub vip: SocketAddr,
    pub sni: Option<&'a str>,
}

/// A stream to an endpoint, its PROXY header written.
pub struct Connected {
    pub stream: TcpStream,
    pub open: Open,
}

/// A stream to one of the backends, the endpoint's lease, and which backend it is.
pub async fn stream(
    worker: &Worker,
    request: &Request<'_>,
) -> Result<(Connected, Lease, BackendId), ConnectError> {
    let chosen = balance::weighted(request.backends).ok_or(ConnectError::NoBackend)?;
    let id = chosen.backend.as_ref().ok_or(ConnectError::Unresolved)?;
    let backend = request.view.backend(id).ok_or(ConnectError::Unresolved)?;
    let Request { timeouts, client, vip, sni, .. } = *request;
    let via = Via { backend, timeouts, client, vip, sni };
    backend.metrics.of(worker.index).requests.increment();
    let mut tried = Vec::new();
    let mut last = None;
    while tried.len() < TRIES {
        let lease = match worker.upstreams.lease(request.view, id, &tried) {
            Ok(lease) => lease,
            Err(error) => return Err(last.unwrap_or(error)),
        };
        let address = lease.address();
        match endpoint(worker, &lease, &via).await {
            Ok(connected) => return Ok((connected, lease, id.clone())),
            Err(source) => last = Some(ConnectError::Failed { backend: id.clone(), address, source }),
        }
        tried.push(address);
    }
    Err(last.unwrap_or_else(|| ConnectError::NoEndpoint(id.clone())))
}

/// Connects to the endpoint of `lease`; success and failure count for its ejection.
pub async fn endpoint(worker: &Worker, lease: &Lease, via: &Via<'_>) -> io::Result<Connected> {
    let address = lease.address();
    let timeout = Duration::from_millis(via.timeouts.connect_ms);
    let result = match tokio::time::timeout(timeout, open(address, via)).await {
        Ok(result) => result,
        Err(_) => Err(io::ErrorKind::TimedOut.into()),
    };
    let counters = via.backend.metrics.of(worker.index);
    match &result {
        Ok(_) => {
            counters.connects.increment();
            lease.endpoint().connected();
        }
        Err(error) => {
            counters.connect_failures.increment();
            debug!(%address, %error, "connect failed");
            if !is_own(error) && lease.endpoint().failed(worker.upstreams.now_ms()) {
                counters.ejections.increment();
            }
        }
    }
    let open = |stream| {
        let open = Open::new(lease.endpoint().clone(), via.backend.metrics.clone(), worker.index);
        Connected { stream, open }
    };
    result.map(open)
}

async fn open(address: SocketAddr, via: &Via<'_>) -> io::Result<TcpStream> {
    let mut stream = TcpStream::connect(address).await?;
    keepalive::backend(&stream, via.backend.protocol)?;
    if let Some(version) = via.backend.proxy_protocol {
        let mut header = Vec::new();
        let addresses = Addresses { source: via.client, destination: via.vip };
        proxy_protocol::write(version, &addresses, via.sni, &mut header);
        stream.write_all(&header).await?;
    }
    Ok(stream)
}
