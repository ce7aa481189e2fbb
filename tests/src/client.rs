//! Clients: one HTTP request, or a connection that carries many.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper::header::HeaderMap;
use hyper::{Request, Response, StatusCode, Uri};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::echo::Echo;
use crate::netns::Netns;

/// Longer than anything that works takes.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Where to and how.
#[derive(Clone, Debug)]
pub struct Target {
    pub address: SocketAddr,
    /// Speak TLS, asking for this name.
    pub tls: Option<(Arc<rustls::ClientConfig>, String)>,
    /// HTTP/2 with prior knowledge; over TLS what was negotiated decides.
    pub h2: bool,
    /// Sent before anything else, as a PROXY protocol header is.
    pub preface: Vec<u8>,
}

impl Target {
    pub fn http(address: SocketAddr) -> Self {
        Self { address, tls: None, h2: false, preface: Vec::new() }
    }

    pub fn h2c(address: SocketAddr) -> Self {
        Self { h2: true, ..Self::http(address) }
    }

    pub fn https(address: SocketAddr, config: Arc<rustls::ClientConfig>, name: &str) -> Self {
        Self { tls: Some((config, name.to_owned())), ..Self::http(address) }
    }
}

/// A whole answer.
#[derive(Debug)]
pub struct Reply {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
    pub trailers: Option<HeaderMap>,
}

impl Reply {
    /// What the echo backend said.
    pub fn echo(&self) -> Result<Echo> {
        let text = String::from_utf8_lossy(&self.body);
        serde_json::from_slice(&self.body).with_context(|| format!("{} is no echo: {text}", self.status))
    }
}

/// One connection.
#[derive(Debug)]
pub struct Connection {
    sender: Sender,
    /// The server's certificate, if it showed one.
    pub certificate: Option<Vec<u8>>,
}

/// The connection ended before a request was written to it.
#[derive(Debug)]
pub struct Unsent(hyper::Error);

impl fmt::Display for Unsent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "not sent: {}", self.0)
    }
}

impl std::error::Error for Unsent {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.0)
    }
}

#[derive(Debug)]
enum Sender {
    Http1(http1::SendRequest<Full<Bytes>>),
    Http2(http2::SendRequest<Full<Bytes>>),
}

impl Connection {
    pub async fn open(target: &Target) -> Result<Self> {
        Self::begin(TcpStream::connect(target.address).await?, target).await
    }

    /// Speaks TLS and HTTP on a connection that was made.
    pub async fn begin(mut stream: TcpStream, target: &Target) -> Result<Self> {
        stream.set_nodelay(true)?;
        stream.write_all(&target.preface).await?;
        let Some((config, name)) = &target.tls else {
            return Ok(Self { sender: handshake(stream, target.h2).await?, certificate: None });
        };
        let name = ServerName::try_from(name.clone()).context("take the server's name")?;
        let stream = TlsConnector::from(config.clone()).connect(name, stream).await?;
        let tls = stream.get_ref().1;
        let certificate = tls.peer_certificates().and_then(|chain| Some(chain.first()?.to_vec()));
        let h2 = tls.alpn_protocol() == Some(b"h2");
        Ok(Self { sender: handshake(stream, h2).await?, certificate })
    }

    pub fn is_h2(&self) -> bool {
        matches!(self.sender, Sender::Http2(_))
    }

    /// Sends a request whose URI has scheme and host, and reads the whole answer.
    pub async fn send(&mut self, request: Request<Full<Bytes>>) -> Result<Reply> {
        let (head, mut body) = self.start(request).await?.into_parts();
        let mut data = Vec::new();
        let mut trailers = None;
        while let Some(frame) = body.frame().await {
            match frame?.into_data() {
                Ok(part) => data.extend_from_slice(&part),
                Err(frame) => trailers = frame.into_trailers().ok(),
            }
        }
        Ok(Reply { status: head.status, headers: head.headers, body: data.into(), trailers })
    }

    /// Sends a request and returns when the answer's header is there. The error is [`Unsent`] when the connection ended
    /// before a byte of it was written: it may be sent on another one.
    pub async fn start(&mut self, request: Request<Full<Bytes>>) -> Result<Response<Incoming>> {
        let (sent, version) = match &mut self.sender {
            Sender::Http1(sender) => {
                sender.ready().await.map_err(Unsent)?;
                (sender.try_send_request(origin_form(request)?).await, "HTTP/1.1")
            }
            Sender::Http2(sender) => {
                sender.ready().await.map_err(Unsent)?;
                (sender.try_send_request(request).await, "HTTP/2")
            }
        };
        match sent {
            Ok(response) => Ok(response),
            Err(error) if error.message().is_some() => Err(Unsent(error.into_error()).into()),
            Err(error) => Err(error.into_error()).context(version),
        }
    }

    /// Whether a further request may be sent.
    pub fn is_open(&self) -> bool {
        match &self.sender {
            Sender::Http1(sender) => !sender.is_closed(),
            Sender::Http2(sender) => !sender.is_closed(),
        }
    }
}

/// One request on a connection of its own, bounded by [`PATIENCE`].
pub async fn send(target: &Target, request: Request<Full<Bytes>>) -> Result<Reply> {
    let work = async { Connection::open(target).await?.send(request).await };
    match tokio::time::timeout(PATIENCE, work).await {
        Ok(reply) => reply,
        Err(_) => bail!("no answer from {} within {PATIENCE:?}", target.address),
    }
}

/// GET of `path` from a host, by a client inside `netns`.
pub fn get(netns: &Netns, target: &Target, host: &str, path: &str) -> Result<Reply> {
    let request = request(host, path)?;
    netns.block_on(async || send(target, request).await)
}

/// GET of `path` from `host`.
pub fn request(host: &str, path: &str) -> Result<Request<Full<Bytes>>> {
    Request::get(format!("http://{host}{path}")).body(Full::default()).context("build a request")
}

async fn handshake<S>(stream: S, h2: bool) -> Result<Sender>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let stream = TokioIo::new(stream);
    // A connection's end is seen by its sender.
    if h2 {
        let (sender, connection) = http2::handshake(TokioExecutor::new(), stream).await?;
        tokio::spawn(async { drop(connection.await) });
        Ok(Sender::Http2(sender))
    } else {
        let (sender, connection) = http1::handshake(stream).await?;
        tokio::spawn(async { drop(connection.with_upgrades().await) });
        Ok(Sender::Http1(sender))
    }
}

/// HTTP/1.1 has the host in a header and the path alone in its first line.
fn origin_form(mut request: Request<Full<Bytes>>) -> Result<Request<Full<Bytes>>> {
    let uri = request.uri().clone();
    if let Some(authority) = uri.authority().filter(|_| !request.headers().contains_key("host")) {
        request.headers_mut().insert("host", authority.as_str().parse().context("host header")?);
    }
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    *request.uri_mut() = path.parse::<Uri>().context("request path")?;
    Ok(request)
}
