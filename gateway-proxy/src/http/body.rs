//! The body of an answer on its way to the client. It carries the request's end, and gives the backend's connection back
//! when it was read whole.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use tokio::time::Sleep;

use super::ending::Ending;
use super::silence::Silence;
use super::stream::Flow;
use crate::access_log::Reason;
use crate::hygiene::trailers;
use crate::upstream::answer::AnswerBody;

pub struct ResponseBody {
    source: Source,
    ending: Ending,
}

enum Source {
    Empty,
    Backend(FromBackend),
}

struct FromBackend {
    /// None: it failed, or it was given back.
    answer: Option<AnswerBody>,
    limit: Option<Limit>,
    silence: Silence,
    /// The end of a chunked body was read, or there is no body.
    ended: bool,
}

/// What is known of an answer's body before it comes.
pub struct Expected {
    pub limit: Option<Limit>,
    pub silence: Silence,
    /// There is none, whatever the backend sends (RFC 9110 §9.3.2).
    pub bodiless: bool,
}

/// Until when the answer must be whole.
pub struct Limit {
    pub sleep: Pin<Box<Sleep>>,
    pub reason: Reason,
}

impl ResponseBody {
    /// Of an answer that is the proxy's own.
    pub fn empty(ending: Ending) -> Self {
        Self { source: Source::Empty, ending }
    }

    pub fn from_backend(answer: AnswerBody, expected: Expected, ending: Ending) -> Self {
        let Expected { limit, silence, bodiless: ended } = expected;
        ending.client.flow.set(Flow::Outward);
        if let Some(progress) = &ending.received {
            progress.answered.set(true);
            progress.moved.set(true);
        }
        Self { source: Source::Backend(FromBackend { answer: Some(answer), limit, silence, ended }), ending }
    }
}

impl FromBackend {
    fn is_ended(&self) -> bool {
        self.ended || self.answer.as_ref().is_some_and(Body::is_end_stream)
    }

    fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
        ending: &mut Ending,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        let Some(answer) = &mut self.answer else { return Poll::Ready(None) };
        let Poll::Ready(frame) = Pin::new(answer).poll_frame(cx) else {
            return self.poll_overdue(cx, ending);
        };
        self.silence.broken();
        match frame {
            None => {
                self.ended = true;
                Poll::Ready(None)
            }
            Some(Ok(mut frame)) => {
                if let Some(trailers) = frame.trailers_mut() {
                    trailers::clean(trailers);
                    self.ended = true;
                }
                let length = frame.data_ref().map_or(0, Bytes::len);
                ending.bytes_out += u64::try_from(length).unwrap_or_default();
                if let Some(progress) = &ending.received {
                    progress.moved.set(true);
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Some(Err(error)) => {
                ending.reason = Reason::UpstreamReset;
                ending.detail(&error);
                self.answer = None;
                Poll::Ready(Some(Err(io::Error::other(error))))
            }
        }
    }

    fn poll_overdue(
        &mut self,
        cx: &mut Context<'_>,
        ending: &mut Ending,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        let limit = self.limit.as_mut().map_or(Poll::Pending, |limit| limit.poll_over(cx));
        let mut silence =
            || self.silence.poll_over(cx, ending.received.as_deref()).map(|()| Reason::IdleTimeout);
        ending.reason = ready!(if limit.is_ready() { limit } else { silence() });
        self.answer = None;
        Poll::Ready(Some(Err(io::ErrorKind::TimedOut.into())))
    }
}

impl Limit {
    pub fn poll_over(&mut self, cx: &mut Context<'_>) -> Poll<Reason> {
        self.sleep.as_mut().poll(cx).map(|()| self.reason)
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        let this = self.get_mut();
        match &mut this.source {
            Source::Empty => Poll::Ready(None),
            Source::Backend(body) if body.ended => Poll::Ready(None),
            Source::Backend(body) => {
                let frame = body.poll_frame(cx, &mut this.ending);
                this.ending.client.flow.set(if frame.is_pending() { Flow::Inward } else { Flow::Outward });
                frame
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.source {
            Source::Empty => true,
            Source::Backend(body) => body.is_ended(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.source {
            Source::Empty => SizeHint::with_exact(0),
            Source::Backend(body) if body.ended => SizeHint::with_exact(0),
            Source::Backend(body) => body.answer.as_ref().map_or_else(SizeHint::default, Body::size_hint),
        }
    }
}

impl Drop for ResponseBody {
    fn drop(&mut self) {
        let Source::Backend(body) = &mut self.source else { return };
        if !body.is_ended() {
            if self.ending.reason == Reason::Ok {
                self.ending.reason = Reason::ClientAbort;
            }
            return;
        }
        if let Some(answer) = body.answer.take() {
            answer.finish(&self.ending.client.worker);
        }
    }
}
