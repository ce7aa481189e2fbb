//! One request to a backend and its answer's header: an endpoint, a connection, and another one when nothing was lost by
//! the first attempt.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use gateway_common::ir::{BackendProtocol, TimeoutSettings};
use http::{Request, Response};
use hyper::body::Incoming;
use tokio::sync::oneshot;

use super::Upstream;
use super::body::RequestBody;
use super::connect::{self, TRIES};
use super::endpoint::Lease;
use super::handshake;
use super::pool::{Http1, Stream, Upgraded, Waited};
use crate::error::{ConnectError, ExchangeError};
use crate::snapshot::Backend;
use crate::worker::Worker;

/// How a request may be sent.
pub struct Terms<'a> {
    pub timeouts: &'a TimeoutSettings,
    /// For the PROXY header.
    pub client: SocketAddr,
    pub vip: SocketAddr,
}

/// The answer, and what it is read from.
pub struct Answer {
    pub response: Response<Incoming>,
    pub hold: Hold,
}

/// Keeps the connection and the endpoint's lease while the answer is read.
pub struct Hold {
    pub lease: Lease,
    connection: Connection,
    idle: Duration,
}

enum Connection {
    Http1 { connection: Http1, reusable: bool },
    Http2(Stream),
}

/// Connections that were reused and turned out closed, before a new one is insisted on.
const STALE: usize = 2;

impl Hold {
    /// The answer was read to its end: others may use the connection.
    pub fn finish(self, worker: &Worker) {
        let expires = worker.upstreams.now_ms() + u64::try_from(self.idle.as_millis()).unwrap_or(u64::MAX);
        match self.connection {
            Connection::Http2(stream) => stream.end(expires),
            Connection::Http1 { connection, reusable: true } if connection.sender.is_ready() => {
                self.lease.endpoint().pool.put(connection, expires);
            }
            Connection::Http1 { mut connection, reusable: true } if !connection.sender.is_closed() => {
                // The request's body is not through yet, or hyper has still to see the answer's end.
                let lease = self.lease;
                tokio::task::spawn_local(async move {
                    if connection.sender.ready().await.is_ok() {
                        lease.endpoint().pool.put(connection, expires);
                    }
                });
            }
            Connection::Http1 { .. } => {}
        }
    }

    /// The stream of a connection that was answered 101.
    pub fn upgraded(self) -> Option<(oneshot::Receiver<Upgraded>, Lease)> {
        match self.connection {
            Connection::Http1 { connection, .. } => Some((connection.upgraded, self.lease)),
            Connection::Http2(_) => None,
        }
    }
}

/// Sends `request` to an endpoint of `upstream`, until one answers or the request is spent. By reference, because what an
/// async function is given takes room of its own in it.
pub async fn exchange(
    worker: &Worker,
    upstream: &Upstream,
    request: &mut Option<Request<RequestBody>>,
    terms: &Terms<'_>,
) -> Result<Answer, ExchangeError> {
    let backend = upstream.backend();
    let mut tried = Vec::new();
    let mut stale = 0;
    let mut last = None;
    while tried.len() < TRIES {
        let Some(lease) = upstream.lease(worker.upstreams.now_ms(), &tried) else { break };
        let held = if stale < STALE { pooled(worker, &lease, &backend) } else { None };
        let connected = match held {
            Some(connection) => Ok(connection),
            None => Box::pin(connect(worker, &lease, &backend, terms)).await,
        };
        let mut connection = match connected {
            Ok(connection) => connection,
            Err(error) => {
                tried.push(lease.address());
                last = Some(error);
                continue;
            }
        };
        let Some(sent) = request.take() else { break };
        if connection.is_reused() {
            *request = replay(&sent);
        }
        let result = match &mut connection {
            Connection::Http1 { connection, .. } => connection.sender.try_send_request(sent).await,
            Connection::Http2(stream) => stream.sender().try_send_request(sent).await,
        };
        match result {
            Ok(response) => {
                backend.metrics.of(worker.index).requests.increment();
                let idle = Duration::from_millis(terms.timeouts.upstream_idle_ms);
                return Ok(Answer { response, hold: Hold { lease, connection, idle } });
            }
            Err(mut error) => {
                if let Some(unsent) = error.take_message() {
                    *request = Some(unsent);
                }
                if request.is_none() {
                    return Err(ExchangeError::Sent(error.into_error()));
                }
                stale += 1;
                if stale > STALE {
                    let source = io::ErrorKind::ConnectionReset.into();
                    tried.push(lease.address());
                    let backend = backend.id.clone();
                    last = Some(ConnectError::Failed { backend, address: lease.address(), source });
                }
            }
        }
    }
    let none = || ConnectError::NoEndpoint(backend.id.clone());
    Err(ExchangeError::Connect(last.unwrap_or_else(none)))
}

/// A PROXY header speaks for one client: its connection is nobody else's.
fn is_shared(backend: &Backend) -> bool {
    backend.proxy_protocol.is_none()
}

fn pooled(worker: &Worker, lease: &Lease, backend: &Backend) -> Option<Connection> {
    let pool = &lease.endpoint().pool;
    if !is_shared(backend) {
        return None;
    }
    match backend.protocol {
        BackendProtocol::Http1 => {
            let connection = pool.take(worker.upstreams.now_ms())?;
            Some(Connection::Http1 { connection, reusable: true })
        }
        BackendProtocol::H2c => pool.stream().map(Connection::Http2),
    }
}

async fn connect(
    worker: &Worker,
    lease: &Lease,
    backend: &Backend,
    terms: &Terms<'_>,
) -> Result<Connection, ConnectError> {
    let failed =
        |source| ConnectError::Failed { backend: backend.id.clone(), address: lease.address(), source };
    let closed = || failed(io::ErrorKind::ConnectionReset.into());
    let limit = Duration::from_millis(terms.timeouts.connect_ms);
    let via = connect::Via { backend, timeouts: terms.timeouts, client: terms.client, vip: terms.vip };
    match backend.protocol {
        BackendProtocol::Http1 => {
            let connected = connect::endpoint(worker, lease, &via).await.map_err(failed)?;
            let connection = handshake::http1(connected).await.map_err(|_| closed())?;
            Ok(Connection::Http1 { connection, reusable: is_shared(backend) })
        }
        BackendProtocol::H2c if !is_shared(backend) => {
            let connected = connect::endpoint(worker, lease, &via).await.map_err(failed)?;
            let connection = handshake::http2(connected, limit).await.map_err(failed)?;
            Ok(Connection::Http2(Stream::alone(connection)))
        }
        BackendProtocol::H2c => {
            let pool = &lease.endpoint().pool;
            loop {
                let turn = match pool.connecting().turn().await {
                    Waited::Turn(turn) => turn,
                    Waited::Connected => match pool.stream() {
                        Some(stream) => return Ok(Connection::Http2(stream)),
                        None => continue,
                    },
                    Waited::Failed => return Err(closed()),
                };
                let connected = async {
                    let connected = connect::endpoint(worker, lease, &via).await?;
                    handshake::http2(connected, limit).await
                };
                return match connected.await {
                    Ok(sender) => Ok(Connection::Http2(pool.add(sender))),
                    Err(error) => {
                        turn.failed();
                        Err(failed(error))
                    }
                };
            }
        }
    }
}

/// The request again, when sending it twice does no harm: what a backend closed while it was idle did not process it,
/// but that cannot be known once it is written (RFC 9110 §9.2.2).
fn replay(request: &Request<RequestBody>) -> Option<Request<RequestBody>> {
    if !request.method().is_idempotent() || !matches!(request.body(), RequestBody::Empty) {
        return None;
    }
    let mut again = Request::new(RequestBody::Empty);
    *again.method_mut() = request.method().clone();
    *again.uri_mut() = request.uri().clone();
    *again.version_mut() = request.version();
    *again.headers_mut() = request.headers().clone();
    Some(again)
}

impl Connection {
    fn is_reused(&self) -> bool {
        match self {
            Self::Http1 { connection, .. } => connection.reused,
            Self::Http2(_) => true,
        }
    }
}
