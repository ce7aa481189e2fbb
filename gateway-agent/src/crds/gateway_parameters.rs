//! `GatewayParameters`: what the Gateway API has no field for, per Gateway (`spec.infrastructure.parametersRef`).
//!
//! The doc comments are the descriptions in the CRD. Numbers and CIDRs are checked by [`validate`], not while reading,
//! so that a bad one is reported on the Gateway instead of hiding the object.

mod validate;

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::duration::DurationText;
pub use validate::{Parameters, validate};

/// Settings of a Gateway that the Gateway API has no field for.
///
/// A Gateway uses the object that its `spec.infrastructure.parametersRef` names (group `gatehouse.dev`, kind
/// `GatewayParameters`), in its own namespace. A field that is left out has its default.
#[derive(CustomResource, Clone, PartialEq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "gatehouse.dev",
    version = "v1alpha1",
    kind = "GatewayParameters",
    plural = "gatewayparameters",
    category = "gateway-api",
    doc = "What the Gateway API has no field for, per Gateway.",
    namespaced,
    derive = "PartialEq"
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct GatewayParametersSpec {
    /// Whom to believe about the client's address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_identity: Option<ClientIdentity>,
    /// Listeners whose clients come through a load balancer that sends the PROXY protocol.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub proxy_protocol: Vec<ProxyProtocol>,
    /// What to do differently towards certain backends.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256))]
    pub backends: Vec<BackendParameters>,
    /// How long to wait. Each is a Gateway API duration such as `10s`, `1m30s` or `250ms`, above zero.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeouts: Option<Timeouts>,
    /// How much one Gateway may use on each node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limits: Option<Limits>,
    /// The access log. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub access_log: Option<AccessLog>,
    /// How request paths are read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<PathHandling>,
    /// What happens on a TCP port of the Gateway's addresses that no listener has: `Reject` answers with a reset, as a
    /// host without a service does; `Drop` is silent and counted. Default: `Reject`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub no_listener: Option<NoListener>,
}

/// Whom to believe about the client's address.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ClientIdentity {
    /// CIDRs of proxies before this Gateway. Their `X-Forwarded-For`, `X-Forwarded-Proto`, `X-Forwarded-Host`,
    /// `X-Forwarded-Port` and `Forwarded` are kept and appended to; from everybody else they are replaced. Default: nobody.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256), inner(length(max = 43)))]
    pub trusted_proxies: Vec<String>,
}

/// The PROXY protocol, v1 or v2, on one listener or on one port. Exactly one of `sectionName` and `port` is set.
///
/// The header comes before TLS and before the listener is chosen by name, so it holds for every listener of the port.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ProxyProtocol {
    /// The name of a listener with a protocol over TCP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub section_name: Option<String>,
    /// A port number of listeners with a protocol over TCP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65535))]
    pub port: Option<i32>,
    /// CIDRs of the load balancers whose header is believed.
    #[schemars(length(min = 1, max = 256), inner(length(max = 43)))]
    pub trusted: Vec<String>,
    /// True: a connection from any other peer, or without a header, is closed. False: any other peer is served as the
    /// client that it is. Default: true.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub strict: Option<bool>,
}

/// What to do differently towards one Service.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct BackendParameters {
    pub service: ServiceSelector,
    /// Send a PROXY protocol header of this version at the start of each connection; towards UDP, `V2` before each datagram,
    /// and `V1` is refused. Default: none is sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proxy_protocol: Option<ProxyProtocolVersion>,
}

/// A Service, or one of its ports.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ServiceSelector {
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// Default: the namespace of this object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub namespace: Option<String>,
    /// Default: all ports of the Service for which no other entry names the port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65535))]
    pub port: Option<i32>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub enum ProxyProtocolVersion {
    V1,
    V2,
}

/// How long to wait.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Timeouts {
    /// For a whole PROXY protocol header. Default: 3s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proxy_header: Option<DurationText>,
    /// For a whole TLS handshake. Default: 10s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub handshake: Option<DurationText>,
    /// From the first byte of a request to the end of its header. Default: 10s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub header: Option<DurationText>,
    /// Between two requests of a client's connection. Default: 1m5s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idle: Option<DurationText>,
    /// Without a byte of a request's body from the client. Default: 1m.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body_idle: Option<DurationText>,
    /// Without a byte in either direction of a TCP, passed-through TLS or upgraded (WebSocket) connection. Default: 1h.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stream_idle: Option<DurationText>,
    /// For a connection to one endpoint of a backend. Default: 5s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connect: Option<DurationText>,
    /// Of an unused connection to a backend; to be shorter than the backend's own, or requests meet its close. Default: 4s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upstream_idle: Option<DurationText>,
    /// A UDP session without a datagram in either direction. Default: 1m.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub udp_idle: Option<DurationText>,
}

/// How much one Gateway may use on each node.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Limits {
    /// Client connections; the next one is closed at once. Default: 50000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 10_000_000))]
    pub connections: Option<u32>,
    /// Bytes of a request's header section; more is answered with 431. Default: 61440.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 8_192, max = 1_048_576))]
    pub header_bytes: Option<u32>,
    /// Fields of a request's header section; more are answered with 431. Above 100, HTTP/1.1 takes a slower path. Default: 100.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000))]
    pub headers: Option<u32>,
    /// Concurrent streams of one HTTP/2 connection. Default: 100.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 10_000))]
    pub streams: Option<u32>,
    /// UDP sessions; the one that was idle longest makes room. Default: 16384.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_048_576))]
    pub udp_sessions: Option<u32>,
}

/// One line per request, connection or UDP session on the proxy's standard output.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AccessLog {
    pub format: AccessLogFormat,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub enum AccessLogFormat {
    None,
    #[serde(rename = "JSON")]
    Json,
}

/// How request paths are read.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PathHandling {
    /// Read `//` as `/`, for matching and towards the backend. Default: false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub merge_slashes: Option<bool>,
    /// A path with `%2F` or `%5C`: `Keep` leaves them as they are, and they never separate path elements; `Reject` answers
    /// with 400. Default: `Keep`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub escaped_slashes: Option<EscapedSlashes>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub enum EscapedSlashes {
    Keep,
    Reject,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub enum NoListener {
    Reject,
    Drop,
}
