//! Asks an admin socket, as curl would.

use std::path::Path;

use anyhow::{Context as _, Result, bail, ensure};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty};
use hyper::Request;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
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

/// One request as it is written here, `length` being what it says of its body: the status and the body of the answer.
pub async fn ask(socket: &Path, request: &str, length: usize, body: &str) -> Result<(u16, String)> {
    let work = async {
        let mut stream = UnixStream::connect(socket).await?;
        let head =
            format!("{request} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n");
        stream.write_all(head.as_bytes()).await?;
        stream.write_all(body.as_bytes()).await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        let Some((head, body)) = answer.split_once("\r\n\r\n") else { bail!("{answer:?} is no answer") };
        let status = head.get(9..12).and_then(|status| status.parse().ok());
        Ok((status.with_context(|| head.to_owned())?, body.to_owned()))
    };
    tokio::time::timeout(PATIENCE, work).await.context("no answer from the admin socket")?
}

/// The value of a sample of `/metrics` that has these labels; None while there is no such sample.
pub async fn sample(socket: &Path, name: &str, labels: &[&str]) -> Result<Option<f64>> {
    let (_, page) = ask(socket, "GET /metrics", 0, "").await?;
    let mut samples = page.lines().filter(|line| {
        let rest = line.strip_prefix(name);
        rest.is_some_and(|rest| rest.starts_with(['{', ' ']))
            && labels.iter().all(|label| line.contains(label))
    });
    Ok(samples.next().and_then(|sample| sample.rsplit(' ').next()?.parse().ok()))
}
