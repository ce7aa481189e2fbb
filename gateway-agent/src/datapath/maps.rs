//! The pinned maps as typed handles: reading what is there, applying one planned write.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::os::fd::BorrowedFd;

use aya::maps::lpm_trie::Key;
use aya::maps::{HashMap, LpmTrie, Map, MapData, MapError, PerCpuArray, PerCpuValues, SockMap};
use aya::util::nr_cpus;
use gateway_common::abi::names::{DENY, PORT_STATS, PORTS, REASONS, SOCKS, VIPS};
use gateway_common::abi::{Addr, Denied, DenyKey, Port, PortCounters, PortKey, Reason, Vip};
use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::Error;
use super::pins::Pins;

/// A write succeeds only where nothing is.
const BPF_NOEXIST: u64 = 1;

/// All maps, opened by their pins; the views are checked against the kernel's own description.
pub struct Maps {
    vips: HashMap<MapData, Addr, Vip>,
    ports: HashMap<MapData, PortKey, Port>,
    socks: SockMap<MapData>,
    port_stats: PerCpuArray<MapData, PortCounters>,
    reasons: PerCpuArray<MapData, u64>,
    deny: LpmTrie<MapData, DenyKey, Denied>,
}

impl Maps {
    pub fn open(pins: &Pins) -> Result<Self, Error> {
        Ok(Self {
            vips: open(pins, VIPS)?,
            ports: open(pins, PORTS)?,
            socks: open(pins, SOCKS)?,
            port_stats: open(pins, PORT_STATS)?,
            reasons: open(pins, REASONS)?,
            deny: open(pins, DENY)?,
        })
    }

    pub fn vips(&self) -> Result<BTreeMap<Addr, Vip>, Error> {
        self.vips.iter().collect::<Result<_, _>>().map_err(|e| Error::map("read", VIPS, e))
    }

    pub fn ports(&self) -> Result<BTreeMap<PortKey, Port>, Error> {
        self.ports.iter().collect::<Result<_, _>>().map_err(|e| Error::map("read", PORTS, e))
    }

    /// The sum over CPUs.
    pub fn counters(&self, index: u32) -> Result<PortCounters, Error> {
        let values = self.port_stats.get(&index, 0).map_err(|e| Error::map("read", PORT_STATS, e))?;
        Ok(PortCounters::sum(values.iter()))
    }

    /// The sum over CPUs, by reason.
    pub fn reasons(&self) -> Result<BTreeMap<Reason, u64>, Error> {
        let sum = |reason: Reason| {
            let values = self.reasons.get(&(reason as u32), 0).map_err(|e| Error::map("read", REASONS, e))?;
            Ok((reason, values.iter().sum()))
        };
        Reason::ALL.into_iter().map(sum).collect()
    }

    pub fn deny(&self) -> Result<BTreeSet<IpNet>, Error> {
        let keys: Result<Vec<_>, _> = self.deny.keys().collect();
        let keys = keys.map_err(|e| Error::map("read", DENY, e))?;
        Ok(keys.into_iter().filter_map(|key| net_of(key.prefix_len(), key.data())).collect())
    }

    pub(super) fn put_deny(&mut self, net: IpNet) -> Result<(), Error> {
        self.deny.insert(&key_of(net), 1, 0).map_err(|e| Error::map("write", DENY, e))
    }

    pub(super) fn remove_deny(&mut self, net: IpNet) -> Result<(), Error> {
        missing_is_fine(self.deny.remove(&key_of(net))).map_err(|e| Error::map("delete from", DENY, e))
    }

    pub(super) fn set_socket(&mut self, slot: u32, socket: BorrowedFd<'_>) -> Result<(), Error> {
        self.socks.set(slot, &socket, 0).map_err(|e| Error::map("write", SOCKS, e))
    }

    /// Puts the socket into the slot if that is empty; whether it was.
    pub(super) fn fill_socket(&mut self, slot: u32, socket: BorrowedFd<'_>) -> Result<bool, Error> {
        match self.socks.set(slot, &socket, BPF_NOEXIST) {
            Err(MapError::SyscallError(e)) if e.io_error.raw_os_error() == Some(libc::EEXIST) => Ok(false),
            result => result.map(|()| true).map_err(|e| Error::map("write", SOCKS, e)),
        }
    }

    pub(super) fn clear_socket(&mut self, slot: u32) -> Result<(), Error> {
        missing_is_fine(self.socks.clear_index(&slot)).map_err(|e| Error::map("delete from", SOCKS, e))
    }

    pub(super) fn reset_counter(&mut self, index: u32) -> Result<(), Error> {
        let cpus = nr_cpus().map_err(|(path, e)| Error::io("read", path.as_ref(), e))?;
        let zero = PerCpuValues::try_from(vec![PortCounters::default(); cpus])
            .map_err(|e| Error::io("allocate", PORT_STATS.as_ref(), e))?;
        self.port_stats.set(index, zero, 0).map_err(|e| Error::map("write", PORT_STATS, e))
    }

    pub(super) fn put_port(&mut self, key: &PortKey, port: Port) -> Result<(), Error> {
        self.ports.insert(key, port, 0).map_err(|e| Error::map("write", PORTS, e))
    }

    pub(super) fn remove_port(&mut self, key: &PortKey) -> Result<(), Error> {
        missing_is_fine(self.ports.remove(key)).map_err(|e| Error::map("delete from", PORTS, e))
    }

    pub(super) fn put_vip(&mut self, addr: &Addr, vip: Vip) -> Result<(), Error> {
        self.vips.insert(addr, vip, 0).map_err(|e| Error::map("write", VIPS, e))
    }

    pub(super) fn remove_vip(&mut self, addr: &Addr) -> Result<(), Error> {
        missing_is_fine(self.vips.remove(addr)).map_err(|e| Error::map("delete from", VIPS, e))
    }
}

fn open<T>(pins: &Pins, name: &'static str) -> Result<T, Error>
where
    T: TryFrom<Map, Error = MapError>,
{
    MapData::from_pin(pins.map(name))
        .and_then(Map::from_map_data)
        .and_then(T::try_from)
        .map_err(|e| Error::map("open", name, e))
}

/// Deleting what is not there is what we wanted; a sockmap says EINVAL for an empty slot.
fn missing_is_fine(result: Result<(), MapError>) -> Result<(), MapError> {
    match result {
        Err(MapError::KeyNotFound) => Ok(()),
        Err(MapError::SyscallError(e))
            if matches!(e.io_error.raw_os_error(), Some(libc::ENOENT | libc::EINVAL)) =>
        {
            Ok(())
        }
        other => other,
    }
}

fn key_of(net: IpNet) -> Key<DenyKey> {
    let length = match net {
        IpNet::V4(v4) => u32::from(v4.prefix_len()) + 96,
        IpNet::V6(v6) => u32::from(v6.prefix_len()),
    };
    Key::new(length, Addr::from_ip(net.network()).0)
}

fn net_of(length: u32, data: DenyKey) -> Option<IpNet> {
    let length = u8::try_from(length).ok()?;
    match Addr(data).to_ip() {
        IpAddr::V4(v4) if length >= 96 => Ipv4Net::new(v4, length - 96).ok().map(IpNet::V4),
        IpAddr::V4(v4) => Ipv6Net::new(v4.to_ipv6_mapped(), length).ok().map(IpNet::V6),
        IpAddr::V6(v6) => Ipv6Net::new(v6, length).ok().map(IpNet::V6),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deny_keys_come_back_as_the_same_prefix() {
        for net in ["198.51.100.0/24", "0.0.0.0/0", "192.0.2.1/32", "2001:db8::/32", "::/0"] {
            let net: IpNet = net.parse().unwrap();
            let key = key_of(net);
            assert_eq!(net_of(key.prefix_len(), key.data()), Some(net));
        }
    }
}
