//! What waits for one proxy to read it. A proxy that reads slowly is waited for, one that does not is cut off.

use std::convert::Infallible;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use gateway_common::channel::Sender;
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

/// Bytes that may wait: many times the largest configuration of a node.
const ROOM: u32 = 256 << 20;
/// Who takes less than [`CHUNK`] within this time does not read.
const STALL: Duration = Duration::from_secs(10);
const CHUNK: usize = 64 * 1024;

/// The loop's end. Dropped, it ends the connection, whatever waits.
#[derive(Debug)]
pub struct Outbox {
    queue: UnboundedSender<Outgoing>,
    room: Arc<Semaphore>,
    size: u32,
    _open: oneshot::Sender<Infallible>,
}

/// The connection's end.
pub struct Delivery {
    queue: UnboundedReceiver<Outgoing>,
    open: oneshot::Receiver<Infallible>,
    stall: Duration,
}

/// Encoded messages and the descriptors of the first of them.
#[derive(Debug)]
pub struct Outgoing {
    pub frames: Arc<[u8]>,
    pub fds: Vec<Arc<OwnedFd>>,
    _room: OwnedSemaphorePermit,
}

pub fn outbox() -> (Outbox, Delivery) {
    bounded(ROOM, STALL)
}

pub(super) fn bounded(size: u32, stall: Duration) -> (Outbox, Delivery) {
    let (sender, receiver) = mpsc::unbounded_channel();
    let (still_open, open) = oneshot::channel();
    let room = Arc::new(Semaphore::new(size as usize));
    (Outbox { queue: sender, room, size, _open: still_open }, Delivery { queue: receiver, open, stall })
}

impl Outbox {
    /// False when there is no room for it.
    #[must_use]
    pub fn put(&self, frames: &Arc<[u8]>, fds: &[Arc<OwnedFd>]) -> bool {
        // What is larger than all the room goes alone.
        let size = u32::try_from(frames.len()).unwrap_or(u32::MAX).min(self.size);
        let Ok(room) = self.room.clone().try_acquire_many_owned(size) else { return false };
        // A connection that ended says so itself.
        let _ = self.queue.send(Outgoing { frames: frames.clone(), fds: fds.to_vec(), _room: room });
        true
    }
}

impl Delivery {
    /// Sends what waits and what comes, until the proxy or the loop is done with it.
    pub async fn run(self, sender: &mut Sender<'_>) -> anyhow::Result<Infallible> {
        let Self { queue, open, stall } = self;
        tokio::select! {
            sent = send(queue, sender, stall) => sent,
            _ = open => bail!("the agent let it go: too much waits for it, or the agent ends"),
        }
    }

    #[cfg(test)]
    pub fn take(&mut self) -> Option<Outgoing> {
        self.queue.try_recv().ok()
    }
}

async fn send(
    mut queue: UnboundedReceiver<Outgoing>,
    sender: &mut Sender<'_>,
    stall: Duration,
) -> anyhow::Result<Infallible> {
    while let Some(Outgoing { frames, fds, _room }) = queue.recv().await {
        let mut fds: Vec<_> = fds.iter().map(|fd| fd.as_fd()).collect();
        for chunk in frames.chunks(CHUNK) {
            let sent = tokio::time::timeout(stall, sender.send_frames(chunk, &fds)).await;
            sent.context("cut off: it does not read its updates")??;
            fds.clear();
        }
    }
    bail!("the agent let it go")
}

#[cfg(test)]
mod tests {
    use gateway_common::channel;
    use tokio::io::AsyncReadExt;
    use tokio::net::UnixStream;

    use super::*;

    #[tokio::test]
    async fn many_messages_wait_for_a_reader_that_is_slow() {
        let (near, mut far) = UnixStream::pair().unwrap();
        let (outbox, delivery) = outbox();
        let large: Arc<[u8]> = vec![b'f'; 8 << 20].into();
        assert!(outbox.put(&large, &[]));
        for number in 0..2000_u16 {
            assert!(outbox.put(&Arc::from(number.to_be_bytes()), &[]));
        }
        let writer = tokio::spawn(async move { delivery.run(&mut channel::split(&near).0).await });
        let mut all = vec![0; large.len() + 4000];
        far.read_exact(&mut all).await.unwrap();
        let numbers = all.split_off(large.len());
        assert_eq!(all, *large);
        assert!(numbers.chunks(2).map(|two| u16::from_be_bytes([two[0], two[1]])).eq(0..2000));
        assert_eq!(outbox.room.available_permits(), ROOM as usize);
        drop(outbox);
        writer.await.unwrap().unwrap_err();
    }

    #[tokio::test]
    async fn who_does_not_read_is_cut_off() {
        let (near, _far) = UnixStream::pair().unwrap();
        let (outbox, delivery) = bounded(ROOM, Duration::from_millis(50));
        assert!(outbox.put(&vec![0; 8 << 20].into(), &[]));
        let error = delivery.run(&mut channel::split(&near).0).await.unwrap_err();
        assert!(error.to_string().contains("does not read"), "{error}");
    }

    #[tokio::test]
    async fn what_waits_is_bounded() {
        let (near, _far) = UnixStream::pair().unwrap();
        let (outbox, delivery) = bounded(1 << 20, STALL);
        let more_than_all: Arc<[u8]> = vec![0; 2 << 20].into();
        assert!(outbox.put(&more_than_all, &[]));
        assert!(!outbox.put(&Arc::from(*b"x"), &[]));
        drop(outbox);
        let error = delivery.run(&mut channel::split(&near).0).await.unwrap_err();
        assert!(error.to_string().contains("too much"), "{error}");
    }
}
