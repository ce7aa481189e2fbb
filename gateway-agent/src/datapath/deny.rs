//! The deny list of XDP: prefixes as keys of a trie in which IPv4 is a corner of IPv6.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use aya::maps::lpm_trie::Key;
use gateway_common::abi::{ALLOWED, Addr, DENIED, Denied, DenyKey};
use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::{Datapath, Error};

/// What the trie holds for these prefixes. One of IPv6 that holds the mapped addresses, such as `::/0`, is not about IPv4.
fn entries(wanted: &BTreeSet<IpNet>) -> BTreeMap<IpNet, Denied> {
    let mut entries: BTreeMap<IpNet, Denied> = wanted.iter().map(|net| (net.trunc(), DENIED)).collect();
    let all = IpNet::V4(Ipv4Net::default());
    let covers = |net: &IpNet| matches!(net, IpNet::V6(net) if net.contains(&mapped()));
    if wanted.iter().any(covers) {
        entries.entry(all).or_insert(ALLOWED);
    }
    entries
}

/// `::ffff:0:0/96`: IPv4 addresses as keys have this prefix.
const fn mapped() -> Ipv6Net {
    Ipv6Net::new_assert(std::net::Ipv4Addr::UNSPECIFIED.to_ipv6_mapped(), 96)
}

pub(super) fn key_of(net: IpNet) -> Key<DenyKey> {
    let length = match net {
        IpNet::V4(v4) => u32::from(v4.prefix_len()) + 96,
        IpNet::V6(v6) => u32::from(v6.prefix_len()),
    };
    Key::new(length, Addr::from_ip(net.network()).0)
}

pub(super) fn net_of(length: u32, data: DenyKey) -> Option<IpNet> {
    let length = u8::try_from(length).ok()?;
    match Addr(data).to_ip() {
        IpAddr::V4(v4) if length >= 96 => Ipv4Net::new(v4, length - 96).ok().map(IpNet::V4),
        IpAddr::V4(v4) => Ipv6Net::new(v4.to_ipv6_mapped(), length).ok().map(IpNet::V6),
        IpAddr::V6(v6) => Ipv6Net::new(v6, length).ok().map(IpNet::V6),
    }
}

impl Datapath {
    /// Makes XDP drop the configured prefixes and no others.
    pub(super) fn set_deny(&mut self, wanted: &BTreeSet<IpNet>) -> Result<(), Error> {
        self.deny = entries(wanted);
        self.restore_deny().map(drop)
    }

    /// How many entries of the trie were not as configured.
    pub(super) fn restore_deny(&mut self) -> Result<usize, Error> {
        let there = self.maps.deny()?;
        let missing = self.deny.iter().filter(|(net, value)| there.get(*net) != Some(*value));
        let extra = there.keys().filter(|net| !self.deny.contains_key(*net));
        let mut changes = 0;
        for (net, value) in missing {
            self.maps.put_deny(*net, *value)?;
            changes += 1;
        }
        for net in extra {
            self.maps.remove_deny(*net)?;
            changes += 1;
        }
        Ok(changes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nets(texts: &[&str]) -> BTreeSet<IpNet> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn keys_come_back_as_the_same_prefix() {
        for net in nets(&["198.51.100.0/24", "0.0.0.0/0", "192.0.2.1/32", "2001:db8::/32", "::/0"]) {
            let key = key_of(net);
            assert_eq!(net_of(key.prefix_len(), key.data()), Some(net));
        }
    }

    #[test]
    fn a_prefix_of_ipv6_is_not_about_ipv4() {
        let all: IpNet = "0.0.0.0/0".parse().unwrap();
        for (texts, wanted) in [
            (&["::/0"][..], Some(ALLOWED)),
            (&["::/64", "198.51.100.0/24"], Some(ALLOWED)),
            (&["::/0", "0.0.0.0/0"], Some(DENIED)),
            (&["2001:db8::/32", "::1/128", "198.51.100.0/24"], None),
        ] {
            let entries = entries(&nets(texts));
            assert_eq!(entries.get(&all).copied(), wanted, "{texts:?}");
            assert!(nets(texts).iter().all(|net| entries[net] == DENIED), "{texts:?}");
        }
    }
}
