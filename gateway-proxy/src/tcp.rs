//! Connections that are forwarded unopened: TCP listeners and TLS passthrough.

pub mod copy;
mod reset;

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use gateway_common::ir::{AccessLog, BackendId, Route};
use tokio::net::TcpStream;
use tracing::debug;

use crate::accept::Accepted;
use crate::access_log::{Reason, Record};
use crate::snapshot::l4;
use crate::upstream::connect;
use crate::worker::{View, Worker};
use copy::{Copy, Pair, Side};

/// How a connection ended, for the log.
struct Ended {
    reason: Reason,
    backend: Option<BackendId>,
    detail: Option<String>,
    received: u64,
    sent: u64,
}

/// What a connection asked for, by its port or its ClientHello.
#[derive(Default)]
pub struct To {
    pub route: Option<Arc<Route>>,
    pub listener: Option<Arc<str>>,
    pub sni: Option<String>,
}

/// Forwards a connection to a backend of its route, the bytes already read first. Without a route it is reset.
pub async fn serve(worker: Rc<Worker>, view: View, accepted: Accepted, to: To) {
    accepted.handle.client.set(accepted.client);
    let ended = match &to.route {
        Some(route) => forward(&worker, view, &accepted, route, to.sni.as_deref()).await,
        None => refused(&accepted, Reason::RouteNotFound),
    };
    if ended.reason != Reason::Ok {
        accepted.handle.end(ended.reason);
    }
    if accepted.gateway.settings.access_log == AccessLog::Json {
        log(&worker, &accepted, &to, &ended);
    }
}

async fn forward(
    worker: &Rc<Worker>,
    view: View,
    accepted: &Accepted,
    route: &Route,
    sni: Option<&str>,
) -> Ended {
    let connected = {
        // Not held while bytes flow: an old snapshot must not live as long as a connection.
        let view = view;
        let request = connect::Request {
            view: &view,
            backends: l4::backends(route),
            timeouts: &accepted.gateway.settings.timeouts,
            client: accepted.client,
            vip: accepted.vip,
            sni,
        };
        connect::stream(worker, &request).await
    };
    match connected {
        Ok((connected, lease, backend)) => {
            accepted.handle.backend.set(Some(lease.address()));
            let ended = carry(worker, accepted, &connected.stream).await;
            drop((connected, lease));
            Ended { backend: Some(backend), ..ended }
        }
        Err(error) => {
            debug!(gateway = %accepted.gateway.id, %error, "connection not forwarded");
            let (backend, detail) = (error.backend().cloned(), Some(error.to_string()));
            Ended { backend, detail, ..refused(accepted, error.reason()) }
        }
    }
}

fn refused(accepted: &Accepted, reason: Reason) -> Ended {
    reset::at_once(&accepted.stream);
    Ended { reason, backend: None, detail: None, received: 0, sent: 0 }
}

/// Copies until both sides are done, one is gone, nothing moves any more or the time to drain is over.
async fn carry(worker: &Worker, accepted: &Accepted, backend: &TcpStream) -> Ended {
    let client = &accepted.stream;
    let counters = accepted.handle.counters();
    let pair = Pair { client, backend, received: &counters.received, sent: &counters.sent };
    let mut copy = Copy::new(pair, &accepted.read);
    let idle = worker.deadlines.deadline();
    let idle_for = Duration::from_millis(accepted.gateway.settings.timeouts.stream_idle_ms);
    let touch = || {
        if !idle_for.is_zero() {
            idle.arm(idle_for);
        }
    };
    touch();
    let given_up = |reason| {
        reset::at_once(client);
        reset::at_once(backend);
        reason
    };
    let reason = tokio::select! {
        biased;
        gone = copy.run(touch) => match gone {
            None => Reason::Ok,
            Some(Side::Client) => {
                reset::after_delivery(backend).await;
                Reason::ClientAbort
            }
            Some(Side::Backend) => {
                reset::after_delivery(client).await;
                Reason::UpstreamReset
            }
        },
        () = idle.over() => given_up(Reason::IdleTimeout),
        () = drained(worker, accepted) => given_up(Reason::Drain),
    };
    let (received, sent) = copy.totals();
    Ended { reason, backend: None, detail: None, received, sent }
}

/// Ready when the connection was told to drain and had its time for it.
async fn drained(worker: &Worker, accepted: &Accepted) {
    accepted.drain.draining().await;
    let end = worker.deadlines.deadline();
    end.arm(worker.drain_deadline.get());
    end.over().await;
}

fn log(worker: &Worker, accepted: &Accepted, to: &To, ended: &Ended) {
    let entry = &accepted.handle;
    worker.log.write(&Record {
        gateway: &accepted.gateway.id,
        listener: to.listener.as_deref(),
        protocol: entry.protocol.get().as_str(),
        client: accepted.client,
        vip: accepted.vip,
        sni: to.sni.as_deref(),
        request: None,
        route: to.route.as_ref().map(|route| &route.id),
        backend: ended.backend.as_ref(),
        endpoint: entry.backend.get(),
        reason: ended.reason,
        detail: ended.detail.as_deref(),
        duration: entry.opened.elapsed(),
        bytes_in: ended.received,
        bytes_out: ended.sent,
    });
}
