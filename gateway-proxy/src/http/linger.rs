//! The end of an HTTP/1.1 connection whose client may still be sending what nobody reads. Closing at once would answer that
//! with a reset, by which the client may lose the answer it has not read yet (RFC 9112 §9.6).

use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWriteExt, ReadBuf};

use super::client::Client;
use super::io::Stream;

/// Without a byte. As nginx has it (`lingering_timeout`).
const QUIET: Duration = Duration::from_secs(5);
/// Whatever comes. As nginx has it (`lingering_time`).
const LONGEST: Duration = Duration::from_secs(30);
/// Discarded before others get their turn.
const AT_ONCE: usize = 16;

/// Ends our side. False: the client is gone, or takes nothing any more.
pub(super) async fn shut_down(client: &Client, stream: &mut Stream) -> bool {
    let quiet = client.worker.deadlines.deadline();
    quiet.arm(QUIET);
    tokio::select! {
        ended = stream.shutdown() => ended.is_ok(),
        () = quiet.over() => false,
    }
}

/// Ends our side and reads, as long as the client sends, nothing of it being kept.
pub(super) async fn close(client: &Client, mut stream: Stream) {
    if !shut_down(client, &mut stream).await {
        return;
    }
    let deadlines = &client.worker.deadlines;
    let (quiet, longest, draining) = (deadlines.deadline(), deadlines.deadline(), deadlines.deadline());
    longest.arm(LONGEST);
    quiet.arm(QUIET);
    let mut socket = stream.into_socket();
    let mut discarded = Box::new([0; 16 * 1024]);
    poll_fn(|cx| {
        if client.drain.poll_draining(cx).is_ready() && !draining.is_armed() {
            draining.arm(super::serve::LINGER);
        }
        if [&quiet, &longest, &draining].iter().any(|deadline| deadline.poll_over(cx).is_ready()) {
            return Poll::Ready(());
        }
        for _ in 0..AT_ONCE {
            let mut read = ReadBuf::new(&mut discarded[..]);
            match Pin::new(&mut socket).poll_read(cx, &mut read) {
                Poll::Ready(Ok(())) if !read.filled().is_empty() => quiet.arm(QUIET),
                Poll::Ready(_) => return Poll::Ready(()),
                Poll::Pending => return Poll::Pending,
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}
