//! A Gateway: its ports, their listeners and its settings.

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::{CertificateId, GatewayId, Hostname, Settings};

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Gateway {
    pub id: GatewayId,
    /// Ordered by protocol and port; a port number may occur once for TCP-based protocols and once for UDP.
    pub ports: Vec<Port>,
    pub settings: Settings,
}

/// Everything that listens on one port number. Which listener gets a connection is decided by SNI or Host.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Port {
    pub port: u16,
    pub protocol: PortProtocol,
    /// Set: connections from these peers must begin with a PROXY protocol header.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proxy_protocol: Option<ProxyProtocolIn>,
    pub listeners: Vec<Listener>,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum PortProtocol {
    /// HTTP/1.1 and HTTP/2 with prior knowledge.
    Http,
    /// HTTPS and TLS listeners, told apart by SNI.
    Tls,
    Tcp,
    Udp,
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Listener {
    pub name: String,
    /// None: every name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hostname: Option<Hostname>,
    pub protocol: ListenerProtocol,
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ListenerProtocol {
    Http,
    /// Terminates TLS; the certificate is chosen among these by SNI, the first is the default.
    Https {
        certificates: Vec<CertificateId>,
    },
    /// Forwards the TLS connection unopened.
    TlsPassthrough,
    Tcp,
    Udp,
}

/// PROXY protocol v1 and v2 (HAProxy's proxy-protocol.txt) from a load balancer before us.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct ProxyProtocolIn {
    /// Peers whose header is believed.
    pub trusted: Vec<IpNet>,
    /// True: a connection from any other peer, or without a header, is closed. False: an untrusted peer is served as the client
    /// that it is and must not send a header.
    pub strict: bool,
}
