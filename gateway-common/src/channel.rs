//! The control socket itself: frames and file descriptors over a Unix stream socket, for both ends.
//!
//! Descriptors ride on the first byte of the message that announces them, and are handed out in that order.

use std::collections::VecDeque;
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::Interest;
use tokio::net::UnixStream;

use crate::ir::frame;

/// Descriptors in one message; the kernel's SCM_MAX_FD is 253.
pub const MAX_FDS: usize = 128;
/// Descriptors that wait for their message; a peer that sends more is cut off.
const MAX_PENDING_FDS: usize = 4 * MAX_FDS;

/// One end of the control socket. Sending and receiving are separate, so that a task can do either.
pub struct Sender<'a> {
    stream: &'a UnixStream,
}

pub struct Receiver<'a> {
    stream: &'a UnixStream,
    bytes: Vec<u8>,
    fds: VecDeque<OwnedFd>,
}

pub fn split(stream: &UnixStream) -> (Sender<'_>, Receiver<'_>) {
    (Sender { stream }, Receiver { stream, bytes: Vec::new(), fds: VecDeque::new() })
}

impl Sender<'_> {
    /// Sends one message and the descriptors that it announces. Not cancel-safe: a dropped future leaves half a frame.
    pub async fn send<T: Serialize>(&mut self, message: &T, fds: &[BorrowedFd<'_>]) -> io::Result<()> {
        let mut frame = Vec::new();
        frame::encode(message, &mut frame).map_err(io::Error::other)?;
        self.send_frames(&frame, fds).await
    }

    /// Sends what [`frame::encode`] made; the descriptors belong to its first message. Not cancel-safe.
    pub async fn send_frames(&mut self, frames: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<()> {
        if fds.len() > MAX_FDS {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "too many descriptors for one message"));
        }
        let mut sent = 0;
        let mut fds = fds;
        while sent < frames.len() {
            sent += self.stream.async_io(Interest::WRITABLE, || self.write(&frames[sent..], fds)).await?;
            fds = &[];
        }
        Ok(())
    }

    fn write(&self, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<usize> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !fds.is_empty() && !control.push(SendAncillaryMessage::ScmRights(fds)) {
            return Err(io::Error::other("no room for descriptors"));
        }
        Ok(rustix::net::sendmsg(self.stream, &[IoSlice::new(bytes)], &mut control, SendFlags::NOSIGNAL)?)
    }
}

impl Receiver<'_> {
    /// The next message, or None when the peer closed. Cancel-safe.
    pub async fn receive<T: DeserializeOwned>(&mut self) -> io::Result<Option<T>> {
        loop {
            let decoded = frame::decode(&self.bytes);
            if let Some((message, used)) =
                decoded.map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e))?
            {
                self.bytes.drain(..used);
                return Ok(Some(message));
            }
            if self.read().await? == 0 {
                return if self.bytes.is_empty() {
                    Ok(None)
                } else {
                    Err(io::ErrorKind::UnexpectedEof.into())
                };
            }
        }
    }

    /// The descriptors that the message just received announced.
    pub fn take_fds(&mut self, count: u32) -> io::Result<Vec<OwnedFd>> {
        let count = count as usize;
        if count > self.fds.len() {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "descriptors announced but not sent"));
        }
        Ok(self.fds.drain(..count).collect())
    }

    async fn read(&mut self) -> io::Result<usize> {
        let Self { stream, bytes, fds } = self;
        stream
            .async_io(Interest::READABLE, || {
                let mut chunk = [0; 64 * 1024];
                let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
                let mut control = RecvAncillaryBuffer::new(&mut space);
                let received = rustix::net::recvmsg(
                    *stream,
                    &mut [IoSliceMut::new(&mut chunk)],
                    &mut control,
                    RecvFlags::CMSG_CLOEXEC,
                )?;
                for message in control.drain() {
                    if let RecvAncillaryMessage::ScmRights(new) = message {
                        fds.extend(new);
                    }
                }
                if fds.len() > MAX_PENDING_FDS {
                    return Err(io::Error::new(io::ErrorKind::InvalidData, "too many descriptors in flight"));
                }
                bytes.extend_from_slice(&chunk[..received.bytes]);
                Ok(received.bytes)
            })
            .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;

    use crate::ir::{Family, FromAgent, GatewayId, SocketId};
    use std::os::unix::net::UnixStream as StdStream;

    #[tokio::test]
    async fn descriptors_arrive_with_their_message() {
        let (a, b) = UnixStream::pair().unwrap();
        let (passed, far_end) = StdStream::pair().unwrap();
        let id = SocketId::Tcp { gateway: GatewayId::new("default/web"), family: Family::V4 };
        let listen = FromAgent::Listen { id, fds: 2 };
        let commit = FromAgent::Commit { generation: 1, full: true };

        let (mut sender, _) = split(&a);
        sender.send(&listen, &[passed.as_fd(), passed.as_fd()]).await.unwrap();
        sender.send(&commit, &[]).await.unwrap();
        drop(passed);

        let (_, mut receiver) = split(&b);
        assert_eq!(receiver.receive::<FromAgent>().await.unwrap(), Some(listen));
        let fds = receiver.take_fds(2).unwrap();
        assert_eq!(receiver.receive::<FromAgent>().await.unwrap(), Some(commit));
        assert!(receiver.take_fds(1).is_err());

        let mut received = StdStream::from(fds.into_iter().next().unwrap());
        io::Write::write_all(&mut received, b"x").unwrap();
        let mut byte = [0];
        io::Read::read_exact(&mut &far_end, &mut byte).unwrap();
        assert_eq!(&byte, b"x");
    }

    #[tokio::test]
    async fn a_large_message_crosses_while_it_is_read() {
        let (a, b) = UnixStream::pair().unwrap();
        let text = "x".repeat(3 << 20);
        let sent = text.clone();
        let writer = async move { split(&a).0.send(&sent, &[]).await };
        let reader = async move { split(&b).1.receive::<String>().await };
        let (wrote, read) = tokio::join!(writer, reader);
        wrote.unwrap();
        assert_eq!(read.unwrap(), Some(text));
    }
}
