//! HTTP/2 frames by hand, for what no client library would send.

use std::time::Duration;

use anyhow::{Context as _, Result};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::client::PATIENCE;

pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
pub const PRIORITY: u8 = 2;
pub const RST_STREAM: u8 = 3;
pub const SETTINGS: u8 = 4;
pub const PING: u8 = 6;
pub const GOAWAY: u8 = 7;
pub const WINDOW_UPDATE: u8 = 8;
pub const CONTINUATION: u8 = 9;

pub const END_STREAM: u8 = 1;
pub const END_HEADERS: u8 = 4;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// A frame as it came.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Frame {
    pub kind: u8,
    pub flags: u8,
    pub stream: u32,
    pub payload: Vec<u8>,
}

/// A client's connection.
#[derive(Debug)]
pub struct Frames {
    stream: TcpStream,
}

/// A frame in bytes.
pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let [.., high, middle, low] = payload.len().to_be_bytes();
    let mut bytes = vec![high, middle, low, kind, flags];
    bytes.extend(stream.to_be_bytes());
    bytes.extend_from_slice(payload);
    bytes
}

/// Fields as HPACK literals that are not indexed (RFC 7541 §6.2.2), of less than 127 bytes each.
pub fn fields(fields: &[(&[u8], &[u8])]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        for text in [name, value] {
            block.push(u8::try_from(text.len()).ok().filter(|length| *length < 127).unwrap_or(0));
            block.extend_from_slice(text);
        }
    }
    block
}

/// The fields of a request, and these behind them.
pub fn request(method: &str, path: &str, more: &[(&[u8], &[u8])]) -> Vec<u8> {
    let mut all: Vec<(&[u8], &[u8])> = vec![
        (b":method", method.as_bytes()),
        (b":scheme", b"http"),
        (b":path", path.as_bytes()),
        (b":authority", b"a.example"),
    ];
    all.extend_from_slice(more);
    fields(&all)
}

impl Frames {
    /// Connects, and says what a client says first.
    pub async fn open(address: std::net::SocketAddr) -> Result<Self> {
        let mut stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        stream.write_all(PREFACE).await?;
        stream.write_all(&frame(SETTINGS, 0, 0, &[])).await?;
        Ok(Self { stream })
    }

    pub async fn send(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Result<()> {
        Ok(self.stream.write_all(&frame(kind, flags, stream, payload)).await?)
    }

    /// Many frames in as few writes as possible.
    pub async fn send_bytes(&mut self, bytes: &[u8]) -> Result<()> {
        Ok(self.stream.write_all(bytes).await?)
    }

    /// The next frame; None once the connection is closed, in whatever way.
    pub async fn receive(&mut self) -> Result<Option<Frame>> {
        tokio::time::timeout(PATIENCE, self.next()).await.context("no frame comes")
    }

    async fn next(&mut self) -> Option<Frame> {
        let mut header = [0; 9];
        self.stream.read_exact(&mut header).await.ok()?;
        let [high, middle, low, kind, flags, id @ ..] = header;
        let mut payload = vec![0; u32::from_be_bytes([0, high, middle, low]) as usize];
        self.stream.read_exact(&mut payload).await.ok()?;
        Some(Frame { kind, flags, stream: u32::from_be_bytes(id), payload })
    }

    /// Reads on until a frame is as wanted; None once the connection is closed.
    pub async fn until(&mut self, wanted: impl Fn(&Frame) -> bool) -> Result<Option<Frame>> {
        while let Some(frame) = self.receive().await? {
            if wanted(&frame) {
                return Ok(Some(frame));
            }
        }
        Ok(None)
    }

    /// Sends these bytes again and again, reading meanwhile. Gives how often they were sent before the connection was
    /// closed, at most `times`.
    pub async fn flood(self, bytes: &[u8], times: usize) -> usize {
        let (mut reader, mut writer) = self.stream.into_split();
        let reading = tokio::spawn(async move {
            let mut seen = vec![0; 64 * 1024];
            while reader.read(&mut seen).await.is_ok_and(|count| count > 0) {}
        });
        let mut sent = 0;
        while sent < times && !reading.is_finished() && writer.write_all(bytes).await.is_ok() {
            sent += 1;
        }
        // What was sent last may be what is too much.
        for _ in 0..100 {
            if reading.is_finished() {
                return sent.min(times - 1);
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        reading.abort();
        sent
    }
}
