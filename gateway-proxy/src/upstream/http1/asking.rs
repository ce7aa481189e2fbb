//! One request on its way, until the header of its answer is read.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use http::response::Parts;
use http::{Method, Request};

use super::decode;
use super::upload::{Sending, Upload};
use super::{Http1, encode};
use crate::error::AnswerError;
use crate::upstream::body::RequestBody;

/// A request that got no answer.
pub struct Failed {
    pub error: AnswerError,
    /// The request is as it was, and sending it again does no harm: what a backend closed while it was idle did not process
    /// it, but that cannot be known once it is written (RFC 9110 §9.2.2).
    pub again: bool,
}

pub(super) struct Asking<'a> {
    connection: &'a mut Http1,
    request: &'a mut Request<RequestBody>,
    /// None: the backend took all of it, or refused the rest.
    upload: Option<Upload>,
    /// Why the backend took no more; it may have answered all the same.
    refused: Option<io::Error>,
    /// Nothing was taken out of the request, and its method allows to send it twice.
    repeatable: bool,
    bodiless: bool,
}

impl<'a> Asking<'a> {
    pub(super) fn new(connection: &'a mut Http1, request: &'a mut Request<RequestBody>) -> Self {
        let mut out = std::mem::take(&mut connection.out);
        out.clear();
        let length = encode::head(request, &mut out);
        let bodiless = matches!(request.body(), RequestBody::Empty);
        let repeatable = bodiless && connection.reused && request.method().is_idempotent();
        let body = std::mem::replace(request.body_mut(), RequestBody::Empty);
        let upload = Some(Upload::new(out, body, length));
        Self { connection, request, upload, refused: None, repeatable, bodiless }
    }

    /// Writes what can be written. Err: the client does not give the rest.
    fn send(&mut self, cx: &mut Context<'_>) -> Result<(), AnswerError> {
        let (Some(upload), Some(writer)) = (&mut self.upload, &mut self.connection.writer) else {
            return Ok(());
        };
        let Poll::Ready(sent) = upload.poll(writer, cx) else { return Ok(()) };
        match sent {
            Err(AnswerError::Io(error)) => {
                self.repeatable |= self.bodiless && upload.is_untouched();
                self.refused = Some(error);
            }
            Err(error) => return Err(error),
            Ok(()) => {}
        }
        self.connection.out = self.upload.take().map(Upload::into_buffer).unwrap_or_default();
        Ok(())
    }

    fn poll_answer(&mut self, cx: &mut Context<'_>) -> Poll<Result<Parts, AnswerError>> {
        let connection = &mut *self.connection;
        let is_head = *self.request.method() == Method::HEAD;
        loop {
            let spare = self.request.headers_mut();
            let head = decode::head(&mut connection.read, is_head, spare, &mut connection.fields)?;
            if let Some(head) = head {
                connection.framing = head.framing;
                connection.keep = head.keep && self.refused.is_none();
                if let Some(upload) = self.upload.take() {
                    connection.sending =
                        connection.writer.take().map(|writer| Sending::start(upload, writer));
                }
                return Poll::Ready(Ok(head.parts));
            }
            match ready!(connection.poll_fill(cx)) {
                Ok(0) => {
                    let refused = self.refused.take();
                    return Poll::Ready(Err(refused.map_or(AnswerError::Closed, AnswerError::Io)));
                }
                // The backend answers: it processed the request.
                Ok(_) => self.repeatable = false,
                Err(error) => return Poll::Ready(Err(error.into())),
            }
        }
    }
}

impl Future for Asking<'_> {
    type Output = Result<Parts, Failed>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        let result = match this.send(cx) {
            Ok(()) => ready!(this.poll_answer(cx)),
            Err(error) => Err(error),
        };
        Poll::Ready(result.map_err(|error| Failed { error, again: this.repeatable }))
    }
}
