//! What comes before a connection's own protocol: the PROXY header, and the ClientHello where it decides whether the
//! connection is opened here or forwarded. Only looked at: what follows stays in [`Accepted::read`].

use std::io;
use std::time::Duration;

use gateway_common::ir::ListenerProtocol;
use tokio::io::AsyncReadExt;
use tracing::debug;

use crate::accept::Accepted;
use crate::access_log::Reason;
use crate::worker::Worker;
use crate::{client_hello, proxy_protocol, tcp};

/// Room for what is read at once: a PROXY header or a ClientHello whole.
const READ: usize = 2048;

/// Why a connection is not served.
pub struct Refusal {
    pub reason: Reason,
    pub detail: String,
}

/// Takes the PROXY header off a connection whose port wants one and whose peer is trusted; the client is who it says.
pub async fn proxy_header(worker: &Worker, accepted: &mut Accepted) -> Result<(), Refusal> {
    let port = accepted.port.clone();
    let Some(wanted) = &port.proxy_protocol else { return Ok(()) };
    let peer = accepted.peer.ip().to_canonical();
    if !wanted.trusted.iter().any(|net| net.contains(&peer)) {
        if wanted.strict {
            let detail = format!("{peer} is not trusted to send one");
            return Err(Refusal { reason: Reason::ProxyHeader, detail });
        }
        return Ok(());
    }
    let limit = accepted.gateway.settings.timeouts.proxy_header_ms;
    let parsed = read_until(worker, accepted, limit, proxy_protocol::parse).await;
    let (header, length) = parsed.map_err(|detail| {
        debug!(gateway = %accepted.gateway.id, detail, "PROXY header");
        Refusal { reason: Reason::ProxyHeader, detail }
    })?;
    drop(accepted.read.split_to(length));
    accepted.secure = header.tls;
    if let Some(addresses) = header.addresses {
        accepted.client = addresses.source;
        accepted.handle.client.set(addresses.source);
    }
    Ok(())
}

/// Where a connection on a port with passthrough listeners goes: None when it is to be opened here.
pub async fn destination(worker: &Worker, accepted: &mut Accepted) -> Result<Option<tcp::To>, Refusal> {
    let limit = accepted.gateway.settings.timeouts.handshake_ms;
    let peeked = read_until(worker, accepted, limit, client_hello::peek).await;
    let hello = peeked.map_err(|detail| {
        debug!(gateway = %accepted.gateway.id, detail, "ClientHello");
        let reason = if detail == TIMEOUT { Reason::TlsTimeout } else { Reason::TlsHandshake };
        Refusal { reason, detail }
    })?;
    let sni = hello.server_name;
    let name = sni.as_deref().unwrap_or_default();
    let Some(listener) = accepted.port.listener_for(name) else {
        return Ok(Some(tcp::To { sni, ..tcp::To::default() }));
    };
    if listener.protocol != ListenerProtocol::TlsPassthrough {
        return Ok(None);
    }
    let route = accepted.port.l4.by_sni(&listener.name, name).cloned();
    let listener = listener.name.clone();
    accepted.drain.bind_listener(&listener);
    Ok(Some(tcp::To { route, listener: Some(listener), sni }))
}

const TIMEOUT: &str = "not in time";

/// Reads until `parse` has what it wants; the error is for the log.
async fn read_until<T, E: std::fmt::Display>(
    worker: &Worker,
    accepted: &mut Accepted,
    limit_ms: u64,
    parse: impl Fn(&[u8]) -> Result<Option<T>, E>,
) -> Result<T, String> {
    let deadline = worker.deadlines.deadline();
    deadline.arm(Duration::from_millis(limit_ms));
    loop {
        if let Some(found) = parse(&accepted.read).map_err(|error| error.to_string())? {
            return Ok(found);
        }
        accepted.read.reserve(READ);
        let read = tokio::select! {
            read = accepted.stream.read_buf(&mut accepted.read) => read,
            () = deadline.over() => return Err(TIMEOUT.to_owned()),
        };
        match read {
            Ok(0) => return Err(io::Error::from(io::ErrorKind::UnexpectedEof).to_string()),
            Ok(_) => {}
            Err(error) => return Err(error.to_string()),
        }
    }
}
