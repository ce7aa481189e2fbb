//! A client connection from accept to the protocol that serves it.

mod crash;
mod dispatch;
pub mod spread;

use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use bytes::BytesMut;
use gateway_common::ir::{GatewayId, PortProtocol};
use tokio::net::TcpStream;
use tokio::task::spawn_local;
use tracing::{debug, warn};

use spread::{Arrived, Place};

use crate::access_log::Reason;
use crate::connections::{Handle, Protocol};
use crate::drain::{Anchor, Drain};
use crate::snapshot::{Gateway, Port};
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
    /// A trusted PROXY header said that the client came to its sender over TLS.
    pub secure: bool,
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

/// One of the connections that a Gateway may have, on its worker.
pub struct Permit {
    open: Arc<AtomicU32>,
    _place: Place,
}

impl Permit {
    fn take(gateway: &Gateway, place: Place) -> Option<Self> {
        let open = gateway.open.fetch_add(1, Ordering::Relaxed);
        let permit = Self { open: gateway.open.clone(), _place: place };
        (open < gateway.settings.limits.connections).then_some(permit)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.open.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Takes in a connection that this worker accepted; another one may serve it.
pub fn begin(worker: &Rc<Worker>, gateway: &GatewayId, stream: TcpStream, peer: SocketAddr) {
    let place = worker.spread.place(worker.index);
    if place.worker() == worker.index {
        return serve(worker, gateway, stream, peer, place);
    }
    // Fails for a stream that is broken already.
    let Ok(stream) = stream.into_std() else { return };
    let arrived = Arrived { gateway: gateway.clone(), stream, peer, place };
    if let Err(arrived) = arrived.hand_over(worker.index) {
        arrive(worker, arrived);
    }
}

/// Takes in a connection that another worker accepted.
pub fn arrive(worker: &Rc<Worker>, arrived: Arrived) {
    let Arrived { gateway, stream, peer, place } = arrived;
    match TcpStream::from_std(stream) {
        Ok(stream) => serve(worker, &gateway, stream, peer, place),
        Err(error) => warn!(%gateway, %error, "connection lost between workers"),
    }
}

/// Closes a connection when it has no listener or is one too many, serves it in its own task otherwise.
fn serve(worker: &Rc<Worker>, gateway: &GatewayId, stream: TcpStream, peer: SocketAddr, place: Place) {
    let Ok(vip) = stream.local_addr() else { return };
    let vip = SocketAddr::new(vip.ip().to_canonical(), vip.port());
    let view = worker.view();
    let Some(gateway) = view.gateway(gateway) else { return };
    let Some(port) = gateway.stream_port(vip.port()) else { return };
    let Some(permit) = Permit::take(gateway, place) else {
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
        secure: false,
        vip,
        gateway: gateway.clone(),
        port: port.clone(),
        drain: worker.drains.register(anchor),
        handle,
        permit,
    };
    spawn_local(dispatch::serve(worker.clone(), view.clone(), accepted));
}
