//! Which protocol serves a connection.

use std::rc::Rc;

use gateway_common::ir::PortProtocol;
use tracing::debug;

use super::Accepted;
use super::crash::Crash;
use crate::access_log::Reason;
use crate::http::client::{Client, Opening, Tls};
use crate::http::io::{Prefixed, Stream};
use crate::http::serve;
use crate::http::timing::{Phase, Timing};
use crate::preface;
use crate::refused::Refused;
use crate::tcp;
use crate::tls::handshake::{self, Unrecognized};
use crate::worker::{View, Worker};

/// `view` is what the connection was accepted under: what its port names is in it, whatever changes meanwhile.
pub(super) async fn serve(worker: Rc<Worker>, view: View, mut accepted: Accepted) {
    let _crash = Crash { port: accepted.port.metrics.clone(), worker: worker.index };
    if let Err(refusal) = preface::proxy_header(&worker, &mut accepted).await {
        return Refused::of(&accepted).end(&worker, refusal.reason, Some(&refusal.detail));
    }
    match accepted.port.protocol {
        PortProtocol::Http => http(worker, view, accepted).await,
        PortProtocol::Tls if accepted.port.has_passthrough() => {
            match preface::destination(&worker, &mut accepted).await {
                Ok(Some(to)) => tcp::serve(worker, view, accepted, to).await,
                Ok(None) => tls(worker, view, accepted).await,
                Err(refusal) => {
                    Refused::of(&accepted).end(&worker, refusal.reason, Some(&refusal.detail));
                }
            }
        }
        PortProtocol::Tls => tls(worker, view, accepted).await,
        PortProtocol::Tcp => {
            let route = accepted.port.l4.any().cloned();
            let listener = accepted.port.listeners.first().map(|listener| listener.name.clone());
            tcp::serve(worker, view, accepted, tcp::To { route, listener, sni: None }).await;
        }
        // `stream_port` gives none.
        PortProtocol::Udp => {}
    }
}

async fn http(worker: Rc<Worker>, view: View, accepted: Accepted) {
    let timing = timing(&worker, &accepted);
    let Accepted { stream, read, peer, client, secure, vip, gateway, port, drain, handle: entry, permit } =
        accepted;
    let limits = gateway.settings.limits;
    let opening =
        Opening { address: client, peer, vip, tls: None, secure, timing, drain, entry, view, gateway, port };
    let client = Client::new(worker, opening);
    serve::plain(client, Prefixed::new(read, stream), &limits).await;
    drop(permit);
}

async fn tls(worker: Rc<Worker>, view: View, accepted: Accepted) {
    let timing = timing(&worker, &accepted);
    timing.enter(Phase::Handshake);
    let Accepted { stream, read, peer, client, vip, gateway, port, drain, handle: entry, permit, .. } =
        accepted;
    let refused =
        Refused { gateway: &gateway, entry: &entry, client, vip, sni: None, listener: None, request: None };
    let Some(server) = port.tls.clone() else { return refused.end(&worker, Reason::RouteNotFound, None) };
    let handshake = Box::pin(handshake::accept(&port, &server, Prefixed::new(read, stream)));
    let session = tokio::select! {
        session = handshake => session,
        () = timing.over() => return refused.end(&worker, Reason::TlsTimeout, None),
    };
    let session = match session {
        Ok(Ok(session)) => session,
        Ok(Err(Unrecognized { sni })) => {
            let refused = Refused { sni: sni.as_deref(), ..refused };
            return refused.end(&worker, Reason::RouteNotFound, None);
        }
        Err(error) => {
            debug!(%error, "handshake failed");
            return refused.end(&worker, Reason::TlsHandshake, Some(&error.to_string()));
        }
    };
    if session.resumed {
        entry.counters().handshakes_resumed.increment();
    } else {
        entry.counters().handshakes_full.increment();
    }
    timing.enter(Phase::Idle);
    let listener = port.listeners[session.listener].name.clone();
    drain.bind_listener(&listener);
    if !Rc::ptr_eq(&view, &worker.view()) {
        // The listener may have gone during the handshake.
        worker.drain_gone();
    }
    let limits = gateway.settings.limits;
    let tls = Some(Tls { sni: session.sni, listener });
    let opening =
        Opening { address: client, peer, vip, tls, secure: true, timing, drain, entry, view, gateway, port };
    let client = Client::new(worker, opening);
    if session.is_http2 {
        serve::http2(client, Stream::Tls(session.stream), &limits).await;
    } else {
        serve::http1(client, Stream::Tls(session.stream), &limits).await;
    }
    drop(permit);
}

fn timing(worker: &Worker, accepted: &Accepted) -> Rc<Timing> {
    Rc::new(Timing::new(worker.deadlines.deadline(), accepted.gateway.settings.timeouts))
}
