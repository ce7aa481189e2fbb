//! A backend that answers with what it was asked, over HTTP/1.1, HTTP/2, TLS, TCP and UDP.
//!
//! A request's query changes its answer: `status=503`, `delay-ms=100`, `size=65536` (bytes instead of the echo),
//! `trailers=1`, `stream=1` (the request's body comes back as it arrives), `close=1`. With `Upgrade: websocket` each message
//! goes back, with another protocol each byte.
#![expect(clippy::print_stdout, reason = "tells its owner that it listens")]

use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use anyhow::{Context as _, Result};
use bytes::Bytes;
use clap::Parser;
use futures_util::{SinkExt as _, StreamExt as _};
use gatehouse_tests::echo::Echo;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Frame, Incoming};
use hyper::header::{CONNECTION, CONTENT_LENGTH, HOST, HeaderMap, HeaderValue, UPGRADE};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio_rustls::TlsAcceptor;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::server::create_response_with_body;
use tokio_tungstenite::tungstenite::protocol::Role;

type Body = BoxBody<Bytes, hyper::Error>;

/// Every option that takes an address may be given several times.
#[derive(Parser)]
struct Args {
    #[arg(long, default_value = "echo")]
    name: String,
    /// HTTP/1.1, and HTTP/2 with prior knowledge
    #[arg(long)]
    http: Vec<SocketAddr>,
    /// The same over TLS
    #[arg(long, requires = "certificate")]
    tls: Vec<SocketAddr>,
    /// Greets with the peer's address, then sends back what comes
    #[arg(long)]
    tcp: Vec<SocketAddr>,
    /// Answers a datagram with the peer's address, a blank and the datagram
    #[arg(long)]
    udp: Vec<SocketAddr>,
    /// PEM, chain and key
    #[arg(long, num_args = 2)]
    certificate: Vec<PathBuf>,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let args = Args::parse();
    let name: Arc<str> = args.name.into();
    for address in args.http {
        let listener = listen(address).await?;
        tokio::spawn(accept(listener, name.clone(), serve_plain));
    }
    if let [chain, key] = &args.certificate[..] {
        let acceptor = acceptor(chain, key)?;
        for address in args.tls {
            let (listener, acceptor) = (listen(address).await?, acceptor.clone());
            let serve = move |stream, peer, name| serve_tls(acceptor.clone(), stream, peer, name);
            tokio::spawn(accept(listener, name.clone(), serve));
        }
    }
    for address in args.tcp {
        tokio::spawn(accept(listen(address).await?, name.clone(), echo_tcp));
    }
    for address in args.udp {
        let socket = UdpSocket::bind(address).await.with_context(|| format!("bind {address}"))?;
        tokio::spawn(echo_udp(socket));
    }
    println!("ready");
    std::future::pending().await
}

async fn listen(address: SocketAddr) -> Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| format!("bind {address}"))
}

fn acceptor(chain: &PathBuf, key: &PathBuf) -> Result<TlsAcceptor> {
    let chain: Result<Vec<_>, _> = CertificateDer::pem_file_iter(chain)?.collect();
    let key = PrivateKeyDer::from_pem_file(key)?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder =
        rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    let mut config = builder.with_no_client_auth().with_single_cert(chain?, key)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

async fn accept<F, S>(listener: TcpListener, name: Arc<str>, serve: S)
where
    F: Future<Output = ()> + Send + 'static,
    S: Fn(TcpStream, SocketAddr, Arc<str>) -> F,
{
    loop {
        // Out of descriptors is over when a connection ends.
        let Ok((stream, peer)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(10)).await;
            continue;
        };
        let _ = stream.set_nodelay(true);
        tokio::spawn(serve(stream, peer, name.clone()));
    }
}

async fn serve_plain(stream: TcpStream, peer: SocketAddr, name: Arc<str>) {
    let mut start = [0; 3];
    let h2 = stream.peek(&mut start).await.is_ok_and(|_| &start == b"PRI");
    serve(stream, h2, peer, name).await;
}

async fn serve_tls(acceptor: TlsAcceptor, stream: TcpStream, peer: SocketAddr, name: Arc<str>) {
    let Ok(stream) = acceptor.accept(stream).await else { return };
    let h2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
    serve(stream, h2, peer, name).await;
}

async fn serve<S>(stream: S, h2: bool, peer: SocketAddr, name: Arc<str>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = service_fn(move |request| answer(request, peer, name.clone()));
    let stream = TokioIo::new(stream);
    // How a connection ends is the client's business.
    if h2 {
        let server = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
        let _ = server.serve_connection(stream, service).await;
    } else {
        let server = hyper::server::conn::http1::Builder::new();
        let _ = server.serve_connection(stream, service).with_upgrades().await;
    }
}

async fn answer(
    request: Request<Incoming>,
    peer: SocketAddr,
    name: Arc<str>,
) -> Result<Response<Body>, Infallible> {
    let query = request.uri().query().unwrap_or_default().to_owned();
    if let Some(delay) = number(&query, "delay-ms") {
        tokio::time::sleep(Duration::from_millis(delay)).await;
    }
    let mut response = if request.headers().contains_key(UPGRADE) {
        upgrade(request)
    } else if number(&query, "stream").is_some() {
        Response::new(request.into_body().boxed())
    } else {
        echo(request, &query, peer, &name).await
    };
    response.headers_mut().insert("x-backend", header(&name));
    if let Some(status) = number(&query, "status").and_then(|code| StatusCode::from_u16(code as u16).ok()) {
        *response.status_mut() = status;
    }
    if number(&query, "close").is_some() {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    Ok(response)
}

/// The request described, or `size` bytes.
async fn echo(request: Request<Incoming>, query: &str, peer: SocketAddr, name: &str) -> Response<Body> {
    let (head, body) = request.into_parts();
    let mut length = 0;
    let mut body = body;
    while let Some(frame) = body.frame().await {
        match frame {
            Ok(frame) => length += frame.data_ref().map_or(0, Bytes::len),
            Err(_) => break,
        }
    }
    let data = match number(query, "size") {
        Some(size) => Bytes::from(vec![b'x'; size as usize]),
        None => {
            let host = head.headers.get(HOST).map(text);
            let echo = Echo {
                backend: name.to_owned(),
                method: head.method.to_string(),
                path: head.uri.path_and_query().map(ToString::to_string).unwrap_or_default(),
                version: format!("{:?}", head.version),
                host: host.or_else(|| head.uri.authority().map(ToString::to_string)),
                headers: headers(&head.headers),
                peer: peer.to_string(),
                body: length,
            };
            serde_json::to_vec(&echo).map(Bytes::from).unwrap_or_default()
        }
    };
    let length = data.len();
    let body = match head.method {
        // hyper leaves the body out over HTTP/1.1 alone.
        Method::HEAD => full(Bytes::new()),
        _ if number(query, "trailers").is_some() => with_trailers(data),
        _ => full(data),
    };
    let mut response = Response::new(body);
    if head.method == Method::HEAD {
        response.headers_mut().insert(CONTENT_LENGTH, length.into());
    }
    response.headers_mut().insert("content-type", HeaderValue::from_static("application/json"));
    response
}

fn headers(map: &HeaderMap) -> std::collections::BTreeMap<String, Vec<String>> {
    let mut all = std::collections::BTreeMap::new();
    for (name, value) in map {
        let values: &mut Vec<String> = all.entry(name.to_string()).or_default();
        values.push(text(value));
    }
    all
}

/// Accepts any upgrade.
fn upgrade(mut request: Request<Incoming>) -> Response<Body> {
    let upgrade = hyper::upgrade::on(&mut request);
    let protocol = request.headers().get(UPGRADE).cloned().unwrap_or(HeaderValue::from_static("?"));
    if protocol.as_bytes().eq_ignore_ascii_case(b"websocket") {
        // RFC 6455 §4.2: what is no handshake is refused.
        let Ok(response) = create_response_with_body(&request, || full(Bytes::new())) else {
            let mut response = Response::new(full(Bytes::new()));
            *response.status_mut() = StatusCode::BAD_REQUEST;
            return response;
        };
        tokio::spawn(async move {
            if let Ok(upgraded) = upgrade.await {
                echo_messages(upgraded).await;
            }
        });
        return response;
    }
    let mut response = Response::new(full(Bytes::new()));
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    response.headers_mut().insert(UPGRADE, protocol);
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("upgrade"));
    tokio::spawn(async move {
        if let Ok(upgraded) = upgrade.await {
            let (mut from, mut to) = tokio::io::split(TokioIo::new(upgraded));
            let _ = tokio::io::copy(&mut from, &mut to).await;
            let _ = to.shutdown().await;
        }
    });
    response
}

/// Pings and the close are answered by the library.
async fn echo_messages(upgraded: hyper::upgrade::Upgraded) {
    let mut socket = WebSocketStream::from_raw_socket(TokioIo::new(upgraded), Role::Server, None).await;
    while let Some(Ok(message)) = socket.next().await {
        if (message.is_text() || message.is_binary()) && socket.send(message).await.is_err() {
            return;
        }
    }
}

async fn echo_tcp(mut stream: TcpStream, peer: SocketAddr, name: Arc<str>) {
    let greeting = format!("{name} {peer}\n");
    if stream.write_all(greeting.as_bytes()).await.is_err() {
        return;
    }
    let mut buffer = vec![0; 16 << 10];
    loop {
        match stream.read(&mut buffer).await {
            Ok(0) | Err(_) => break,
            Ok(length) => {
                if stream.write_all(&buffer[..length]).await.is_err() {
                    return;
                }
            }
        }
    }
    let _ = stream.shutdown().await;
}

async fn echo_udp(socket: UdpSocket) {
    let mut buffer = vec![0; 64 << 10];
    loop {
        // An ICMP error of an earlier answer is reported here.
        let Ok((length, peer)) = socket.recv_from(&mut buffer).await else { continue };
        let mut answer = format!("{peer} ").into_bytes();
        answer.extend_from_slice(&buffer[..length]);
        let _ = socket.send_to(&answer, peer).await;
    }
}

fn full(data: Bytes) -> Body {
    Full::new(data).map_err(|never| match never {}).boxed()
}

fn with_trailers(data: Bytes) -> Body {
    let mut trailers = HeaderMap::new();
    trailers.insert("x-trailer", HeaderValue::from_static("end"));
    let frames = [Frame::data(data), Frame::trailers(trailers)];
    Frames(frames.into_iter()).boxed()
}

/// A body of these frames.
struct Frames(std::array::IntoIter<Frame<Bytes>, 2>);

impl hyper::body::Body for Frames {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        Poll::Ready(self.0.next().map(Ok))
    }
}

fn number(query: &str, name: &str) -> Option<u64> {
    query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('=')?.parse().ok())
}

fn text(value: &HeaderValue) -> String {
    String::from_utf8_lossy(value.as_bytes()).into_owned()
}

fn header(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).unwrap_or(HeaderValue::from_static("?"))
}
