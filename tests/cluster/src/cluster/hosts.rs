//! The hosts of a cluster's network and their addresses. Pure.
//!
//! ```text
//!  n1 n2 n3 …  control  client          far-client
//!   │  │  │       │       │                 │
//!  ─┴──┴──┴───┬───┴───────┴─ lan           ─┴─┬─ far
//!             └─────────── router ────────────┘
//! ```
//!
//! Each is a network namespace; a further one, the switch, holds the two segments as bridges. Nothing is in the machine's
//! own namespace, so that every cluster can have the same addresses.

use std::net::{Ipv4Addr, Ipv6Addr};

pub const CONTROL: &str = "control";
pub const ROUTER: &str = "router";
pub const CLIENT: &str = "client";
pub const FAR_CLIENT: &str = "far-client";
pub(crate) const SWITCH: &str = "switch";

/// As many as fit between the first node's address and those that are left for virtual addresses.
pub const MOST_NODES: u8 = 32;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Segment {
    /// Nodes, control plane, client.
    Lan,
    /// Behind the router.
    Far,
}

/// A device on a segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    pub device: &'static str,
    pub segment: Segment,
    pub v4: Ipv4Addr,
    pub v6: Ipv6Addr,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    pub name: String,
    pub interfaces: Vec<Interface>,
    /// Passes on what is not for itself.
    pub(crate) forwards: bool,
}

impl Segment {
    pub(crate) fn bridge(self) -> &'static str {
        match self {
            Self::Lan => "lan",
            Self::Far => "far",
        }
    }

    fn number(self) -> u8 {
        match self {
            Self::Lan => 30,
            Self::Far => 31,
        }
    }

    /// The router's last octet is 1 on both.
    pub(crate) fn address(self, last: u8) -> (Ipv4Addr, Ipv6Addr) {
        // In hexadecimal it reads as the decimal does: fd00:30::11 is 172.30.0.11.
        let readable = |n: u8| u16::from(n / 100) << 8 | u16::from(n / 10 % 10) << 4 | u16::from(n % 10);
        let v4 = Ipv4Addr::new(172, self.number(), 0, last);
        (v4, Ipv6Addr::new(0xfd00, readable(self.number()), 0, 0, 0, 0, 0, readable(last)))
    }

    pub(crate) fn router(self) -> (Ipv4Addr, Ipv6Addr) {
        self.address(1)
    }
}

impl Interface {
    fn new(device: &'static str, segment: Segment, last: u8) -> Self {
        let (v4, v6) = segment.address(last);
        Self { device, segment, v4, v6 }
    }

    /// The same after a node was off and on again.
    pub(crate) fn mac(&self) -> String {
        let [a, b, c, d] = self.v4.octets();
        format!("02:00:{a:02x}:{b:02x}:{c:02x}:{d:02x}")
    }

    /// The switch's port that it is plugged in.
    pub(crate) fn port(&self, host: &str) -> String {
        match (host, self.segment) {
            (ROUTER, Segment::Far) => "far-router".to_owned(),
            _ => host.to_owned(),
        }
    }
}

impl Host {
    fn new(name: &str, interfaces: Vec<Interface>, forwards: bool) -> Self {
        Self { name: name.to_owned(), interfaces, forwards }
    }

    /// Node number `index`, from 1.
    pub fn node(index: u8) -> Self {
        Self::new(&format!("n{index}"), vec![Interface::new("eth0", Segment::Lan, 10 + index)], true)
    }

    pub(crate) fn control() -> Self {
        Self::new(CONTROL, vec![Interface::new("eth0", Segment::Lan, 2)], false)
    }

    pub(crate) fn router() -> Self {
        let interfaces =
            vec![Interface::new("eth0", Segment::Lan, 1), Interface::new("eth1", Segment::Far, 1)];
        Self::new(ROUTER, interfaces, true)
    }

    pub(crate) fn clients() -> [Self; 2] {
        [(CLIENT, Segment::Lan), (FAR_CLIENT, Segment::Far)]
            .map(|(name, segment)| Self::new(name, vec![Interface::new("eth0", segment, 3)], false))
    }

    /// What others know it by.
    pub fn addresses(&self) -> (Ipv4Addr, Ipv6Addr) {
        let first = &self.interfaces[0];
        (first.v4, first.v6)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_addresses_read_alike() {
        assert_eq!(
            Host::node(2).addresses(),
            ("172.30.0.12".parse().unwrap(), "fd00:30::12".parse().unwrap())
        );
        assert_eq!(Segment::Far.address(128).1, "fd00:31::128".parse::<Ipv6Addr>().unwrap());
    }

    #[test]
    fn every_port_has_one_plug() {
        let mut hosts = vec![Host::control(), Host::router()];
        hosts.extend(Host::clients());
        hosts.extend((1..=MOST_NODES).map(Host::node));
        let plugs =
            |host: &Host| host.interfaces.iter().map(|i| (i.port(&host.name), i.mac())).collect::<Vec<_>>();
        let (mut ports, mut macs): (Vec<_>, Vec<_>) = hosts.iter().flat_map(plugs).unzip();
        assert!(ports.iter().all(|port| port.len() <= 15), "{ports:?}");
        let count = ports.len();
        ports.sort();
        ports.dedup();
        macs.sort();
        macs.dedup();
        assert_eq!((ports.len(), macs.len()), (count, count));
    }
}
