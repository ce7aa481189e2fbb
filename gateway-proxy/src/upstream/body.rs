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
use tokio::sync::mpsc;

use crate::deadline::Deadline;
use crate::hygiene::trailers;

pub enum RequestBody {
    Empty,
    Client(Box<ClientBody>),
    /// What a [`ClientBody`] copies to one mirror.
    Copy(mpsc::Receiver<Frame<Bytes>>),
}

pub struct ClientBody {
    incoming: Incoming,
    idle: Deadline,
    limit: Duration,
    progress: Rc<Progress>,
    copies: Vec<mpsc::Sender<Frame<Bytes>>>,
}

/// How far a request body came, for whoever waits for the answer.
#[derive(Default)]
pub struct Progress {
    pub fault: Cell<Option<Fault>>,
    /// What the client sent of it.
    pub bytes: Cell<u64>,
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
}

/// Frames that may wait for a mirror; one that is slower than the backend by more loses the rest.
const COPY_FRAMES: usize = 16;

impl ClientBody {
    pub fn new(incoming: Incoming, idle: Deadline, limit: Duration) -> Self {
        Self { incoming, idle, limit, progress: Rc::default(), copies: Vec::new() }
    }

    pub fn progress(&self) -> Rc<Progress> {
        self.progress.clone()
    }

    /// A copy for one mirror. It ends early when it is read too slowly.
    pub fn copy(&mut self) -> RequestBody {
        let (sender, receiver) = mpsc::channel(COPY_FRAMES);
        self.copies.push(sender);
        RequestBody::Copy(receiver)
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
                self.copies
                    .retain(|copy| duplicate(&frame).is_some_and(|frame| copy.try_send(frame).is_ok()));
                Poll::Ready(Some(Ok(frame)))
            }
            Some(Err(error)) => {
                self.progress.fault.set(Some(Fault::Client));
                Poll::Ready(Some(Err(BodyError::Client(error))))
            }
            None => {
                self.copies.clear();
                Poll::Ready(None)
            }
        }
    }

    fn poll_idle(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if !self.idle.is_armed() {
            self.idle.arm(self.limit);
        }
        ready!(self.idle.poll_over(cx));
        self.progress.fault.set(Some(Fault::Idle));
        Poll::Ready(Some(Err(BodyError::Idle)))
    }
}

fn duplicate(frame: &Frame<Bytes>) -> Option<Frame<Bytes>> {
    match (frame.data_ref(), frame.trailers_ref()) {
        (Some(data), _) => Some(Frame::data(data.clone())),
        (_, Some(trailers)) => Some(Frame::trailers(trailers.clone())),
        (None, None) => None,
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
            Self::Copy(frames) => frames.poll_recv(cx).map(|frame| frame.map(Ok)),
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
