//! What translation wants to be true on this node.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use gateway_common::abi::{NoListener, Proto};
use gateway_common::ir::{GatewayId, Key, Resource, SocketId};

/// What the kernel must do: the VIPs, and the socket behind each of their ports.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Datapath {
    pub vips: BTreeMap<IpAddr, Vip>,
    pub ports: BTreeMap<VipPort, SocketId>,
}

impl Datapath {
    /// The listening sockets that the agent must hold.
    pub fn sockets(&self) -> BTreeSet<SocketId> {
        self.ports.values().cloned().collect()
    }
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Vip {
    pub gateway: GatewayId,
    pub no_listener: NoListener,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct VipPort {
    pub address: IpAddr,
    pub port: u16,
    pub proto: Proto,
}

/// What the proxy must serve.
pub type Resources = BTreeMap<Key, Resource>;

/// What the edges report back; translation turns it into `Programmed` and its reasons.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Outcomes {
    pub proxy: Proxy,
    /// Gateways and certificates that an accepting proxy has not acknowledged as they are wanted now.
    pub unacknowledged: BTreeSet<Key>,
    /// Resources that the proxy could not use, and why.
    pub proxy_problems: BTreeMap<Key, String>,
    /// VIPs that are not in the kernel, and why.
    pub vips: BTreeMap<IpAddr, String>,
    /// Ports of VIPs that are not in the kernel, and why.
    pub ports: BTreeMap<VipPort, String>,
    /// Sockets that could not be opened, and why.
    pub sockets: BTreeMap<SocketId, String>,
}

/// The proxies that accept connections.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Proxy {
    /// There is none.
    #[default]
    Absent,
    /// One of them has not yet acknowledged anything.
    Silent,
    Serving,
}
