//! Asks the admin sockets of agent and proxies.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};
use bytes::Bytes;
use gateway_common::admin::ProxyStatus;
use http_body_util::{BodyExt, Full};
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use tokio::net::UnixStream;

use super::Paths;
use super::output::note;
use super::silence::Silence;

const PATIENCE: Duration = Duration::from_secs(5);
/// For an answer that is not needed.
const GLANCE: Duration = Duration::from_secs(1);

/// One request to one socket.
pub(super) fn ask<T: DeserializeOwned>(
    socket: &Path,
    method: &Method,
    path: &str,
    body: Vec<u8>,
) -> anyhow::Result<T> {
    let answer = raw(socket, method, path, body)?;
    serde_json::from_slice(&answer)
        .with_context(|| format!("{} answered {path} with no valid JSON", socket.display()))
}

/// One request to one socket, its body as it came.
pub(super) fn raw(socket: &Path, method: &Method, path: &str, body: Vec<u8>) -> anyhow::Result<Bytes> {
    raw_within(PATIENCE, socket, method, path, body)
}

pub(super) fn raw_within(
    patience: Duration,
    socket: &Path,
    method: &Method,
    path: &str,
    body: Vec<u8>,
) -> anyhow::Result<Bytes> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        tokio::time::timeout(patience, exchange(socket, method, path, body))
            .await
            .with_context(|| format!("{} did not answer {path} within {patience:?}", socket.display()))?
    })
}

async fn exchange(socket: &Path, method: &Method, path: &str, body: Vec<u8>) -> anyhow::Result<Bytes> {
    let stream =
        UnixStream::connect(socket).await.with_context(|| format!("connecting to {}", socket.display()))?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let request = Request::builder().method(method).uri(path).header("host", "localhost").body(Full::<
        Bytes,
    >::from(
        body
    ))?;
    // Owns the sender, so that the connection ends with the answer and not with its idle time.
    let talk = async move {
        let response = sender.send_request(request).await?;
        let status = response.status();
        let body = response.into_body().collect().await?.to_bytes();
        if !status.is_success() {
            bail!(
                "{} answered {path} with {status}: {}",
                socket.display(),
                String::from_utf8_lossy(&body).trim()
            );
        }
        Ok(body)
    };
    let (body, _) = tokio::join!(talk, connection);
    body
}

/// The admin sockets of all proxies that run, by pid; dead ones are passed over.
pub(super) fn proxies(paths: &Paths) -> anyhow::Result<Vec<PathBuf>> {
    let directory = paths.proxy_dir();
    let entries = std::fs::read_dir(&directory).map_err(|error| {
        let advice = if error.kind() == ErrorKind::PermissionDenied {
            Silence::Denied.remedy()
        } else {
            "has a proxy ever run on this node? (--runtime-dir)"
        };
        anyhow::Error::from(error).context(format!("reading {}: {advice}", directory.display()))
    })?;
    let mut sockets: Vec<PathBuf> = entries
        .filter_map(Result::ok)
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "sock"))
        .filter(|path| std::os::unix::net::UnixStream::connect(path).is_ok())
        .collect();
    sockets.sort();
    if sockets.is_empty() {
        bail!(
            "no proxy answers in {}: it is not running. The agent starts it (--proxy spawn); see its log",
            directory.display()
        );
    }
    Ok(sockets)
}

/// Asks every proxy for a list and puts the answers together; one that ends or hangs meanwhile is noted.
pub(super) fn from_all<T: DeserializeOwned>(paths: &Paths, path: &str) -> anyhow::Result<Vec<T>> {
    let ask = |socket| ask::<Vec<T>>(socket, &Method::GET, path, Vec::new());
    let (lists, mut failures): (Vec<_>, Vec<_>) =
        proxies(paths)?.iter().map(|socket| ask(socket)).partition(Result::is_ok);
    if lists.is_empty()
        && let Some(Err(failure)) = failures.pop()
    {
        return Err(failure);
    }
    failures.into_iter().filter_map(Result::err).for_each(|failure| note(format_args!("note: {failure:#}")));
    Ok(lists.into_iter().flatten().flatten().collect())
}

/// The proxy that takes new connections, with the newest configuration; or one that drains when there is no other.
pub(super) fn current(paths: &Paths) -> anyhow::Result<PathBuf> {
    let mut best = None;
    let mut failure = None;
    for socket in proxies(paths)? {
        match ask::<ProxyStatus>(&socket, &Method::GET, "/status", Vec::new()) {
            Ok(status) => best = best.max(Some((!status.draining, status.generation, socket))),
            Err(error) => failure = Some(error),
        }
    }
    let Some((_, _, socket)) = best else {
        return Err(failure.unwrap_or_else(|| anyhow::anyhow!("no proxy answers")));
    };
    Ok(socket)
}

/// Asks the proxy that takes new connections, and its successor when it ends meanwhile.
pub(super) fn from_current<T: DeserializeOwned>(
    paths: &Paths,
    method: &Method,
    path: &str,
    body: &[u8],
) -> anyhow::Result<T> {
    let socket = current(paths)?;
    ask(&socket, method, path, body.to_vec()).or_else(|error| {
        let successor = current(paths).ok().filter(|successor| *successor != socket).ok_or(error)?;
        ask(&successor, method, path, body.to_vec())
    })
}

/// Says on stderr that the agent is dead or hangs, when it does.
pub(super) fn note_dead_agent(paths: &Paths) {
    let socket = paths.agent_socket();
    if let Err(error) = raw_within(GLANCE, &socket, &Method::GET, "/", Vec::new()) {
        note(format_args!(
            "note: {} ({}): {}; what follows is what kernel and proxy still do",
            Silence::of(&error),
            socket.display(),
            Silence::of(&error).remedy()
        ));
    }
}
