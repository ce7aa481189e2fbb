//! From a connection on a TLS port to a TLS stream of one listener, or to a backend unopened.

use std::io;
use std::sync::Arc;

use rustls::HandshakeKind;
use rustls::server::Acceptor;
use tokio::io::AsyncWriteExt;
use tokio_rustls::LazyConfigAcceptor;
use tokio_rustls::server::TlsStream;

use super::Server;
use crate::http::io::Prefixed;
use crate::route::host::Name;
use crate::snapshot::Port;

/// A fatal alert, unrecognized_name (RFC 6066 §3), as a plaintext record.
const UNRECOGNIZED_NAME: [u8; 7] = [21, 3, 3, 0, 2, 2, 112];

pub struct Session {
    pub stream: Box<TlsStream<Prefixed>>,
    /// As the client sent it, lower case.
    pub sni: Option<String>,
    /// Index of the listener.
    pub listener: usize,
    pub is_http2: bool,
    /// From a ticket of an earlier session.
    pub resumed: bool,
}

/// There is no listener for the name, and the client was told.
pub struct Unrecognized {
    pub sni: Option<String>,
}

/// Finishes the handshake with the listener that the SNI names.
pub async fn accept(
    port: &Port,
    server: &Arc<Server>,
    stream: Prefixed,
) -> io::Result<Result<Session, Unrecognized>> {
    let hello = LazyConfigAcceptor::new(Acceptor::default(), stream).await?;
    let sni = hello.client_hello().server_name().map(|name| Name::new(name).as_str().to_owned());
    let Some(listener) = port.hosts.find(sni.as_deref().unwrap_or_default()).copied() else {
        let mut stream = hello.io;
        stream.write_all(&UNRECOGNIZED_NAME).await?;
        stream.shutdown().await?;
        return Ok(Err(Unrecognized { sni }));
    };
    let stream = hello.into_stream(server.config.clone()).await?;
    let tls = stream.get_ref().1;
    let is_http2 = tls.alpn_protocol() == Some(b"h2");
    let resumed = tls.handshake_kind() == Some(HandshakeKind::Resumed);
    Ok(Ok(Session { stream: Box::new(stream), sni, listener, is_http2, resumed }))
}
