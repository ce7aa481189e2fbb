//! The network of a test: a client behind a router, a node, and a Pod network behind the node.
//!
//! ```text
//! client ───────────── router ───────────── node ───────────── pods
//! 192.0.2.2            .1   .1  198.51.100.2   10.0.1.1  10.0.1.2 … .9
//! 2001:db8:1::2       ::1   ::1 2001:db8:2::2  2001:db8:3::1  ::2 … ::9
//! ```
//!
//! The router sends the VIP networks 203.0.113.0/24 and 2001:db8:f::/64 to the node. The node's link to the router is a
//! plain device or one of [`Uplink`]; it knows no way to the Pods. Each topology has its own namespaces, so equal addresses never meet.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use anyhow::{Context as _, Result};

use crate::netns::{Netns, veth};

pub const CLIENT_V4: IpAddr = v4(192, 0, 2, 2);
pub const CLIENT_V6: IpAddr = v6(1, 2);
pub const ROUTER_V4: IpAddr = v4(198, 51, 100, 1);
pub const ROUTER_V6: IpAddr = v6(2, 1);
pub const NODE_V4: IpAddr = v4(198, 51, 100, 2);
pub const NODE_V6: IpAddr = v6(2, 2);
pub const NODE_POD_V4: IpAddr = v4(10, 0, 1, 1);
pub const NODE_POD_V6: IpAddr = v6(3, 1);
/// Pods have the host numbers 2 to 9.
pub const PODS: std::ops::RangeInclusive<u8> = 2..=9;
/// The networks that VIPs come from.
pub const VIPS_V4: &str = "203.0.113.0/24";
pub const VIPS_V6: &str = "2001:db8:f::/64";

/// A VIP by its host number.
pub const fn vip_v4(host: u8) -> IpAddr {
    v4(203, 0, 113, host)
}

/// A VIP by its host number.
pub const fn vip_v6(host: u16) -> IpAddr {
    v6(0xf, host)
}

/// A Pod by its host number, one of [`PODS`].
pub const fn pod_v4(host: u8) -> IpAddr {
    v4(10, 0, 1, host)
}

/// A Pod by its host number, one of [`PODS`].
pub const fn pod_v6(host: u8) -> IpAddr {
    v6(3, host as u16)
}

const fn v4(a: u8, b: u8, c: u8, d: u8) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(a, b, c, d))
}

const fn v6(net: u16, host: u16) -> IpAddr {
    IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, net, 0, 0, 0, 0, host))
}

/// What carries the node's addresses towards the router.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Uplink {
    #[default]
    Plain,
    /// 802.1Q on both ends.
    Vlan,
    /// 802.1ad outside, 802.1Q inside.
    QinQ,
    /// A bridge with the device as its port.
    Bridge,
    /// An active-backup bond.
    Bond,
}

impl Uplink {
    /// The node's device with the addresses.
    pub const fn device(self) -> &'static str {
        match self {
            Self::Plain => "eth0",
            Self::Vlan => "eth0.100",
            Self::QinQ => "eth0.10.20",
            Self::Bridge => "br0",
            Self::Bond => "bond0",
        }
    }

    /// The module of the kernel that makes the device.
    pub const fn module(self) -> &'static str {
        match self {
            Self::Plain => "veth",
            Self::Vlan | Self::QinQ => "8021q",
            Self::Bridge => "bridge",
            Self::Bond => "bonding",
        }
    }

    /// Whether this kernel can make the device. A test that leaves an uplink out for this must say so.
    pub fn available(self) -> Result<bool> {
        let scratch = Netns::new("probe")?;
        let probe = match self {
            Self::Plain => return Ok(true),
            // `lo` carries no VLANs.
            Self::Vlan => {
                "link add under type veth
                 link add link under name probe type vlan id 100"
            }
            Self::QinQ => {
                "link add under type veth
                 link add link under name probe type vlan proto 802.1ad id 10"
            }
            Self::Bridge => "link add probe type bridge",
            Self::Bond => "link add probe type bond",
        };
        Ok(scratch.ip(probe).is_ok())
    }
}

#[derive(Debug)]
pub struct Topology {
    pub client: Netns,
    pub router: Netns,
    pub node: Netns,
    /// The node's Pods share one namespace, each with an address of its own.
    pub pods: Netns,
    uplink: Uplink,
}

impl Topology {
    pub fn new(uplink: Uplink) -> Result<Self> {
        let topology = Self {
            client: Netns::new("client")?,
            router: Netns::new("router")?,
            node: Netns::new("node")?,
            pods: Netns::new("pods")?,
            uplink,
        };
        topology.route()?;
        topology.client_side()?;
        topology.node_side()?;
        topology.pod_side()?;
        Ok(topology)
    }

    /// The node's device with the addresses.
    pub fn device(&self) -> &'static str {
        self.uplink.device()
    }

    fn route(&self) -> Result<()> {
        for netns in [&self.router, &self.node] {
            netns.sysctl("net.ipv4.ip_forward", "1")?;
            netns.sysctl("net.ipv6.conf.all.forwarding", "1")?;
        }
        Ok(())
    }

    fn client_side(&self) -> Result<()> {
        veth(&self.client, "eth0", &self.router, "clients")?;
        self.router.ip("addr add 192.0.2.1/24 dev clients
             addr add 2001:db8:1::1/64 dev clients nodad")?;
        self.client.ip("addr add 192.0.2.2/24 dev eth0
             addr add 2001:db8:1::2/64 dev eth0 nodad
             route add default via 192.0.2.1
             route add default via 2001:db8:1::1")
    }

    fn node_side(&self) -> Result<()> {
        veth(&self.node, "eth0", &self.router, "nodes")?;
        let uplink = self.uplink;
        let router = self.lay_uplink().with_context(|| {
            format!("lay the uplink {uplink:?}: does this kernel have {}?", uplink.module())
        })?;
        let node = self.uplink.device();
        self.router.ip(&format!(
            "addr add 198.51.100.1/24 dev {router}
             addr add 2001:db8:2::1/64 dev {router} nodad
             route add {VIPS_V4} via 198.51.100.2
             route add {VIPS_V6} via 2001:db8:2::2"
        ))?;
        self.node.ip(&format!(
            "addr add 198.51.100.2/24 dev {node}
             addr add 2001:db8:2::2/64 dev {node} nodad
             route add default via 198.51.100.1
             route add default via 2001:db8:2::1"
        ))
    }

    /// Builds what lies between `eth0` and the device with the addresses; the router's device with its addresses.
    fn lay_uplink(&self) -> Result<&'static str> {
        match self.uplink {
            Uplink::Plain => Ok("nodes"),
            Uplink::Vlan => {
                self.node.ip("link add link eth0 name eth0.100 type vlan id 100
                     link set eth0.100 up")?;
                self.router.ip("link add link nodes name nodes.100 type vlan id 100
                     link set nodes.100 up")?;
                Ok("nodes.100")
            }
            Uplink::QinQ => {
                for (netns, device) in [(&self.node, "eth0"), (&self.router, "nodes")] {
                    netns.ip(&format!(
                        "link add link {device} name {device}.10 type vlan proto 802.1ad id 10
                         link set {device}.10 up
                         link add link {device}.10 name {device}.10.20 type vlan id 20
                         link set {device}.10.20 up"
                    ))?;
                }
                Ok("nodes.10.20")
            }
            Uplink::Bridge => {
                self.node.ip("link add br0 type bridge forward_delay 0
                     link set eth0 master br0
                     link set br0 up")?;
                Ok("nodes")
            }
            Uplink::Bond => {
                self.node.ip("link set eth0 down
                     link add bond0 type bond mode active-backup miimon 100
                     link set eth0 master bond0
                     link set bond0 up")?;
                Ok("nodes")
            }
        }
    }

    fn pod_side(&self) -> Result<()> {
        veth(&self.node, "veth0", &self.pods, "eth0")?;
        self.node.ip("addr add 10.0.1.1/24 dev veth0
             addr add 2001:db8:3::1/64 dev veth0 nodad")?;
        let addresses: String = PODS
            .map(|host| {
                format!("addr add 10.0.1.{host}/24 dev eth0\naddr add 2001:db8:3::{host}/64 dev eth0 nodad\n")
            })
            .collect();
        self.pods.ip(&addresses)?;
        self.pods.ip("route add default via 10.0.1.1
             route add default via 2001:db8:3::1")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read as _, Write as _};
    use std::net::{SocketAddr, TcpListener, TcpStream};

    /// One connection, and who the server saw.
    fn seen(server: &Netns, address: IpAddr, client: &Netns) -> IpAddr {
        let listener = server.run(|| TcpListener::bind((address, 8080))).unwrap();
        let mut stream = client.run(|| TcpStream::connect(SocketAddr::new(address, 8080))).unwrap();
        let (mut accepted, peer) = listener.accept().unwrap();
        stream.write_all(b"x").unwrap();
        accepted.read_exact(&mut [0]).unwrap();
        peer.ip()
    }

    fn check(uplink: Uplink) {
        let topology = Topology::new(uplink).unwrap();
        assert_eq!(seen(&topology.node, NODE_V4, &topology.client), CLIENT_V4);
        assert_eq!(seen(&topology.node, NODE_V6, &topology.client), CLIENT_V6);
        assert_eq!(seen(&topology.pods, pod_v4(2), &topology.node), NODE_POD_V4);
        assert_eq!(seen(&topology.pods, pod_v6(9), &topology.node), NODE_POD_V6);
    }

    #[test]
    fn clients_reach_the_node_and_the_node_its_pods() {
        check(Uplink::Plain);
    }

    #[test]
    fn a_bridge_carries_the_node_s_addresses() {
        check(Uplink::Bridge);
    }

    /// By module that not every kernel has: `cargo xtask test` asks the kernel, and runs them where it can.
    mod needs_8021q {
        use super::*;

        #[test]
        #[ignore = "needs a kernel with 8021q"]
        fn vlans_carry_the_node_s_addresses() {
            check(Uplink::Vlan);
            check(Uplink::QinQ);
        }
    }

    mod needs_bonding {
        use super::*;

        #[test]
        #[ignore = "needs a kernel with bonding"]
        fn a_bond_carries_the_node_s_addresses() {
            check(Uplink::Bond);
        }
    }
}
