//! Addresses as map keys.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// An IPv6 address, or an IPv4 address in its v4-mapped form, in network byte order.
#[repr(transparent)]
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Addr(pub [u8; 16]);

impl Addr {
    #[inline(always)]
    pub const fn from_v4(octets: [u8; 4]) -> Self {
        let [a, b, c, d] = octets;
        Self([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, a, b, c, d])
    }

    #[inline(always)]
    pub const fn from_v6(octets: [u8; 16]) -> Self {
        Self(octets)
    }

    pub const fn from_ip(ip: IpAddr) -> Self {
        match ip {
            IpAddr::V4(v4) => Self::from_v4(v4.octets()),
            IpAddr::V6(v6) => Self::from_v6(v6.octets()),
        }
    }

    pub fn to_ip(self) -> IpAddr {
        match Ipv6Addr::from(self.0).to_ipv4_mapped() {
            Some(v4) => IpAddr::V4(v4),
            None => IpAddr::V6(Ipv6Addr::from(self.0)),
        }
    }

    pub fn is_v4(self) -> bool {
        matches!(self.to_ip(), IpAddr::V4(_))
    }
}

impl From<Ipv4Addr> for Addr {
    fn from(v4: Ipv4Addr) -> Self {
        Self::from_v4(v4.octets())
    }
}

/// The data part of a deny-list entry; the LPM trie puts the prefix length (0..=128, IPv4 + 96) before it.
pub type DenyKey = [u8; 16];
/// The value of a deny-list entry: [`DENIED`] or [`ALLOWED`].
pub type Denied = u32;
pub const DENIED: Denied = 1;
/// An exception to a shorter prefix.
pub const ALLOWED: Denied = 0;

const _: () = assert!(size_of::<Addr>() == 16 && align_of::<Addr>() == 1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn v4_is_mapped_and_comes_back() {
        for ip in ["203.0.113.10", "0.0.0.0", "2001:db8::1", "::1"] {
            let ip: IpAddr = ip.parse().unwrap();
            assert_eq!(Addr::from_ip(ip).to_ip(), ip);
        }
        assert!(Addr::from_v4([1, 2, 3, 4]).is_v4());
    }
}
