//! What the kernel holds, read by its pins: for `gatectl`, with or without an agent. Writes nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::Path;

use gateway_common::abi::names::{DENY, PORT_STATS, PORTS, REASONS, SOCKS, VIPS};
use gateway_common::abi::{Addr, DENIED, Denied, Port, PortCounters, PortKey, Proto, Reason};
use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::maps::Maps;
use super::pins::Pins;
use super::programs::{self, Filters, Program};
use super::selection::{self, Selection};
use super::{Error, features::Features};

/// The pinned state of this node.
pub struct View {
    pins: Pins,
    maps: Maps,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct VipView {
    pub address: IpAddr,
    /// The same number: the same Gateway.
    pub gateway: u32,
    /// Packets for other ports are dropped in silence.
    pub drops_without_listener: bool,
    pub ports: Vec<PortView>,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PortView {
    pub port: u16,
    /// `TCP` or `UDP`.
    pub protocol: String,
    pub slot: u32,
    pub counter: u32,
    pub packets: u64,
    pub bytes: u64,
    pub established: u64,
    pub listener: u64,
    pub lookup: u64,
    pub dropped: u64,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DropView {
    pub reason: String,
    pub count: u64,
    pub meaning: String,
}

impl View {
    /// `root`: the configured pin root.
    pub fn open(root: &Path) -> Result<Self, Error> {
        let pins = Pins::at(root);
        if !pins.exist() {
            return Err(Error::NoPins { path: pins.maps() });
        }
        Ok(Self { maps: Maps::open(&pins)?, pins })
    }

    /// VIPs in the order of their addresses, each with its ports; a port whose VIP is missing stands under its address too.
    pub fn vips(&self) -> Result<Vec<VipView>, Error> {
        let (vips, ports) = (self.maps.vips()?, self.maps.ports()?);
        let addrs: BTreeSet<Addr> = vips.keys().copied().chain(ports.keys().map(|key| key.addr)).collect();
        addrs
            .into_iter()
            .map(|addr| {
                let vip = vips.get(&addr).copied().unwrap_or_default();
                let of_addr = ports.iter().filter(|(key, _)| key.addr == addr);
                Ok(VipView {
                    address: addr.to_ip(),
                    gateway: vip.gateway,
                    drops_without_listener: vip.drops_without_listener(),
                    ports: of_addr.map(|(key, port)| self.port(key, *port)).collect::<Result<_, Error>>()?,
                })
            })
            .collect()
    }

    /// Protocols and port numbers that any VIP listens on, each once.
    pub fn listener_ports(&self) -> Result<Vec<(Proto, u16)>, Error> {
        let of = |key: &PortKey| Some((Proto::from_number(key.proto)?, key.port()));
        let ports: BTreeSet<(Proto, u16)> = self.maps.ports()?.keys().filter_map(of).collect();
        Ok(ports.into_iter().collect())
    }

    /// Whether the address is in `VIPS`.
    pub fn has_vip(&self, ip: IpAddr) -> Result<bool, Error> {
        Ok(self.maps.vips()?.contains_key(&Addr::from_ip(ip)))
    }

    fn port(&self, key: &PortKey, port: Port) -> Result<PortView, Error> {
        let counters = self.maps.counters(port.counter)?;
        let PortCounters { packets, bytes, established, listener, lookup, dropped } = counters;
        Ok(PortView {
            port: key.port(),
            protocol: protocol(key.proto),
            slot: port.slot,
            counter: port.counter,
            packets,
            bytes,
            established,
            listener,
            lookup,
            dropped,
        })
    }

    /// Every reason, those that never occurred too.
    pub fn drops(&self) -> Result<Vec<DropView>, Error> {
        let of = |(reason, count): (Reason, u64)| DropView {
            reason: reason.name().to_owned(),
            count,
            meaning: reason.explain().to_owned(),
        };
        Ok(self.maps.reasons()?.into_iter().map(of).collect())
    }

    /// The prefix of the deny list that holds an address.
    pub fn denied(&self, ip: IpAddr) -> Result<Option<IpNet>, Error> {
        Ok(self.deny()?.into_iter().find(|net| net.contains(&ip)))
    }

    pub fn deny(&self) -> Result<BTreeSet<IpNet>, Error> {
        let entries = self.maps.deny()?.into_iter();
        Ok(entries.filter(|(_, value)| *value == DENIED).map(|(net, _)| net).collect())
    }

    pub fn programs(&self, filters: &Filters) -> Result<Vec<Program>, Error> {
        programs::list(&self.pins, filters)
    }

    pub fn features(&self) -> Features {
        Features::probe()
    }

    /// Which way a new connection would go, asked of the kernel's own program.
    pub fn select(
        &self,
        proto: Proto,
        from: std::net::SocketAddr,
        to: std::net::SocketAddr,
    ) -> Result<Selection, Error> {
        selection::select(&self.pins, proto, from, to)
    }

    /// The ports of each slot; the sockets themselves cannot be read back from the kernel.
    fn slots(&self) -> Result<BTreeMap<u32, Vec<String>>, Error> {
        let mut slots: BTreeMap<u32, Vec<String>> = BTreeMap::new();
        for (key, port) in self.maps.ports()? {
            slots.entry(port.slot).or_default().push(name_of(&key));
        }
        Ok(slots)
    }

    /// The entries of a map, decoded: a list of `key` and `value`.
    pub fn dump(&self, name: &str) -> Result<Value, Error> {
        let entry = |key: Value, value: Value| json!({ "key": key, "value": value });
        let entries: Vec<Value> = match name {
            VIPS => {
                let value = |vip: &gateway_common::abi::Vip| json!({ "gateway": vip.gateway, "dropsWithoutListener": vip.drops_without_listener() });
                self.maps.vips()?.iter().map(|(addr, vip)| entry(json!(addr.to_ip()), value(vip))).collect()
            }
            PORTS => {
                let value = |port: &Port| json!({ "slot": port.slot, "counter": port.counter });
                self.maps.ports()?.iter().map(|(key, port)| entry(json!(name_of(key)), value(port))).collect()
            }
            SOCKS => {
                self.slots()?.into_iter().map(|(slot, ports)| entry(json!(slot), json!(ports))).collect()
            }
            PORT_STATS => {
                let mut entries = Vec::new();
                for (key, port) in self.maps.ports()? {
                    let view = serde_json::to_value(self.port(&key, port)?);
                    entries.push(entry(json!(name_of(&key)), view.unwrap_or_default()));
                }
                entries
            }
            REASONS => {
                self.drops()?.into_iter().map(|drop| entry(json!(drop.reason), json!(drop.count))).collect()
            }
            DENY => {
                let value = |value: Denied| json!({ "denied": value == DENIED });
                self.maps.deny()?.into_iter().map(|(net, of)| entry(json!(net), value(of))).collect()
            }
            _ => return Err(Error::UnknownMap { name: name.to_owned() }),
        };
        Ok(Value::Array(entries))
    }
}

fn protocol(number: u8) -> String {
    Proto::from_number(number).map_or_else(|| number.to_string(), |proto| proto.name().to_owned())
}

fn name_of(key: &PortKey) -> String {
    let address = std::net::SocketAddr::new(key.addr.to_ip(), key.port());
    format!("{address}/{}", protocol(key.proto))
}
