//! Asks an admin socket, as curl would.

use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty};
use hyper::Request;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;

use crate::client::PATIENCE;
use crate::netns::block_on;

/// The body of a good answer.
pub fn get(socket: &Path, path: &str) -> Result<Bytes> {
    let work = async || {
        let stream = UnixStream::connect(socket).await;
        let stream = stream.with_context(|| format!("connect to {}", socket.display()))?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(async { drop(connection.await) });
        let request = Request::get(path).header("host", "localhost").body(Empty::<Bytes>::new())?;
        let response = sender.send_request(request).await?;
        let status = response.status();
        let body = response.into_body().collect().await?.to_bytes();
        ensure!(status.is_success(), "{path}: {status}: {}", String::from_utf8_lossy(&body));
        Ok(body)
    };
    block_on(async || {
        tokio::time::timeout(PATIENCE, work()).await.context("no answer from the admin socket")?
    })
}
