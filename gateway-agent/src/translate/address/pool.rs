//! Free addresses of the pools.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

/// The first free address of the family, in the order of the pools.
pub(super) fn free(pools: &[IpNet], v4: bool, taken: impl Fn(IpAddr) -> bool) -> Option<IpAddr> {
    pools.iter().filter(|pool| pool.addr().is_ipv4() == v4).find_map(|pool| {
        let (mut address, last) = range(pool);
        loop {
            if !taken(address) {
                return Some(address);
            }
            if address >= last {
                return None;
            }
            address = next(address);
        }
    })
}

/// Without the network and the broadcast address (IPv4) and the subnet-router anycast address (RFC 4291 §2.6.1).
fn range(pool: &IpNet) -> (IpAddr, IpAddr) {
    match pool {
        IpNet::V4(net) if net.prefix_len() < 31 => {
            let (first, last) = (u32::from(net.network()), u32::from(net.broadcast()));
            (Ipv4Addr::from(first + 1).into(), Ipv4Addr::from(last - 1).into())
        }
        IpNet::V4(net) => (net.network().into(), net.broadcast().into()),
        IpNet::V6(net) if net.prefix_len() < 127 => {
            (Ipv6Addr::from(u128::from(net.network()) + 1).into(), net.broadcast().into())
        }
        IpNet::V6(net) => (net.network().into(), net.broadcast().into()),
    }
}

fn next(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(address) => Ipv4Addr::from(u32::from(address).saturating_add(1)).into(),
        IpAddr::V6(address) => Ipv6Addr::from(u128::from(address).saturating_add(1)).into(),
    }
}

/// Whether a Gateway may name the address: any host address, or with pools, one of theirs.
pub(super) fn usable(address: IpAddr, pools: &[IpNet]) -> Result<(), String> {
    let host = !address.is_unspecified()
        && !address.is_loopback()
        && !address.is_multicast()
        && match address {
            IpAddr::V4(v4) => !v4.is_broadcast() && !v4.is_link_local(),
            IpAddr::V6(v6) => v6.to_ipv4_mapped().is_none() && !v6.is_unicast_link_local(),
        };
    if !host {
        return Err(format!(
            "{address} is not an address that a Gateway can have; choose a unicast address that is routed"
        ));
    }
    if pools.is_empty() || pools.iter().any(|pool| pool.contains(&address)) {
        Ok(())
    } else {
        Err(format!("{address} is outside every address pool ({}); choose one inside", list(pools)))
    }
}

pub(super) fn none_left(pools: &[IpNet]) -> String {
    if pools.is_empty() {
        "there is no address pool; configure one, or name an address in spec.addresses".to_owned()
    } else {
        format!("no address is left in the pools ({}); enlarge them, or delete a Gateway", list(pools))
    }
}

fn list(pools: &[IpNet]) -> String {
    let pools: Vec<_> = pools.iter().map(ToString::to_string).collect();
    pools.join(", ")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn check(pool: &str, v4: bool, want: &[&str]) {
        let pools: Vec<IpNet> = pool.split(' ').map(|p| p.parse().unwrap()).collect();
        let mut taken = BTreeSet::new();
        while let Some(address) = free(&pools, v4, |a| taken.contains(&a)) {
            assert!(taken.insert(address));
            assert!(taken.len() < 100, "endless");
        }
        let want: BTreeSet<IpAddr> = want.iter().map(|a| a.parse().unwrap()).collect();
        assert_eq!(taken, want, "{pool}");
    }

    #[test]
    fn pools_are_used_up_without_the_reserved_addresses() {
        check("192.0.2.0/30", true, &["192.0.2.1", "192.0.2.2"]);
        check("192.0.2.0/31", true, &["192.0.2.0", "192.0.2.1"]);
        check("192.0.2.7/32 192.0.2.9/32 2001:db8::/127", true, &["192.0.2.7", "192.0.2.9"]);
        check("255.255.255.255/32", true, &["255.255.255.255"]);
        check("192.0.2.0/30 2001:db8::/126", false, &["2001:db8::1", "2001:db8::2", "2001:db8::3"]);
        check("2001:db8::5/128", false, &["2001:db8::5"]);
    }

    #[test]
    fn addresses_that_nobody_can_have() {
        for text in [
            "0.0.0.0",
            "127.0.0.1",
            "224.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "ff02::1",
            "::ffff:192.0.2.1",
            "169.254.1.1",
            "fe80::1",
        ] {
            assert!(usable(text.parse().unwrap(), &[]).is_err(), "{text}");
        }
        let pools = ["192.0.2.0/24".parse().unwrap()];
        assert!(usable("192.0.2.9".parse().unwrap(), &pools).is_ok());
        assert!(usable("192.0.3.9".parse().unwrap(), &pools).is_err());
        assert!(usable("192.0.3.9".parse().unwrap(), &[]).is_ok());
    }
}
