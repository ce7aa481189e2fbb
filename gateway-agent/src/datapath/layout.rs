//! The layout that the ABI prescribes for each pinned map, and the comparison with a map that is there: pure.

use std::fmt;

use aya::maps::{MapInfo, MapType};
use gateway_common::abi::limits::{MAX_DENY, MAX_PORTS, MAX_SOCKETS, MAX_VIPS};
use gateway_common::abi::{Addr, Denied, DenyKey, Port, PortCounters, PortKey, Reason, Vip, names};

/// What of a map must agree between the programs and us. aya compares nothing of it when it reuses a pin.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Layout {
    pub kind: MapType,
    pub key: u32,
    pub value: u32,
    pub entries: u32,
}

impl Layout {
    const fn of<K, V>(kind: MapType, entries: u32) -> Self {
        Self { kind, key: size_of::<K>() as u32, value: size_of::<V>() as u32, entries }
    }

    /// What [`gateway_common::abi`] says of the map of this name.
    pub fn of_abi(name: &str) -> Option<Self> {
        Some(match name {
            names::VIPS => Self::of::<Addr, Vip>(MapType::Hash, MAX_VIPS),
            names::PORTS => Self::of::<PortKey, Port>(MapType::Hash, MAX_PORTS),
            names::SOCKS => Self::of::<u32, u32>(MapType::SockMap, MAX_SOCKETS),
            names::PORT_STATS => Self::of::<u32, PortCounters>(MapType::PerCpuArray, MAX_PORTS),
            names::REASONS => Self::of::<u32, u64>(MapType::PerCpuArray, Reason::COUNT),
            // The trie's key begins with the prefix length.
            names::DENY => Self::of::<(u32, DenyKey), Denied>(MapType::LpmTrie, MAX_DENY),
            _ => return None,
        })
    }

    /// What the kernel says of a map.
    pub fn of_map(info: &MapInfo) -> Self {
        Self {
            kind: info.map_type().unwrap_or(MapType::Unspecified),
            key: info.key_size(),
            value: info.value_size(),
            entries: info.max_entries(),
        }
    }
}

impl fmt::Display for Layout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, key, value, entries } = self;
        write!(f, "{kind:?} with {key}-byte keys, {value}-byte values, {entries} entries")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_pinned_map_has_a_layout() {
        for name in names::PINNED_MAPS {
            assert!(Layout::of_abi(name).is_some(), "{name}");
        }
        assert_eq!(Layout::of_abi("DENY").unwrap().key, 20);
        assert_eq!(Layout::of_abi("OTHER"), None);
    }
}
