//! The body of a request on its way to a backend: streamed from the client with back-pressure, watched for a client that
//! stops sending, and copied to mirrors.

use std::cell::Cell;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use thiserror::Error;

use super::copy::{Copied, Copier, Patience, pair};
use crate::deadline::Deadline;
use crate::hygiene::trailers;

pub enum RequestBody {
    Empty,
    Client(Box<ClientBody>),
    /// What a [`ClientBody`] copies to one mirror.
    Copy(Copied),
}

pub struct ClientBody {
    incoming: Incoming,
    /// Over HTTP/2.
    is_stream: bool,
    idle: Deadline,
    limits: Limits,
    progress: Rc<Progress>,
    copies: Vec<Copier>,
}

/// How long a client may send nothing.
#[derive(Clone, Copy)]
pub struct Limits {
    /// Before the answer begins.
    pub upload: Duration,
    /// Afterwards, and nothing of the answer moves either.
    pub exchange: Duration,
}

/// How far a request body came, for whoever waits for the answer.
#[derive(Default)]
pub struct Progress {
    pub fault: Cell<Option<Fault>>,
    /// What the client sent of it.
    pub bytes: Cell<u64>,
    /// The client sent all of it, and it was read.
    pub ended: Cell<bool>,
    /// The answer has begun.
    pub answered: Cell<bool>,
    /// Something of the answer came since this was looked at.
    pub moved: Cell<bool>,
}

/// Why a request body did not come to its end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    /// The client sent nothing for too long.
    Idle,
    /// The client went away or sent something invalid.
    Client,
}

#[derive(Debug, Error)]
pub enum BodyError {
    #[error("the client sent nothing of its request body for too long")]
    Idle,
    #[error("the client's request body: {0}")]
    Client(hyper::Error),
    #[error("the client reset its stream before the end of its request body")]
    Reset,
    #[error("a mirror's copy of the request body breaks off")]
    Copy,
}

impl ClientBody {
    /// `is_stream`: over HTTP/2.
    pub fn new(incoming: Incoming, is_stream: bool, idle: Deadline, limits: Limits) -> Self {
        Self { incoming, is_stream, idle, limits, progress: Rc::default(), copies: Vec::new() }
    }

    pub fn progress(&self) -> Rc<Progress> {
        self.progress.clone()
    }

    /// A copy for one mirror. It breaks off when it is read too slowly.
    pub fn copy(&mut self, patience: Patience) -> RequestBody {
        let (copier, copied) = pair(patience);
        self.copies.push(copier);
        RequestBody::Copy(copied)
    }

    fn poll_client(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let Poll::Ready(frame) = Pin::new(&mut self.incoming).poll_frame(cx) else {
            return self.poll_idle(cx);
        };
        self.idle.disarm();
        match frame {
            Some(Ok(mut frame)) => {
                let length = frame.data_ref().map_or(0, Bytes::len);
                let bytes = &self.progress.bytes;
                bytes.set(bytes.get() + u64::try_from(length).unwrap_or_default());
                if let Some(trailers) = frame.trailers_mut() {
                    trailers::clean(trailers);
                }
                self.copies.retain(|copy| copy.copy(&frame));
                self.progress.ended.set(self.incoming.is_end_stream());
                Poll::Ready(Some(Ok(frame)))
            }
            Some(Err(error)) => self.broken(BodyError::Client(error)),
            // hyper takes a reset with NO_ERROR for an end, which it is only after one (RFC 9113 §8.1).
            None if self.is_stream && !self.incoming.is_end_stream() => self.broken(BodyError::Reset),
            None => {
                self.progress.ended.set(true);
                self.copies.drain(..).for_each(Copier::end);
                Poll::Ready(None)
            }
        }
    }

    fn broken(&mut self, error: BodyError) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        self.progress.fault.set(Some(Fault::Client));
        self.copies.clear();
        Poll::Ready(Some(Err(error)))
    }

    fn poll_idle(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if !self.idle.is_armed() {
            let answered = self.progress.answered.get();
            self.idle.arm(if answered { self.limits.exchange } else { self.limits.upload });
        }
        ready!(self.idle.poll_over(cx));
        while self.progress.moved.take() {
            self.idle.arm(self.limits.exchange);
            ready!(self.idle.poll_over(cx));
        }
        self.progress.fault.set(Some(Fault::Idle));
        Poll::Ready(Some(Err(BodyError::Idle)))
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match self.get_mut() {
            Self::Empty => Poll::Ready(None),
            Self::Client(body) => body.poll_client(cx),
            Self::Copy(copied) => copied.poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Client(body) => body.incoming.is_end_stream(),
            Self::Copy(_) => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Client(body) => body.incoming.size_hint(),
            Self::Copy(_) => SizeHint::default(),
        }
    }
}
