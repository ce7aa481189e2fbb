//! Network devices of the node, and which of them carry VIP traffic from outside: pure.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

/// A network device as the kernel describes it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct Device {
    pub index: u32,
    pub name: String,
    /// The kernel's kind (`veth`, `bond`, `vlan`, `bridge`, …); empty for a physical device.
    pub kind: String,
    pub loopback: bool,
    /// Its packets begin with an Ethernet header, which our programs read; those of tunnels like WireGuard do not.
    pub ethernet: bool,
    pub up: bool,
    pub carrier: bool,
    pub mtu: u32,
    /// The bond or bridge that it belongs to.
    pub master: Option<u32>,
    /// Its other end or lower device is in another network namespace.
    pub peer_elsewhere: bool,
    pub addresses: BTreeSet<IpAddr>,
    /// A default route of the main table leaves through it.
    pub default_route: bool,
    /// The XDP program on it.
    pub xdp: Option<u32>,
}

/// Addresses that make something else of the node reachable. What is on `lo` alone is there for its services.
pub fn addresses(devices: &[Device]) -> BTreeMap<IpAddr, String> {
    let others = devices.iter().filter(|device| !device.loopback);
    let of =
        |device: &Device| device.addresses.iter().map(|ip| (*ip, device.name.clone())).collect::<Vec<_>>();
    others.flat_map(of).filter(|(ip, _)| is_global(*ip)).collect()
}

/// Which devices the operator named. Empty include: the default choice.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Globs {
    pub include: Vec<String>,
    pub exclude: Vec<String>,
}

/// Devices of CNIs, container engines and tunnels; their Pods reach VIPs through `sk_lookup`.
const NOT_BY_DEFAULT: &[&str] = &[
    "cni*",
    "cilium*",
    "lxc*",
    "flannel*",
    "tunl*",
    "docker*",
    "br-*",
    "veth*",
    "cali*",
    "vxlan*",
    "geneve*",
    "gre*",
    "gretap*",
    "erspan*",
    "ip6tnl*",
    "ip6gre*",
    "ip_vti*",
    "ip6_vti*",
    "sit*",
    "kube-ipvs*",
    "kube-bridge*",
    "nodelocaldns*",
    "weave*",
    "antrea*",
    "ovn*",
    "ovs*",
    "genev_sys*",
    "nerdctl*",
    "podman*",
    "lxd*",
    "virbr*",
    "dummy*",
    "ifb*",
    "azv*",
    "netkit*",
];

impl Globs {
    /// The devices to attach to, in the order of their names.
    pub fn select<'a>(&self, devices: &'a [Device]) -> Vec<&'a Device> {
        let mut chosen: Vec<&Device> = devices.iter().filter(|device| self.takes(device)).collect();
        chosen.sort_by(|a, b| a.name.cmp(&b.name));
        chosen
    }

    /// Devices that were named, not merely matched, although no program of ours can run there.
    pub fn unfit<'a>(&self, devices: &'a [Device]) -> impl Iterator<Item = &'a Device> {
        let fits = |device: &&Device| !device.ethernet && self.include.contains(&device.name);
        devices.iter().filter(fits)
    }

    fn takes(&self, device: &Device) -> bool {
        let named = |globs: &[String]| globs.iter().any(|glob| matches(glob, &device.name));
        if device.loopback || !device.ethernet || named(&self.exclude) {
            return false;
        }
        if self.include.is_empty() { by_default(device) } else { named(&self.include) }
    }
}

/// Carries an address of the node or a default route, and is none of a CNI's.
fn by_default(device: &Device) -> bool {
    // A bond's or bridge's port hands its packets up; the master is the one to take.
    if device.master.is_some() {
        return false;
    }
    // Whatever its name: what leads to the world brings the world's packets.
    if device.default_route {
        return true;
    }
    if NOT_BY_DEFAULT.iter().any(|glob| matches(glob, &device.name)) {
        return false;
    }
    // A Pod's veth has at most a gateway address like 169.254.1.1. Tunnels bring other people's packets; name them.
    let ours = ["", "bond", "team", "vlan", "bridge", "macvlan", "ipvlan", "tun", "veth"];
    ours.contains(&device.kind.as_str()) && device.addresses.iter().any(|ip| is_global(*ip))
}

/// Scope global: neither loopback nor link-local.
fn is_global(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(v4) => !v4.is_loopback() && !v4.is_link_local() && !v4.is_unspecified(),
        IpAddr::V6(v6) => !v6.is_loopback() && !v6.is_unicast_link_local() && !v6.is_unspecified(),
    }
}

/// `*` stands for any characters, `?` for one.
fn matches(glob: &str, name: &str) -> bool {
    let (glob, name): (Vec<char>, Vec<char>) = (glob.chars().collect(), name.chars().collect());
    let (mut g, mut n) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while n < name.len() {
        match glob.get(g) {
            Some('*') => {
                star = Some((g, n));
                g += 1;
            }
            Some(c) if *c == '?' || *c == name[n] => {
                g += 1;
                n += 1;
            }
            _ => {
                let Some((at, from)) = star else { return false };
                star = Some((at, from + 1));
                g = at + 1;
                n = from + 1;
            }
        }
    }
    glob[g..].iter().all(|c| *c == '*')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn device(name: &str, kind: &str, addresses: &[&str]) -> Device {
        Device {
            name: name.into(),
            kind: kind.into(),
            up: true,
            ethernet: true,
            addresses: addresses.iter().map(|a| a.parse().unwrap()).collect(),
            ..Device::default()
        }
    }

    fn chosen(globs: &Globs, devices: &[Device]) -> Vec<String> {
        globs.select(devices).into_iter().map(|device| device.name.clone()).collect()
    }

    #[test]
    fn by_default_the_node_s_own_devices() {
        let node = [
            Device { loopback: true, ..device("lo", "", &["127.0.0.1", "10.255.0.1"]) },
            Device { default_route: true, ..device("eth0", "", &["192.0.2.5"]) },
            Device { master: Some(9), ..device("eth1", "", &[]) },
            Device { default_route: true, ..device("bond0", "bond", &[]) },
            device("bond0.100", "vlan", &["2001:db8::5"]),
            device("br0", "bridge", &["198.51.100.7"]),
            device("eth2", "", &["fe80::1"]),
            Device { peer_elsewhere: true, ..device("calia1b2", "veth", &["fe80::2"]) },
            Device { peer_elsewhere: true, ..device("pod7", "veth", &["169.254.1.1"]) },
            Device { peer_elsewhere: true, ..device("uplink", "veth", &["10.9.0.1"]) },
            device("cni0", "bridge", &["10.42.0.1"]),
            device("docker0", "bridge", &["172.17.0.1"]),
            device("flannel.1", "vxlan", &["10.42.0.0"]),
            device("wg0", "wireguard", &["10.8.0.1"]),
            Device { ethernet: false, ..device("tun0", "tun", &["10.8.1.1"]) },
            Device { ethernet: false, default_route: true, ..device("ppp0", "ppp", &["10.8.2.1"]) },
        ];
        assert_eq!(chosen(&Globs::default(), &node), ["bond0", "bond0.100", "br0", "eth0", "uplink"]);
    }

    #[test]
    fn addresses_are_of_devices_that_are_not_lo() {
        let node = [
            Device { loopback: true, ..device("lo", "", &["127.0.0.1", "10.255.0.1"]) },
            device("eth0", "", &["192.0.2.5", "fe80::1"]),
            device("pod7", "veth", &["169.254.1.1"]),
            device("dummy0", "dummy", &["2001:db8::5"]),
        ];
        let wanted = [("192.0.2.5", "eth0"), ("2001:db8::5", "dummy0")];
        let wanted = wanted.map(|(ip, name)| (ip.parse().unwrap(), name.to_owned()));
        assert_eq!(addresses(&node), BTreeMap::from(wanted));
    }

    #[test]
    fn globs_override_all_but_loopback() {
        let node = [
            Device { loopback: true, ..device("lo", "", &["127.0.0.1"]) },
            device("cni0", "bridge", &["10.42.0.1"]),
            device("eth0", "", &["192.0.2.5"]),
            device("eth1", "", &[]),
        ];
        let globs = |include: &[&str], exclude: &[&str]| Globs {
            include: include.iter().map(ToString::to_string).collect(),
            exclude: exclude.iter().map(ToString::to_string).collect(),
        };
        assert_eq!(chosen(&globs(&["*"], &["eth1"]), &node), ["cni0", "eth0"]);
        assert_eq!(chosen(&globs(&["eth?"], &[]), &node), ["eth0", "eth1"]);
        let tunnel = [Device { ethernet: false, ..device("wg0", "wireguard", &["10.8.0.1"]) }];
        for (include, unfit) in [("wg0", 1), ("*", 0)] {
            let globs = globs(&[include], &[]);
            assert_eq!(
                (chosen(&globs, &tunnel).len(), globs.unfit(&tunnel).count()),
                (0, unfit),
                "{include}"
            );
        }
        assert_eq!(chosen(&globs(&[], &["eth*"]), &node), Vec::<String>::new());
    }

    #[test]
    fn glob_matching() {
        for (glob, name, want) in [
            ("eth0", "eth0", true),
            ("eth0", "eth01", false),
            ("eth*", "eth", true),
            ("*.100", "bond0.100", true),
            ("*0*0", "bond0.100", true),
            ("e?h*", "eth0.1", true),
            ("", "", true),
            ("*", "", true),
            ("?", "", false),
        ] {
            assert_eq!(matches(glob, name), want, "{glob} {name}");
        }
    }
}
