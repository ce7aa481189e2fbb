//! The bytes of a request on their way to a backend: its header, and its body as the client sends it.

use std::io::{self, IoSlice, Write};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use hyper::body::{Body, Frame};
use tokio::io::AsyncWrite;
use tokio::task::{JoinHandle, spawn_local};

use super::Writer;
use super::encode::{Length, field};
use crate::error::AnswerError;
use crate::upstream::body::RequestBody;

pub(super) struct Upload {
    /// Header, chunk sizes, trailers.
    staged: Vec<u8>,
    /// Of what is staged.
    written: usize,
    /// After what is staged.
    data: Bytes,
    /// After the data.
    after: &'static [u8],
    body: RequestBody,
    length: Length,
    /// The body has no more.
    done: bool,
    /// Nothing was written ever.
    untouched: bool,
}

/// A body that is still on its way though the answer has begun. Dropping it ends it.
pub(super) struct Sending(JoinHandle<Option<Writer>>);

impl Upload {
    pub(super) fn new(header: Vec<u8>, body: RequestBody, length: Length) -> Self {
        let done = matches!(body, RequestBody::Empty);
        Self {
            staged: header,
            written: 0,
            data: Bytes::new(),
            after: &[],
            body,
            length,
            done,
            untouched: true,
        }
    }

    pub(super) fn is_untouched(&self) -> bool {
        self.untouched
    }

    /// The buffer of what was staged, to be used again.
    pub(super) fn into_buffer(self) -> Vec<u8> {
        self.staged
    }

    /// Ready when all is written.
    pub(super) fn poll(
        &mut self,
        writer: &mut Writer,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), AnswerError>> {
        loop {
            if !self.done && self.data.is_empty() && self.after.is_empty() {
                // Before the header is written, so that one write takes both.
                match Pin::new(&mut self.body).poll_frame(cx) {
                    Poll::Ready(Some(frame)) => self.stage(frame?)?,
                    Poll::Ready(None) => self.finish(None)?,
                    Poll::Pending if self.is_written() => return Poll::Pending,
                    Poll::Pending => {}
                }
            }
            if self.is_written() {
                if self.done {
                    return Poll::Ready(Ok(()));
                }
                continue;
            }
            let slices = [
                IoSlice::new(&self.staged[self.written..]),
                IoSlice::new(&self.data),
                IoSlice::new(self.after),
            ];
            let used = if self.data.is_empty() && self.after.is_empty() { 1 } else { slices.len() };
            let count = ready!(Pin::new(&mut *writer).poll_write_vectored(cx, &slices[..used]))?;
            if count == 0 {
                return Poll::Ready(Err(io::Error::from(io::ErrorKind::WriteZero).into()));
            }
            self.untouched = false;
            self.wrote(count);
        }
    }

    fn is_written(&self) -> bool {
        self.written == self.staged.len() && self.data.is_empty() && self.after.is_empty()
    }

    fn wrote(&mut self, count: usize) {
        let staged = count.min(self.staged.len() - self.written);
        self.written += staged;
        let data = (count - staged).min(self.data.len());
        self.data.advance(data);
        self.after = &self.after[count - staged - data..];
        if self.written == self.staged.len() {
            self.staged.clear();
            self.written = 0;
        }
    }

    fn stage(&mut self, frame: Frame<Bytes>) -> Result<(), AnswerError> {
        let frame = match frame.into_data() {
            Ok(data) if data.is_empty() => return Ok(()),
            Ok(data) => {
                match &mut self.length {
                    Length::Known(left) => {
                        *left = left.checked_sub(data.len() as u64).ok_or(AnswerError::Length)?;
                    }
                    Length::Chunked => {
                        // Cannot fail: a vector takes everything.
                        drop(write!(self.staged, "{:x}\r\n", data.len()));
                        self.after = b"\r\n";
                    }
                }
                self.data = data;
                return Ok(());
            }
            Err(frame) => frame,
        };
        match frame.into_trailers() {
            Ok(trailers) => self.finish(Some(trailers)),
            Err(_) => Ok(()),
        }
    }

    fn finish(&mut self, trailers: Option<http::HeaderMap>) -> Result<(), AnswerError> {
        self.done = true;
        match self.length {
            Length::Known(0) => Ok(()),
            Length::Known(_) => Err(AnswerError::Length),
            Length::Chunked => {
                self.staged.extend_from_slice(b"0\r\n");
                for (name, value) in trailers.iter().flatten() {
                    field(&mut self.staged, name.as_str(), value.as_bytes());
                }
                self.staged.extend_from_slice(b"\r\n");
                Ok(())
            }
        }
    }
}

impl Sending {
    pub(super) fn start(mut upload: Upload, mut writer: Writer) -> Self {
        Self(spawn_local(async move {
            let sent = std::future::poll_fn(|cx| upload.poll(&mut writer, cx)).await;
            sent.is_ok().then_some(writer)
        }))
    }

    /// None: the body did not come through.
    pub(super) async fn ended(&mut self) -> Option<Writer> {
        (&mut self.0).await.ok().flatten()
    }
}

impl Drop for Sending {
    fn drop(&mut self) {
        self.0.abort();
    }
}

#[cfg(test)]
mod tests;
