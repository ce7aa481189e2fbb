//! Backends: one upstream pool each, whatever routes use it.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use super::BackendId;

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Backend {
    pub id: BackendId,
    pub protocol: BackendProtocol,
    /// Ordered by address. Empty: 503.
    pub endpoints: Vec<Endpoint>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proxy_protocol: Option<ProxyProtocolOut>,
}

/// From the Service port's `appProtocol` (KEP-3726); TCP and UDP routes ignore it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum BackendProtocol {
    /// HTTP/1.1, WebSocket included.
    #[default]
    Http1,
    /// `kubernetes.io/h2c`: HTTP/2 with prior knowledge.
    H2c,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Endpoint {
    pub address: SocketAddr,
    pub state: EndpointState,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum EndpointState {
    Ready,
    /// Terminating but still serving: used only when nothing is ready.
    Draining,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ProxyProtocolOut {
    V1,
    V2,
}
