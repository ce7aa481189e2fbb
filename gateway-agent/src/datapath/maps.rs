//! The pinned maps as typed handles: reading what is there, applying one planned write.

use std::collections::BTreeMap;
use std::os::fd::BorrowedFd;

use aya::maps::lpm_trie::Key;
use aya::maps::{HashMap, LpmTrie, Map, MapData, MapError, PerCpuArray, PerCpuValues, SockMap};
use aya::util::nr_cpus;
use gateway_common::abi::names::{DENY, PORT_STATS, PORTS, REASONS, SOCKS, VIPS};
use gateway_common::abi::{Addr, Denied, DenyKey, Port, PortCounters, PortKey, Reason, Vip};
use ipnet::IpNet;

use super::Error;
use super::deny::{key_of, net_of};
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

    pub fn deny(&self) -> Result<BTreeMap<IpNet, Denied>, Error> {
        let entries: Result<Vec<_>, _> = self.deny.iter().collect();
        let entries = entries.map_err(|e| Error::map("read", DENY, e))?;
        let net = |(key, value): (Key<DenyKey>, Denied)| Some((net_of(key.prefix_len(), key.data())?, value));
        Ok(entries.into_iter().filter_map(net).collect())
    }

    pub(super) fn put_deny(&mut self, net: IpNet, value: Denied) -> Result<(), Error> {
        self.deny.insert(&key_of(net), value, 0).map_err(|e| Error::map("write", DENY, e))
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
