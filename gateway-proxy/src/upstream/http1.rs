//! A connection to a backend that answers one request at a time (RFC 9112). The task of the request drives it: between its
//! bytes and the client's there is no other task, no channel and no second wake-up.

mod asking;
pub mod chunked;
pub mod decode;
mod encode;
mod upload;

use std::io;
use std::pin::pin;
use std::task::{Context, Poll, Waker, ready};

use bytes::{Bytes, BytesMut};
use http::Request;
use http::response::Parts;
use hyper::body::Frame;
use rustix::net::RecvFlags;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};

use super::Open;
use super::body::RequestBody;
use super::connect::Connected;
use crate::error::AnswerError;
use crate::gather::Gathered;
use asking::Asking;
use chunked::Piece;
use decode::{Field, Framing};
use upload::Sending;

pub use asking::Failed;

type Writer = Gathered<OwnedWriteHalf>;

pub struct Http1 {
    reader: OwnedReadHalf,
    /// Elsewhere while [`Self::sending`] is there.
    writer: Option<Writer>,
    /// A request body that is still on its way though the answer has begun.
    sending: Option<Sending>,
    /// What was read and is not consumed yet.
    read: BytesMut,
    /// How much to read at once.
    room: usize,
    /// The header of the request.
    out: Vec<u8>,
    fields: Vec<Field>,
    /// What is left of the answer.
    framing: Framing,
    /// Another request may follow.
    keep: bool,
    reused: bool,
    open: Open,
}

/// Whether a connection takes another request.
pub enum Idle {
    Now(Box<Http1>),
    /// When [`Http1::sent`] says so.
    Later(Box<Http1>),
    Never,
}

/// What a connection that was upgraded leaves.
pub struct Upgraded {
    pub stream: TcpStream,
    /// What was read of it already.
    pub read: BytesMut,
    /// Counts the connection while it is kept.
    pub open: Open,
}

/// Read at once at first, and of an answer that comes faster than it goes.
const ROOM: usize = 8 * 1024;
const MOST_ROOM: usize = 128 * 1024;
/// Of buffers that an idle connection keeps.
const IDLE_ROOM: usize = 2 * ROOM;
const IDLE_HEADER: usize = 4 * 1024;

impl Http1 {
    pub fn new(Connected { stream, open }: Connected) -> Self {
        let (reader, writer) = stream.into_split();
        Self {
            reader,
            writer: Some(Gathered::new(writer)),
            sending: None,
            read: BytesMut::new(),
            room: ROOM,
            out: Vec::new(),
            fields: Vec::new(),
            framing: Framing::Length(0),
            keep: true,
            reused: false,
            open,
        }
    }

    /// It answered a request before, so that the backend may have closed it meanwhile.
    pub fn is_reused(&self) -> bool {
        self.reused
    }

    /// Neither closed nor written to by the backend, as far as the runtime knows, which costs no system call unless there is
    /// a doubt. Whoever waited for it is forgotten.
    pub fn is_idle(&self) -> bool {
        let ready = self.reader.as_ref().poll_read_ready(&mut Context::from_waker(Waker::noop()));
        // A read that filled its buffer leaves open whether there is more.
        self.read.is_empty() && (ready.is_pending() || self.is_open())
    }

    /// As [`Self::is_idle`], as far as the kernel knows: for a request that cannot be sent twice.
    pub fn is_open(&self) -> bool {
        let mut byte = [0];
        let flags = RecvFlags::PEEK | RecvFlags::DONTWAIT;
        matches!(
            rustix::net::recv(self.reader.as_ref(), &mut byte[..], flags),
            Err(rustix::io::Errno::WOULDBLOCK)
        )
    }

    /// Sends a request and reads the header of its answer. The header map of the request becomes the answer's once the
    /// request is of no more use; its body is taken.
    pub async fn ask(&mut self, request: &mut Request<RequestBody>) -> Result<Parts, Failed> {
        Asking::new(self, request).await
    }

    pub fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, AnswerError>>> {
        loop {
            match &mut self.framing {
                Framing::Length(0) => return Poll::Ready(None),
                Framing::Length(left) if !self.read.is_empty() => {
                    let length = usize::try_from(*left).unwrap_or(usize::MAX).min(self.read.len());
                    *left -= length as u64;
                    return Poll::Ready(Some(Ok(Frame::data(self.read.split_to(length).freeze()))));
                }
                Framing::Close if !self.read.is_empty() => {
                    return Poll::Ready(Some(Ok(Frame::data(self.read.split().freeze()))));
                }
                Framing::Length(_) | Framing::Close => {}
                Framing::Chunked(chunked) => match chunked.next(&mut self.read) {
                    Ok(Some(Piece::Data(data))) => return Poll::Ready(Some(Ok(Frame::data(data)))),
                    Ok(Some(Piece::End(trailers))) => {
                        self.framing = Framing::Length(0);
                        return Poll::Ready(trailers.map(|trailers| Ok(Frame::trailers(trailers))));
                    }
                    Ok(None) => {}
                    Err(invalid) => return Poll::Ready(Some(Err(invalid.into()))),
                },
            }
            match ready!(self.poll_fill(cx)) {
                Ok(0) if matches!(self.framing, Framing::Close) => self.framing = Framing::Length(0),
                Ok(0) => return Poll::Ready(Some(Err(AnswerError::Closed))),
                Ok(_) => {}
                Err(error) => return Poll::Ready(Some(Err(error.into()))),
            }
        }
    }

    /// Nothing is left of the answer.
    pub fn is_ended(&self) -> bool {
        matches!(self.framing, Framing::Length(0))
    }

    /// Bytes that are left of the answer, when it said so.
    pub fn left(&self) -> Option<u64> {
        match self.framing {
            Framing::Length(left) => Some(left),
            Framing::Chunked(_) | Framing::Close => None,
        }
    }

    /// The connection for another request.
    pub fn into_idle(mut self: Box<Self>) -> Idle {
        if !self.keep || !self.is_ended() {
            return Idle::Never;
        }
        self.reused = true;
        if self.read.capacity() > IDLE_ROOM {
            self.read = BytesMut::new();
            self.room = ROOM;
        }
        self.out.shrink_to(IDLE_HEADER);
        if self.sending.is_some() {
            return Idle::Later(self);
        }
        if self.is_idle() { Idle::Now(self) } else { Idle::Never }
    }

    /// Waits until the request's body is through; false: it never came through.
    pub async fn sent(&mut self) -> bool {
        if let Some(sending) = self.sending.as_mut() {
            self.writer = sending.ended().await;
            self.sending = None;
        }
        self.writer.is_some() && self.is_idle()
    }

    /// The stream of a connection that was answered 101.
    pub fn into_stream(self) -> Option<Upgraded> {
        let Self { reader, writer, read, open, .. } = self;
        let stream = reader.reunite(writer?.into_inner()).ok()?;
        Some(Upgraded { stream, read, open })
    }

    /// Reads more of the answer; 0 at the end of the stream.
    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if self.read.capacity() - self.read.len() < self.room / 2 {
            self.read.reserve(self.room);
        }
        let spare = self.read.capacity() - self.read.len();
        let count = ready!(pin!(self.reader.read_buf(&mut self.read)).poll(cx))?;
        if count == spare {
            self.room = (self.room * 2).min(MOST_ROOM);
        } else if count < self.room / 4 {
            self.room = (self.room / 2).max(ROOM);
        }
        Poll::Ready(Ok(count))
    }
}
