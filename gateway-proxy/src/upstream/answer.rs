//! A backend's answer: its header, and what its body is read from. Holds the connection and the endpoint's lease until it is
//! read, and gives the connection back.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::response::Parts;
use hyper::body::{Body, Frame, Incoming, SizeHint};

use super::endpoint::Lease;
use super::http1::{Http1, Idle, Upgraded};
use super::pool::Stream;
use crate::error::AnswerError;
use crate::worker::Worker;

pub struct Answer {
    pub parts: Parts,
    pub body: AnswerBody,
}

pub struct AnswerBody {
    pub lease: Lease,
    source: Source,
    /// How long the connection may be idle afterwards. None: no other request gets it.
    idle: Option<Duration>,
}

pub enum Source {
    Http1(Box<Http1>),
    Http2(Incoming, Stream),
}

/// For the rest of a request's body after its answer's end.
const REST: Duration = Duration::from_secs(30);

impl AnswerBody {
    pub fn new(lease: Lease, source: Source, idle: Option<Duration>) -> Self {
        Self { lease, source, idle }
    }

    /// The answer was read to its end: others may use the connection.
    pub fn finish(self, worker: &Worker) {
        let Some(idle) = self.idle else { return };
        let expires = worker.upstreams.now_ms() + u64::try_from(idle.as_millis()).unwrap_or(u64::MAX);
        let connection = match self.source {
            Source::Http1(connection) => connection,
            Source::Http2(_, stream) => return stream.keep_until(expires),
        };
        match connection.into_idle() {
            Idle::Now(connection) => self.lease.endpoint().pool.put(connection, expires),
            Idle::Later(mut connection) => {
                let lease = self.lease;
                tokio::task::spawn_local(async move {
                    if tokio::time::timeout(REST, connection.sent()).await == Ok(true) {
                        lease.endpoint().pool.put(connection, expires);
                    }
                });
            }
            Idle::Never => {}
        }
    }

    /// The stream of a connection that was answered 101.
    pub fn into_stream(self) -> Option<(Upgraded, Lease)> {
        match self.source {
            Source::Http1(connection) => Some((connection.into_stream()?, self.lease)),
            Source::Http2(..) => None,
        }
    }
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = AnswerError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, AnswerError>>> {
        match &mut self.get_mut().source {
            Source::Http1(connection) => connection.poll_frame(cx),
            Source::Http2(incoming, _) => {
                let frame = std::task::ready!(Pin::new(&mut *incoming).poll_frame(cx));
                // hyper takes a reset with NO_ERROR for an end, which it is only after one (RFC 9113 §8.1).
                if frame.is_none() && !incoming.is_end_stream() {
                    return Poll::Ready(Some(Err(AnswerError::Closed)));
                }
                Poll::Ready(frame.map(|frame| frame.map_err(AnswerError::Http2)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.source {
            Source::Http1(connection) => connection.is_ended(),
            Source::Http2(incoming, _) => incoming.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.source {
            Source::Http1(connection) => {
                connection.left().map_or_else(SizeHint::default, SizeHint::with_exact)
            }
            Source::Http2(incoming, _) => incoming.size_hint(),
        }
    }
}
