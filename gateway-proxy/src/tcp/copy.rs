//! Copies between a client and a backend: both directions in one task, each of which ends on its own.
//!
//! Bytes go through one buffer per worker, so that an idle connection holds none. Only what the other side does not take
//! at once is kept by the connection.

use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::io;
use std::os::fd::AsFd;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags};
use tokio::io::Interest;
use tokio::net::TcpStream;

use crate::metrics::counter::Counter;

/// The most that one read takes; the worker's buffer.
const LARGEST: usize = 256 * 1024;
/// The first read of a direction, and the next after the other side was slow: what it does not take must be kept.
const SMALLEST: usize = 16 * 1024;
/// Bytes moved before other tasks of the worker get their turn.
const TURN: usize = 1024 * 1024;

thread_local! {
    static BUFFER: RefCell<Box<[u8]>> = RefCell::new(vec![0; LARGEST].into());
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Side {
    Client,
    Backend,
}

/// The two ends, and where their bytes are counted.
pub struct Pair<'a> {
    pub client: &'a TcpStream,
    pub backend: &'a TcpStream,
    pub received: &'a Counter,
    pub sent: &'a Counter,
}

/// A copy under way; dropping it stops it.
pub struct Copy<'a> {
    pair: Pair<'a>,
    /// Client to backend.
    inward: Direction,
    outward: Direction,
    /// Ready when the side that has sent everything is gone nonetheless.
    broken: Option<Pin<Box<dyn Future<Output = ()> + 'a>>>,
    /// The side that takes no more because it was reset.
    gone: Option<Side>,
}

#[derive(Debug)]
struct Direction {
    /// Read, but not taken by the other side yet: `held[taken..]`.
    held: Vec<u8>,
    taken: usize,
    chunk: usize,
    state: State,
    total: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    Open,
    /// The sender is done; what is held must still go out.
    Flushing,
    Done,
}

enum Fault {
    From,
    To,
}

impl<'a> Copy<'a> {
    /// `read` was read from the client before.
    pub fn new(pair: Pair<'a>, read: &[u8]) -> Self {
        let mut inward = Direction::default();
        inward.held.extend_from_slice(read);
        Self { pair, inward, outward: Direction::default(), broken: None, gone: None }
    }

    /// Bytes that went to the backend and to the client.
    pub fn totals(&self) -> (u64, u64) {
        (self.inward.total, self.outward.total)
    }

    /// Runs until both directions are done (None) or one side is gone without notice. `moved` is called whenever bytes
    /// moved.
    pub async fn run(&mut self, mut moved: impl FnMut()) -> Option<Side> {
        poll_fn(|cx| BUFFER.with_borrow_mut(|buffer| self.poll(cx, buffer, &mut moved))).await
    }

    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
        moved: &mut impl FnMut(),
    ) -> Poll<Option<Side>> {
        let before = (self.inward.total, self.outward.total);
        let Pair { client, backend, received, sent } = self.pair;
        let inward = self.inward.poll(cx, client, backend, buffer);
        let outward = self.outward.poll(cx, backend, client, buffer);
        received.add(self.inward.total - before.0);
        sent.add(self.outward.total - before.1);
        if before != (self.inward.total, self.outward.total) {
            moved();
        }
        // What a reset side sent before is still to be delivered: only the direction towards it ends at once.
        let (inward, outward) = match (inward, outward) {
            (Poll::Ready(Err(Fault::From)), _) => return Poll::Ready(Some(Side::Client)),
            (_, Poll::Ready(Err(Fault::From))) => return Poll::Ready(Some(Side::Backend)),
            (Poll::Ready(Err(Fault::To)), outward) => {
                self.gone = Some(Side::Backend);
                self.inward.stop();
                (Poll::Ready(()), outward.map(drop))
            }
            (inward, Poll::Ready(Err(Fault::To))) => {
                self.gone = Some(Side::Client);
                self.outward.stop();
                (inward.map(drop), Poll::Ready(()))
            }
            (inward, outward) => (inward.map(drop), outward.map(drop)),
        };
        match (inward, outward) {
            (Poll::Ready(()), Poll::Ready(())) => Poll::Ready(self.gone),
            (Poll::Ready(()), Poll::Pending) => self.poll_broken(cx, Side::Client),
            (Poll::Pending, Poll::Ready(())) => self.poll_broken(cx, Side::Backend),
            (Poll::Pending, Poll::Pending) => Poll::Pending,
        }
    }

    /// After its end of stream a side cannot be read any more, so that its reset shows only as an error event.
    fn poll_broken(&mut self, cx: &mut Context<'_>, side: Side) -> Poll<Option<Side>> {
        if self.gone.is_some() {
            return Poll::Pending;
        }
        let stream = match side {
            Side::Client => self.pair.client,
            Side::Backend => self.pair.backend,
        };
        let broken = self.broken.get_or_insert_with(|| {
            Box::pin(async move {
                // Either way there is an error on the socket.
                let _ = stream.ready(Interest::ERROR).await;
            })
        });
        broken.as_mut().poll(cx).map(|()| Some(side))
    }
}

impl Default for Direction {
    fn default() -> Self {
        Self { held: Vec::new(), taken: 0, chunk: SMALLEST, state: State::Open, total: 0 }
    }
}

impl Direction {
    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        from: &TcpStream,
        to: &TcpStream,
        buffer: &mut [u8],
    ) -> Poll<Result<(), Fault>> {
        let turn = self.total + TURN as u64;
        while self.state != State::Done {
            while !self.held.is_empty() {
                if !self.send_held(to).map_err(|_| Fault::To)? {
                    ready!(to.poll_write_ready(cx)).map_err(|_| Fault::To)?;
                }
            }
            if self.state == State::Flushing {
                // Not connected any more: the other direction finds out and says so.
                let _ = rustix::net::shutdown(to.as_fd(), rustix::net::Shutdown::Write);
                self.state = State::Done;
                break;
            }
            if self.total >= turn {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            ready!(from.poll_read_ready(cx)).map_err(|_| Fault::From)?;
            match receive(from, &mut buffer[..self.chunk]) {
                Ok(0) => self.state = State::Flushing,
                Ok(count) => self.pass(to, &buffer[..count])?,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(_) => return Poll::Ready(Err(Fault::From)),
            }
        }
        Poll::Ready(Ok(()))
    }

    fn stop(&mut self) {
        self.state = State::Done;
        self.held = Vec::new();
    }

    /// Sends what was just read; keeps what is not taken.
    fn pass(&mut self, to: &TcpStream, read: &[u8]) -> Result<(), Fault> {
        let sent = send(to, read).map_err(|_| Fault::To)?;
        self.total += sent as u64;
        if sent < read.len() {
            self.held.extend_from_slice(&read[sent..]);
            self.chunk = SMALLEST;
        } else if read.len() == self.chunk {
            self.chunk = (self.chunk * 2).min(LARGEST);
        }
        Ok(())
    }

    /// False when the other side takes no more now.
    fn send_held(&mut self, to: &TcpStream) -> io::Result<bool> {
        let sent = send(to, &self.held[self.taken..])?;
        self.total += sent as u64;
        self.taken += sent;
        if self.taken == self.held.len() {
            self.held = Vec::new();
            self.taken = 0;
            return Ok(true);
        }
        Ok(false)
    }
}

/// Reads once. A short read has emptied the socket, so its readiness is cleared without asking again.
fn receive(from: &TcpStream, buffer: &mut [u8]) -> io::Result<usize> {
    let mut read = None;
    let result = from.try_io(Interest::READABLE, || {
        let (count, _) = rustix::net::recv(from.as_fd(), &mut *buffer, RecvFlags::empty())?;
        read = Some(count);
        if count == 0 || count == buffer.len() { Ok(()) } else { Err(Errno::WOULDBLOCK.into()) }
    });
    read.map_or_else(|| result.map(|()| 0), Ok)
}

/// Writes once; 0 when the socket is full. A short write has filled it.
fn send(to: &TcpStream, bytes: &[u8]) -> io::Result<usize> {
    let mut sent = 0;
    let result = to.try_io(Interest::WRITABLE, || {
        sent = rustix::net::send(to.as_fd(), bytes, SendFlags::NOSIGNAL)?;
        if sent == bytes.len() { Ok(()) } else { Err(Errno::WOULDBLOCK.into()) }
    });
    match result {
        Err(error) if error.kind() != io::ErrorKind::WouldBlock => Err(error),
        Ok(()) | Err(_) => Ok(sent),
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;
    use crate::connections::TcpInfo;

    async fn connected() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (near, far) = tokio::join!(TcpStream::connect(address), listener.accept());
        (near.unwrap(), far.unwrap().0)
    }

    /// Runs `peers` on the far ends while the near ends are copied; gives the side that was reset and the totals. What
    /// `peers` returns lives until the copy has ended.
    async fn copied<T, F: Future<Output = T>>(
        read: &[u8],
        peers: impl FnOnce(TcpStream, TcpStream) -> F,
    ) -> (Option<Side>, (u64, u64)) {
        let ((client, near_client), (near_backend, backend)) = (connected().await, connected().await);
        let (received, sent) = (Counter::default(), Counter::default());
        let pair = Pair { client: &near_client, backend: &near_backend, received: &received, sent: &sent };
        let mut copy = Copy::new(pair, read);
        let (side, _held) = tokio::join!(
            async {
                let side = copy.run(|| {}).await;
                if side.is_some() {
                    near_client.set_zero_linger().unwrap();
                    near_backend.set_zero_linger().unwrap();
                }
                side
            },
            peers(client, backend)
        );
        assert_eq!((received.get(), sent.get()), copy.totals());
        (side, copy.totals())
    }

    #[tokio::test]
    async fn each_direction_ends_on_its_own() {
        for client_first in [true, false] {
            let (side, totals) = copied(b"early ", |client, backend| async move {
                let (mut first, mut second) =
                    if client_first { (client, backend) } else { (backend, client) };
                first.write_all(b"question").await.unwrap();
                first.shutdown().await.unwrap();
                let mut heard = String::new();
                second.read_to_string(&mut heard).await.unwrap();
                assert_eq!(heard, if client_first { "early question" } else { "question" });
                second.write_all(b"answer after the end").await.unwrap();
                drop(second);
                let mut heard = Vec::new();
                first.read_to_end(&mut heard).await.unwrap();
                assert!(heard.ends_with(b"answer after the end"));
            })
            .await;
            assert_eq!(side, None);
            assert_eq!(totals.0 + totals.1, 6 + 8 + 20);
        }
    }

    #[tokio::test]
    async fn a_reset_is_seen_on_either_side() {
        for (side, of_client) in [(Side::Client, true), (Side::Backend, false)] {
            let (seen, _) = copied(b"", |client, backend| async move {
                let (resetting, other) = if of_client { (client, backend) } else { (backend, client) };
                resetting.set_zero_linger().unwrap();
                other
            })
            .await;
            assert_eq!(seen, Some(side));
        }
    }

    #[tokio::test]
    async fn a_reset_after_the_end_of_stream_is_seen() {
        let (seen, _) = copied(b"", |mut client, mut backend| async move {
            client.shutdown().await.unwrap();
            assert_eq!(backend.read(&mut [0; 1]).await.unwrap(), 0);
            client.set_zero_linger().unwrap();
            drop(client);
            backend
        })
        .await;
        assert_eq!(seen, Some(Side::Client));
    }

    #[tokio::test]
    async fn an_answer_before_a_reset_arrives_whole() {
        let answer = vec![7; 300_000];
        let (seen, totals) = copied(b"", |mut client, mut backend| async move {
            client.write_all(b"a question that is never read").await.unwrap();
            backend.readable().await.unwrap();
            backend.write_all(&answer).await.unwrap();
            while TcpInfo::of(backend.as_fd()).unwrap().undelivered {
                tokio::time::sleep(std::time::Duration::from_millis(1)).await;
            }
            // Closing with unread data resets.
            drop(backend);
            // Now writing to the backend fails, before or after its answer is read.
            client.write_all(b"more").await.unwrap();
            let mut heard = vec![0; 300_000];
            client.read_exact(&mut heard).await.unwrap();
            assert!(heard == answer);
        })
        .await;
        assert_eq!((seen, totals.1), (Some(Side::Backend), 300_000));
    }

    #[tokio::test]
    async fn what_a_slow_reader_does_not_take_is_kept_and_arrives_in_order() {
        let total = 20_000_000;
        let (side, totals) = copied(b"", |mut client, mut backend| async move {
            let sender = async {
                let mut at = 0;
                while at < total {
                    let chunk: Vec<u8> = (at..total.min(at + 100_000)).map(|i| (i % 251) as u8).collect();
                    backend.write_all(&chunk).await.unwrap();
                    at += chunk.len();
                }
                backend.shutdown().await.unwrap();
            };
            let reader = async {
                let (mut at, mut buffer) = (0, vec![0; 7_000]);
                loop {
                    let count = client.read(&mut buffer).await.unwrap();
                    if count == 0 {
                        break;
                    }
                    assert!(buffer[..count].iter().enumerate().all(|(i, b)| *b == ((at + i) % 251) as u8));
                    at += count;
                    tokio::task::yield_now().await;
                }
                assert_eq!(at, total);
                client.shutdown().await.unwrap();
            };
            tokio::join!(sender, reader);
        })
        .await;
        assert_eq!((side, totals), (None, (0, total as u64)));
    }
}
