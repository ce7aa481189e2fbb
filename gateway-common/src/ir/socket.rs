//! Listening sockets: opened by the agent, used by the proxy, one reuseport group per id.

use std::fmt;
use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use super::GatewayId;

/// Names a group of listening sockets; a group has one socket per proxy worker.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum SocketId {
    /// Takes every TCP port of the Gateway: bound to a loopback address, the VIP and port of a connection are its local
    /// address.
    Tcp { gateway: GatewayId, family: Family },
    /// Bound to the VIP and port, because a reply's source port is the socket's.
    Udp { gateway: GatewayId, address: SocketAddr },
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub enum Family {
    V4,
    V6,
}

impl SocketId {
    pub fn gateway(&self) -> &GatewayId {
        match self {
            Self::Tcp { gateway, .. } | Self::Udp { gateway, .. } => gateway,
        }
    }
}

impl fmt::Display for SocketId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { gateway, family: Family::V4 } => write!(f, "{gateway} TCP IPv4"),
            Self::Tcp { gateway, family: Family::V6 } => write!(f, "{gateway} TCP IPv6"),
            Self::Udp { gateway, address } => write!(f, "{gateway} UDP {address}"),
        }
    }
}
