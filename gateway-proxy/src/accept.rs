//! A client connection from accept to the protocol that serves it.

use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use bytes::BytesMut;
use gateway_common::ir::{GatewayId, PortProtocol};
use tokio::net::TcpStream;
use tokio::task::spawn_local;
use tracing::debug;

use crate::access_log::Reason;
use crate::connections::{Handle, Protocol};
use crate::drain::{Anchor, Drain};
use crate::http::client::{Client, Opening, Tls};
use crate::http::io::{Prefixed, Stream};
use crate::http::serve;
use crate::http::timing::{Phase, Timing};
use crate::preface;
use crate::snapshot::{Gateway, Port};
use crate::tcp;
use crate::tls::handshake;
use crate::worker::Worker;

/// A client connection, and what is known of it before its first byte is understood.
pub struct Accepted {
    pub stream: TcpStream,
    /// Bytes that the client sent and that were read already, to be read first.
    pub read: BytesMut,
    /// Who connected.
    pub peer: SocketAddr,
    /// The client: the peer, or what a trusted PROXY header said.
    pub client: SocketAddr,
    /// What the client connected to.
    pub vip: SocketAddr,
    /// As of the accept.
    pub gateway: Arc<Gateway>,
    pub port: Arc<Port>,
    pub drain: Drain,
    /// Lists and counts the connection until it is dropped.
    pub handle: Handle,
    /// Counts the connection against the Gateway's limit until it is dropped.
    pub permit: Permit,
}

/// One of the connections that a Gateway may have.
pub struct Permit(Arc<AtomicU32>);

impl Permit {
    fn take(gateway: &Gateway) -> Option<Self> {
        let open = gateway.open.fetch_add(1, Ordering::Relaxed);
        let permit = Self(gateway.open.clone());
        (open < gateway.settings.limits.connections).then_some(permit)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Takes a connection in: closes it when it has no listener or is one too many, serves it in its own task otherwise.
pub fn begin(worker: &Rc<Worker>, gateway: &GatewayId, stream: TcpStream, peer: SocketAddr) {
    let Ok(vip) = stream.local_addr() else { return };
    let vip = SocketAddr::new(vip.ip().to_canonical(), vip.port());
    let view = worker.view();
    let Some(gateway) = view.gateway(gateway) else { return };
    let Some(port) = gateway.stream_port(vip.port()) else { return };
    let Some(permit) = Permit::take(gateway) else {
        port.metrics.of(worker.index).end(Reason::Limit);
        debug!(gateway = %gateway.id, "connection limit reached");
        return;
    };
    let anchor = Anchor { gateway: gateway.id.clone(), udp: false, vip, listener: None };
    let protocol = match port.protocol {
        PortProtocol::Http => Protocol::Http1,
        PortProtocol::Tls => Protocol::Tls,
        PortProtocol::Tcp | PortProtocol::Udp => Protocol::Tcp,
    };
    let handle = worker.connections.open(port.metrics.clone(), protocol, peer, vip, Some(stream.as_fd()));
    let accepted = Accepted {
        stream,
        read: BytesMut::new(),
        peer,
        client: peer,
        vip,
        gateway: gateway.clone(),
        port: port.clone(),
        drain: worker.drains.register(anchor),
        handle,
        permit,
    };
    spawn_local(serve(worker.clone(), accepted));
}

async fn serve(worker: Rc<Worker>, mut accepted: Accepted) {
    if let Err(error) = accepted.stream.set_nodelay(true) {
        debug!(%error, "client connection gone at accept");
        return;
    }
    if let Err(reason) = preface::proxy_header(&worker, &mut accepted).await {
        return accepted.handle.end(reason);
    }
    match accepted.port.protocol {
        PortProtocol::Http => serve_http(worker, accepted).await,
        PortProtocol::Tls if accepted.port.has_passthrough() => {
            match preface::destination(&worker, &mut accepted).await {
                Ok(Some(to)) => tcp::serve(worker, accepted, to).await,
                Ok(None) => serve_tls(worker, accepted).await,
                Err(reason) => accepted.handle.end(reason),
            }
        }
        PortProtocol::Tls => serve_tls(worker, accepted).await,
        PortProtocol::Tcp => {
            let route = accepted.port.l4.any().cloned();
            let listener = accepted.port.listeners.first().map(|listener| listener.name.clone());
            tcp::serve(worker, accepted, tcp::To { route, listener, sni: None }).await;
        }
        // `stream_port` gives none.
        PortProtocol::Udp => {}
    }
}

async fn serve_http(worker: Rc<Worker>, accepted: Accepted) {
    let timing = timing(&worker, &accepted);
    let Accepted { stream, read, peer, client, vip, gateway, port, drain, handle: entry, permit } = accepted;
    let mut stream = Prefixed::new(read, stream);
    let is_http2 = tokio::select! {
        is_http2 = serve::is_http2(&mut stream) => is_http2,
        () = timing.over() => return entry.end(Reason::IdleTimeout),
        () = drain.draining() => return entry.end(Reason::Drain),
    };
    let limits = gateway.settings.limits;
    let opening = Opening { address: client, peer, vip, tls: None, timing, drain, entry, gateway, port };
    let client = Client::new(worker, opening);
    match is_http2 {
        Ok(Some(true)) => serve::http2(client, Stream::Plain(stream), &limits).await,
        Ok(Some(false)) => serve::http1(client, Stream::Plain(stream), &limits).await,
        Ok(None) => {}
        Err(_) => client.entry.end(Reason::ClientAbort),
    }
    drop(permit);
}

async fn serve_tls(worker: Rc<Worker>, accepted: Accepted) {
    let timing = timing(&worker, &accepted);
    timing.enter(Phase::Handshake);
    let Accepted { stream, read, peer, client, vip, gateway, port, drain, handle: entry, permit } = accepted;
    let Some(server) = port.tls.clone() else { return };
    let handshake = handshake::accept(&port, &server, Prefixed::new(read, stream));
    let session = tokio::select! {
        session = handshake => session,
        () = timing.over() => return entry.end(Reason::TlsTimeout),
    };
    let session = match session {
        Ok(Some(session)) => session,
        Ok(None) => return entry.end(Reason::RouteNotFound),
        Err(error) => {
            debug!(%error, "handshake failed");
            return entry.end(Reason::TlsHandshake);
        }
    };
    timing.enter(Phase::Idle);
    let listener = port.listeners[session.listener].name.clone();
    drain.bind_listener(&listener);
    let is_http2 = session.stream.get_ref().1.alpn_protocol() == Some(b"h2");
    let limits = gateway.settings.limits;
    let tls = Some(Tls { sni: session.sni, listener });
    let opening = Opening { address: client, peer, vip, tls, timing, drain, entry, gateway, port };
    let client = Client::new(worker, opening);
    let stream = Stream::Tls(session.stream);
    if is_http2 {
        serve::http2(client, stream, &limits).await;
    } else {
        serve::http1(client, stream, &limits).await;
    }
    drop(permit);
}

fn timing(worker: &Worker, accepted: &Accepted) -> Rc<Timing> {
    Rc::new(Timing::new(worker.deadlines.deadline(), accepted.gateway.settings.timeouts))
}
