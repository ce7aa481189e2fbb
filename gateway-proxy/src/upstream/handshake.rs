//! From a stream to an HTTP/2 connection.

use std::cell::Cell;
use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Poll, Waker};
use std::time::Duration;

use gateway_common::ir::BackendProtocol;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::sync::oneshot;
use tokio::task::spawn_local;
use tracing::debug;

use super::connect::Connected;
use super::pool::Http2;
use crate::gather::Gathered;

/// Spawns hyper's futures on the worker's own thread. hyper reads frames in one of them, and tells nobody about settings:
/// who waits for them leaves a waker here.
#[derive(Clone, Default)]
struct LocalExecutor {
    waiting: Rc<Cell<Option<Waker>>>,
}

/// What of an answer may wait for its client.
const HTTP2_STREAM_WINDOW: u32 = 256 * 1024;
/// Room for 256 clients that take nothing: with less, they would hold up the answers of all others on the connection. Half of it
/// is h2's budget for the overhead of small DATA frames that wait, beyond which it ends the connection for everybody.
const HTTP2_CONNECTION_WINDOW: u32 = 256 * HTTP2_STREAM_WINDOW;
const HTTP2_SEND_BUFFER: usize = 256 * 1024;
/// Of an answer, as over HTTP/1.1.
const MOST_HEADER: u32 = 128 * 1024;

impl<F> hyper::rt::Executor<F> for LocalExecutor
where
    F: Future<Output: 'static> + 'static,
{
    fn execute(&self, future: F) {
        let waiting = self.waiting.clone();
        spawn_local(async move {
            let mut future = pin!(future);
            poll_fn(|cx| {
                let done = future.as_mut().poll(cx);
                if let Some(waker) = waiting.take() {
                    waker.wake();
                }
                done
            })
            .await
        });
    }
}

/// Comes back when the backend has said how many streams it allows; until then nobody knows whether it speaks HTTP/2.
pub async fn http2(Connected { stream, open }: Connected, limit: Duration) -> io::Result<Http2> {
    let executor = LocalExecutor::default();
    let waiting = executor.waiting.clone();
    let (sender, mut connection) = http2::Builder::new(executor)
        .timer(TokioTimer::new())
        .initial_stream_window_size(HTTP2_STREAM_WINDOW)
        .initial_connection_window_size(HTTP2_CONNECTION_WINDOW)
        .max_send_buf_size(HTTP2_SEND_BUFFER)
        .max_header_list_size(MOST_HEADER)
        .initial_max_send_streams(0)
        .handshake(TokioIo::new(Gathered::new(stream)))
        .await
        .map_err(io::Error::other)?;
    let room = Rc::new(Cell::new(connection.current_max_send_streams()));
    let told = room.clone();
    let (tell, settings) = oneshot::channel();
    let mut tell = Some(tell);
    spawn_local(async move {
        let ended = poll_fn(|cx| {
            if tell.as_mut().is_some_and(|tell| tell.poll_closed(cx).is_ready()) {
                // It took too long for whoever wanted it.
                return Poll::Ready(Ok(()));
            }
            let ended = Pin::new(&mut connection).poll(cx);
            if ended.is_pending() {
                told.set(connection.current_max_send_streams());
                if told.get() == 0 {
                    waiting.set(Some(cx.waker().clone()));
                } else if let Some(tell) = tell.take() {
                    let _late = tell.send(());
                }
            }
            ended
        });
        if let Err(error) = ended.await {
            debug!(%error, "HTTP/2 connection to a backend ended");
        }
        drop(open);
    });
    match tokio::time::timeout(limit, settings).await {
        Ok(Ok(())) => Ok(Http2::new(sender, room)),
        Ok(Err(_)) => Err(io::ErrorKind::ConnectionReset.into()),
        Err(_) => Err(io::ErrorKind::TimedOut.into()),
    }
}

/// Whether requests may share a connection.
pub fn is_multiplexed(protocol: BackendProtocol) -> bool {
    match protocol {
        BackendProtocol::Http1 => false,
        BackendProtocol::H2c => true,
    }
}
