//! One request to a backend and its answer's header: an endpoint, a connection, and another one when nothing was lost by
//! the first attempt.

use std::cell::Cell;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use gateway_common::ir::{BackendProtocol, TimeoutSettings};
use http::Request;
use http::response::Parts;

use super::Upstream;
use super::answer::{Answer, AnswerBody, Source};
use super::body::RequestBody;
use super::connect::{self, TRIES};
use super::endpoint::Lease;
use super::handshake;
use super::http1::{Failed, Http1};
use super::http2;
use super::pool::{Stream, Waited};
use crate::error::{AnswerError, ConnectError, ExchangeError};
use crate::snapshot::Backend;
use crate::worker::Worker;

/// How a request may be sent.
pub struct Terms<'a> {
    pub timeouts: &'a TimeoutSettings,
    /// For the PROXY header.
    pub client: SocketAddr,
    pub vip: SocketAddr,
    pub sni: Option<&'a str>,
    /// The endpoint that was asked last, also when the exchange is given up.
    pub asked: &'a Cell<Option<SocketAddr>>,
}

enum Connection {
    Http1(Box<Http1>),
    Http2(Stream),
}

/// Connections that were reused and turned out closed, before a new one is insisted on.
const STALE: usize = 2;

/// Sends `request` to an endpoint of `upstream`, until one answers or the request is spent, which it is afterwards. By
/// reference, because what an async function is given takes room of its own in it.
pub async fn exchange(
    worker: &Worker,
    upstream: &Upstream,
    request: &mut Request<RequestBody>,
    terms: &Terms<'_>,
) -> Result<Answer, ExchangeError> {
    let backend = upstream.backend();
    let mut tried = Vec::new();
    let mut stale = 0;
    let mut last = None;
    while tried.len() < TRIES {
        let Some(lease) = upstream.lease(worker.upstreams.now_ms(), &tried) else { break };
        terms.asked.set(Some(lease.address()));
        let held = if stale < STALE { pooled(worker, &lease, &backend) } else { None };
        let reused = held.is_some();
        let connected = match held {
            Some(connection) => Ok(connection),
            None => Box::pin(connect(worker, &lease, &backend, terms)).await,
        };
        let connection = match connected {
            Ok(connection) => connection,
            Err(error) => {
                tried.push(lease.address());
                last = Some(error);
                continue;
            }
        };
        if stale == 0 {
            backend.metrics.of(worker.index).requests.increment();
        }
        let result = match connection {
            Connection::Http1(connection) => http1(connection, request).await,
            Connection::Http2(stream) => {
                // Also if the request is given up.
                stream.keep_until(worker.upstreams.now_ms().saturating_add(terms.timeouts.upstream_idle_ms));
                http2::ask(stream, request, reused).await
            }
        };
        match result {
            Ok((parts, source)) => {
                let idle = Duration::from_millis(terms.timeouts.upstream_idle_ms);
                let body = AnswerBody::new(lease, source, is_shared(&backend).then_some(idle));
                return Ok(Answer { parts, body });
            }
            Err(failed) => {
                if !failed.again {
                    return Err(ExchangeError::Sent(failed.error));
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

async fn http1(
    mut connection: Box<Http1>,
    request: &mut Request<RequestBody>,
) -> Result<(Parts, Source), Failed> {
    let once = !request.method().is_idempotent() || !matches!(request.body(), RequestBody::Empty);
    if once && connection.is_reused() && !connection.is_open() {
        return Err(Failed { error: AnswerError::Closed, again: true });
    }
    let parts = connection.ask(request).await?;
    Ok((parts, Source::Http1(connection)))
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
        BackendProtocol::Http1 => pool.take(worker.upstreams.now_ms()).map(Connection::Http1),
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
    let Terms { timeouts, client, vip, sni, .. } = *terms;
    let via = connect::Via { backend, timeouts, client, vip, sni };
    match backend.protocol {
        BackendProtocol::Http1 => {
            let connected = connect::endpoint(worker, lease, &via).await.map_err(failed)?;
            Ok(Connection::Http1(Box::new(Http1::new(connected))))
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
