//! A client's connection: which HTTP it speaks, and hyper's half of it, until it ends, drains or times out.

use std::future::poll_fn;
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use gateway_common::ir::Limits;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tracing::debug;

use super::client::Client;
use super::io::{Prefixed, Stream, Watched};
use super::linger;
use super::service;
use super::stream::Streams;
use super::timing::{Phase, Timing};
use super::unparsed::Unparsed;
use super::upgrade;
use crate::access_log::Reason;
use crate::connections::Protocol;

/// What an HTTP/2 client with prior knowledge begins with (RFC 9113 §3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

const HTTP2_STREAM_WINDOW: u32 = 256 * 1024;
/// What a client may have sent that no backend took yet, on all its streams. Half of it is h2's budget for the overhead of small
/// DATA frames that wait (256 bytes less their length, each), beyond which it ends the connection.
const HTTP2_CONNECTION_WINDOW: u32 = 4 << 20;
const HTTP2_SEND_BUFFER: usize = 64 * 1024;
/// Streams that the client made us reset, before the connection is closed.
const HTTP2_RESETS: usize = 100;
/// So many times the Gateway's limit may HTTP/2 headers have before h2 answers 431 by itself, of which nobody hears.
const HTTP2_HEADER_ROOM: u32 = 2;
/// hyper's smallest.
const HTTP1_BUFFER: usize = 8 * 1024;
/// An idle connection that drains may bring one more request, to be told by its answer; then it is closed.
const LINGER: Duration = Duration::from_secs(1);

/// Why a connection is closed though neither side ended it.
#[derive(Clone, Copy, Debug)]
enum Over {
    Time(Phase),
    Drain,
}

/// Whether a stream begins as HTTP/2 does. None: the client left before that could be told.
async fn is_http2(stream: &mut Prefixed, timing: &Timing) -> std::io::Result<Option<bool>> {
    loop {
        let read = stream.read_ahead();
        let length = read.len().min(PREFACE.len());
        if read[..length] != PREFACE[..length] {
            return Ok(Some(false));
        }
        if length == PREFACE.len() {
            return Ok(Some(true));
        }
        if stream.read_more().await? == 0 {
            return Ok(None);
        }
        timing.received();
    }
}

/// Serves a connection without TLS.
pub async fn plain(client: Rc<Client>, mut stream: Prefixed, limits: &Limits) {
    let is_http2 = tokio::select! {
        is_http2 = is_http2(&mut stream, &client.timing) => is_http2,
        () = client.timing.over() => return over_with(&client, Over::Time(client.timing.phase())),
        () = lingered(&client) => return,
    };
    match is_http2 {
        Ok(Some(true)) => http2(client, Stream::Plain(stream), limits).await,
        Ok(Some(false)) => http1(client, Stream::Plain(stream), limits).await,
        Ok(None) => {}
        Err(_) => client.entry.end(Reason::ClientAbort),
    }
}

/// Ready when a connection that is to drain did not bring a request for a moment.
pub(super) async fn lingered(client: &Client) {
    client.drain.draining().await;
    let end = client.worker.deadlines.deadline();
    end.arm(LINGER);
    end.over().await;
}

/// Serves HTTP/1.1, and what a request of it is upgraded to.
pub async fn http1(client: Rc<Client>, stream: Stream, limits: &Limits) {
    client.entry.protocol.set(Protocol::Http1);
    // Boxed, because only then hyper gives the stream of an upgraded connection back.
    let service = service_fn(|request| Box::pin(service::answer(client.clone(), request)));
    let mut builder = http1::Builder::new();
    builder
        .half_close(true)
        .header_read_timeout(None)
        .max_buf_size((limits.header_bytes as usize).max(HTTP1_BUFFER));
    if limits.headers > 100 {
        builder.max_headers(limits.headers as usize);
    }
    let io = TokioIo::new(Watched::new(stream, client.timing.clone()));
    let mut connection = builder.serve_connection(io, service);
    let linger = client.worker.deadlines.deadline();
    let end = client.worker.deadlines.deadline();
    let ended = poll_fn(|cx| {
        if client.drain.poll_draining(cx).is_ready() {
            if !linger.is_armed() {
                linger.arm(LINGER);
                end.arm(client.worker.drain_deadline.get());
            }
            if end.poll_over(cx).is_ready() {
                return Poll::Ready(Err(Over::Drain));
            }
            if client.timing.phase() == Phase::Idle && linger.poll_over(cx).is_ready() {
                std::pin::Pin::new(&mut connection).graceful_shutdown();
            }
        }
        while let Poll::Ready(phase) = client.timing.poll_over(cx) {
            if phase != Phase::Active || client.entry.is_gone() {
                return Poll::Ready(Err(Over::Time(phase)));
            }
            client.timing.enter(phase);
        }
        connection.poll_without_shutdown(cx).map(Ok)
    });
    let refused = match ended.await {
        Ok(Ok(())) => false,
        Ok(Err(error)) if failed(&client, &error) => true,
        Ok(Err(_)) => return,
        Err(over) => return over_with(&client, over),
    };
    let parts = connection.into_parts();
    let stream = parts.io.into_inner();
    match client.upgrade.take() {
        Some(pending) => upgrade::run(&client, stream, parts.read_buf, pending).await,
        None if refused || client.timing.is_upload_left() => {
            linger::close(&client, stream.into_inner()).await;
        }
        None => drop(linger::shut_down(&client, &mut stream.into_inner()).await),
    }
}

/// Serves HTTP/2.
pub async fn http2(client: Rc<Client>, stream: Stream, limits: &Limits) {
    client.entry.protocol.set(Protocol::Http2);
    client.timing.set_multiplexed();
    // Boxed, because hyper moves it several times before it runs.
    let service = service_fn(|request| Box::pin(service::answer(client.clone(), request)));
    let io = TokioIo::new(Watched::multiplexed(stream, client.timing.clone()));
    let limit = Duration::from_millis(client.held().gateway.settings.timeouts.body_idle_ms);
    let streams = Streams { client: client.clone(), limit };
    let connection = http2::Builder::new(streams)
        .timer(TokioTimer::new())
        .initial_stream_window_size(HTTP2_STREAM_WINDOW)
        .initial_connection_window_size(HTTP2_CONNECTION_WINDOW)
        .max_send_buf_size(HTTP2_SEND_BUFFER)
        .max_concurrent_streams(limits.streams)
        .max_header_list_size(limits.header_bytes.saturating_mul(HTTP2_HEADER_ROOM))
        .max_local_error_reset_streams(HTTP2_RESETS)
        .serve_connection(io, service);
    let mut connection = pin!(connection);
    let end = client.worker.deadlines.deadline();
    let mut told = false;
    let ended = poll_fn(|cx| {
        if client.drain.poll_draining(cx).is_ready() {
            if !end.is_armed() {
                end.arm(client.worker.drain_deadline.get());
            }
            if end.poll_over(cx).is_ready() {
                return Poll::Ready(Err(Over::Drain));
            }
            if !std::mem::replace(&mut told, true) {
                connection.as_mut().graceful_shutdown();
            }
        }
        while let Poll::Ready(phase) = client.timing.poll_over(cx) {
            if phase != Phase::Idle || std::mem::replace(&mut told, true) {
                return Poll::Ready(Err(Over::Time(phase)));
            }
            connection.as_mut().graceful_shutdown();
            client.timing.enter(Phase::Leaving);
        }
        connection.as_mut().poll(cx).map(Ok)
    });
    match ended.await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => drop(failed(&client, &error)),
        Err(over) => over_with(&client, over),
    }
}

/// Whether hyper refused a request and told the client.
fn failed(client: &Client, error: &hyper::Error) -> bool {
    if error.is_user() {
        // An answer that broke off: its request says why.
        debug!(%error, "answer broken off");
        return false;
    }
    debug!(%error, "client connection ended");
    let flooded = client.timing.phase() == Phase::Flooded;
    let unparsed = if flooded { Some(Unparsed::flooded()) } else { Unparsed::of(error) };
    match &unparsed {
        Some(unparsed) => unparsed.end(client),
        None => client.entry.end(Reason::ClientAbort),
    }
    unparsed.is_some_and(|unparsed| unparsed.is_answered())
}

fn over_with(client: &Client, over: Over) {
    debug!(?over, "client connection closed");
    let reason = match over {
        Over::Drain => Reason::Drain,
        Over::Time(Phase::Handshake) => Reason::TlsTimeout,
        Over::Time(Phase::Flooded) => return Unparsed::flooded().end(client),
        Over::Time(Phase::Header) => return Unparsed::late().end(client),
        Over::Time(Phase::Idle | Phase::Leaving | Phase::Stream) => Reason::IdleTimeout,
        Over::Time(Phase::Blocked | Phase::Active) => Reason::ClientAbort,
    };
    client.entry.end(reason);
}
