//! What the admin sockets of agent and proxy answer with, as JSON over HTTP/1.1 on a Unix socket, and what `gatectl`
//! reads from them.
//!
//! | socket | path | answer |
//! |---|---|---|
//! | proxy | `GET /status` | [`ProxyStatus`] |
//! | proxy | `GET /connections` | `[Connection]` |
//! | proxy | `GET /backends` | `[BackendStatus]` |
//! | proxy | `GET /listeners` | `[ListenerStatus]` |
//! | proxy | `GET /routes` | `[RouteStatus]` |
//! | proxy | `POST /route-test` ([`RouteQuery`]) | [`RouteAnswer`] |
//! | proxy | `GET /metrics` | Prometheus text format |
//! | proxy | `GET /ready` | 200 once a first full configuration is served, else 503 |
//! | agent | `GET /status` | [`AgentStatus`] |
//! | agent | `GET /objects` | `[ObjectStatus]` |

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use crate::ir::{BackendId, Filter, GatewayId, Problem, RouteId};

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ProxyStatus {
    pub pid: u32,
    pub version: String,
    /// Seconds since it started.
    pub uptime_seconds: u64,
    pub generation: u64,
    pub draining: bool,
    /// Connected to the agent's control socket.
    pub agent_connected: bool,
    pub workers: u32,
    pub connections: u64,
    pub problems: Vec<Problem>,
}

/// One client connection (or UDP session).
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Connection {
    pub gateway: GatewayId,
    /// `HTTP/1.1`, `HTTP/2`, `TLS`, `TCP` or `UDP`.
    pub protocol: String,
    /// The client's address: the peer, or what a trusted PROXY header said.
    pub client: SocketAddr,
    pub vip: SocketAddr,
    /// The endpoint used last.
    pub backend: Option<SocketAddr>,
    /// Smoothed round-trip time to the peer in microseconds (`tcp_info`).
    pub rtt_us: Option<u32>,
    pub age_ms: u64,
    pub bytes_in: u64,
    pub bytes_out: u64,
    /// Requests begun on it; HTTP only.
    pub requests: u64,
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BackendStatus {
    pub id: BackendId,
    pub endpoints: Vec<EndpointStatus>,
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EndpointStatus {
    pub address: SocketAddr,
    /// `ready`, `draining` (terminating but serving) or `ejected` (consecutive connect failures).
    pub state: String,
    /// Requests and streams in flight, all workers.
    pub active: u64,
    /// Open connections, all workers.
    pub connections: u64,
    pub requests: u64,
    pub connect_failures: u64,
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ListenerStatus {
    pub gateway: GatewayId,
    pub name: String,
    pub port: u16,
    /// `HTTP`, `HTTPS`, `TLS`, `TCP` or `UDP`.
    pub protocol: String,
    pub hostname: Option<String>,
    pub routes: usize,
    /// Connections open on this port.
    pub connections: u64,
    /// Certificates it can serve.
    pub certificates: Vec<String>,
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RouteStatus {
    pub id: RouteId,
    pub gateway: GatewayId,
    pub port: u16,
    pub listener: String,
    pub hostnames: Vec<String>,
    pub rules: Vec<RuleSummary>,
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RuleSummary {
    pub name: Option<String>,
    /// One line per match, as `GET PathPrefix /api header x=1`.
    pub matches: Vec<String>,
    /// Names of its filters.
    pub filters: Vec<String>,
    /// `id weight`.
    pub backends: Vec<String>,
}

/// A request that is asked about and not made.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RouteQuery {
    /// None: every Gateway that has the host.
    pub gateway: Option<GatewayId>,
    pub port: Option<u16>,
    pub host: String,
    pub path: String,
    pub method: String,
    pub headers: Vec<(String, String)>,
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RouteAnswer {
    pub results: Vec<RouteResult>,
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RouteResult {
    pub gateway: GatewayId,
    pub port: u16,
    pub listener: Option<String>,
    /// The source object; None: nothing matches, the client gets 404.
    pub route: Option<RouteId>,
    /// Its rule: number from 0, and name.
    pub rule: Option<usize>,
    pub rule_name: Option<String>,
    /// The match of that rule that won, as [`RuleSummary::matches`] writes it.
    pub matched: Option<String>,
    pub filters: Vec<Filter>,
    /// The backends it may go to with their weights and endpoints.
    pub backends: Vec<RouteBackend>,
    /// What the client would get without a backend being asked: 301, 404, 500, 503, 421 …
    pub status: Option<u16>,
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RouteBackend {
    pub id: Option<BackendId>,
    pub weight: u32,
    pub endpoints: usize,
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AgentStatus {
    pub pid: u32,
    pub version: String,
    pub uptime_seconds: u64,
    pub node: String,
    /// The source, as `directory /etc/gatehouse`.
    pub source: String,
    /// The generation translated last, and the one each proxy acknowledged.
    pub generation: u64,
    pub proxies: Vec<ProxyPeer>,
    /// It starts proxies itself (`--proxy spawn`), and so can replace them.
    #[serde(default)]
    pub spawns_proxies: bool,
    /// Its `--device`.
    #[serde(default)]
    pub devices: Vec<String>,
    /// Its `--exclude-device`.
    #[serde(default)]
    pub exclude_devices: Vec<String>,
    /// Files or objects that the source could not read.
    pub source_errors: Vec<String>,
    /// What the last reconcile could not do.
    pub errors: Vec<String>,
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ProxyPeer {
    pub pid: u32,
    pub acknowledged: u64,
    pub draining: bool,
}

/// One object of the source, and its status as it would stand in the API server.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ObjectStatus {
    pub api_version: String,
    pub kind: String,
    pub namespace: Option<String>,
    pub name: String,
    pub generation: i64,
    /// The file it came from.
    pub origin: Option<String>,
    pub status: serde_json::Value,
}
