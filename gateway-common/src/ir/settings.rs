//! What a Gateway's `GatewayParameters` say, defaults filled in. Sources of the defaults: `docs/configuration.md`.

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Settings {
    /// Peers whose `X-Forwarded-*` and `Forwarded` are appended to; everybody else's are replaced.
    pub trusted_proxies: Vec<IpNet>,
    pub timeouts: TimeoutSettings,
    pub limits: Limits,
    pub access_log: AccessLog,
    pub merge_slashes: bool,
    pub escaped_slashes: EscapedSlashes,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum AccessLog {
    #[default]
    Off,
    Json,
}

/// What happens to `%2F` and `%5C` in a path.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum EscapedSlashes {
    /// Left as they are; they never separate path elements.
    #[default]
    Keep,
    /// 400.
    Reject,
}

/// Milliseconds.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TimeoutSettings {
    /// PROXY protocol header.
    pub proxy_header_ms: u64,
    /// TLS handshake, ClientHello included.
    pub handshake_ms: u64,
    /// From the first byte of a request to the end of its header.
    pub header_ms: u64,
    /// Between two requests of a client connection.
    pub idle_ms: u64,
    /// Without a byte of a request body from the client.
    pub body_idle_ms: u64,
    /// Without a byte in either direction of a TCP connection, an upgraded connection or a passed-through TLS connection.
    pub stream_idle_ms: u64,
    /// To a backend's endpoint.
    pub connect_ms: u64,
    /// Of a pooled connection to a backend.
    pub upstream_idle_ms: u64,
    /// A UDP session without a datagram.
    pub udp_idle_ms: u64,
}

impl Default for TimeoutSettings {
    fn default() -> Self {
        Self {
            proxy_header_ms: 3_000,
            handshake_ms: 10_000,
            header_ms: 10_000,
            idle_ms: 65_000,
            body_idle_ms: 60_000,
            stream_idle_ms: 3_600_000,
            connect_ms: 5_000,
            upstream_idle_ms: 4_000,
            udp_idle_ms: 60_000,
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Limits {
    /// Client connections of the Gateway on one node; the next is closed at once.
    pub connections: u32,
    /// Bytes of a request's header section (431).
    pub header_bytes: u32,
    /// Fields of a request's header section (431). Above 100, HTTP/1.1 takes a slower path.
    pub headers: u32,
    /// Concurrent streams of one HTTP/2 connection.
    pub streams: u32,
    /// UDP sessions of the Gateway on one node; the oldest idle one makes room.
    pub udp_sessions: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self { connections: 50_000, header_bytes: 61_440, headers: 100, streams: 100, udp_sessions: 16_384 }
    }
}
