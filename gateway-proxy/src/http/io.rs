//! The byte stream of a client connection: plain or TLS, with what was read ahead first, and watched for idleness.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

use super::flood::Frames;
use super::timing::{Phase, Timing};
use crate::gather::Gathered;

/// A stream whose first bytes were read already.
pub struct Prefixed {
    read: BytesMut,
    stream: Gathered,
}

/// A client's stream.
pub enum Stream {
    Plain(Prefixed),
    Tls(Box<TlsStream<Prefixed>>),
}

/// A client's stream that tells [`Timing`] what moves.
pub struct Watched<S> {
    stream: S,
    timing: Rc<Timing>,
    /// Over HTTP/2.
    frames: Option<Box<Frames>>,
}

impl Prefixed {
    pub fn new(read: BytesMut, stream: TcpStream) -> Self {
        Self { read, stream: Gathered::new(stream) }
    }

    /// What was read ahead and is not consumed yet.
    pub fn read_ahead(&self) -> &[u8] {
        &self.read
    }

    /// Reads more ahead; 0 at the end of the stream.
    pub async fn read_more(&mut self) -> io::Result<usize> {
        self.read.reserve(READ_AHEAD);
        self.stream.read_buf(&mut self.read).await
    }

    pub fn into_parts(self) -> (BytesMut, TcpStream) {
        (self.read, self.stream.into_inner())
    }

    pub fn get_ref(&self) -> &TcpStream {
        self.stream.get_ref()
    }
}

impl Stream {
    /// What is below TLS.
    pub fn into_socket(self) -> TcpStream {
        match self {
            Self::Plain(stream) => stream.into_parts().1,
            Self::Tls(stream) => stream.into_inner().0.into_parts().1,
        }
    }
}

/// Room for what is read ahead at once: a small request or ClientHello whole.
const READ_AHEAD: usize = 2048;

impl<S> Watched<S> {
    pub fn new(stream: S, timing: Rc<Timing>) -> Self {
        Self { stream, timing, frames: None }
    }

    /// Also for frames that a client sends too many of.
    pub fn multiplexed(stream: S, timing: Rc<Timing>) -> Self {
        let frames = Some(Box::new(Frames::new(timing.now_ms())));
        Self { stream, timing, frames }
    }

    fn count_sent(&mut self, result: &Poll<io::Result<usize>>) {
        if let (Some(frames), Poll::Ready(Ok(count))) = (&mut self.frames, result) {
            frames.sent(*count);
        }
    }

    pub fn into_inner(self) -> S {
        self.stream
    }
}

impl AsyncRead for Prefixed {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.read.is_empty() {
            return Pin::new(&mut self.stream).poll_read(cx, out);
        }
        let count = out.remaining().min(self.read.len());
        out.put_slice(&self.read[..count]);
        self.read.advance(count);
        if self.read.is_empty() {
            // Gives the buffer back.
            self.read = BytesMut::new();
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Prefixed {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, data)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, data)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(cx, out),
            Self::Tls(stream) => Pin::new(stream).poll_read(cx, out),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(cx, data),
            Self::Tls(stream) => Pin::new(stream).poll_write(cx, data),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write_vectored(cx, data),
            Self::Tls(stream) => Pin::new(stream).poll_write_vectored(cx, data),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Plain(stream) => stream.is_write_vectored(),
            Self::Tls(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Self::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = out.filled().len();
        let result = Pin::new(&mut self.stream).poll_read(cx, out);
        if out.filled().len() > before {
            let this = &mut *self;
            if let Some(frames) = &mut this.frames
                && !frames.received(&out.filled()[before..], this.timing.now_ms())
            {
                this.timing.enter(Phase::Flooded);
            }
            if this.timing.phase() == Phase::Flooded {
                return Poll::Ready(Err(io::ErrorKind::InvalidData.into()));
            }
            this.timing.received();
        }
        result
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write(cx, data);
        self.count_sent(&result);
        self.timing.sent(result.is_pending());
        result
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write_vectored(cx, data);
        self.count_sent(&result);
        self.timing.sent(result.is_pending());
        result
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let result = Pin::new(&mut self.stream).poll_flush(cx);
        if result.is_pending() {
            self.timing.sent(true);
        }
        result
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
