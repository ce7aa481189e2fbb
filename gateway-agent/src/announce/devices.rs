//! Reads the node's devices, their addresses and default routes.
#![expect(clippy::wildcard_enum_match_arm, reason = "netlink attributes are an open set")]

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use futures_util::TryStreamExt;
use netlink_packet_route::AddressFamily;
use netlink_packet_route::address::AddressAttribute;
use netlink_packet_route::link::{
    InfoKind, LinkAttribute, LinkFlags, LinkInfo, LinkLayerType, LinkMessage, LinkXdp,
};
use netlink_packet_route::route::{RouteAttribute, RouteHeader, RouteMessage, RouteType};
use rtnetlink::Handle;

use super::{Error, route};
use crate::device::Device;

pub(super) async fn list(handle: &Handle, default_routes: &BTreeSet<u32>) -> Result<Vec<Device>, Error> {
    let mut devices: BTreeMap<u32, Device> =
        links(handle).await?.iter().map(|link| (link.header.index, device_of(link))).collect();
    for (index, ip) in addresses(handle).await? {
        if let Some(device) = devices.get_mut(&index) {
            device.addresses.insert(ip);
        }
    }
    for index in default_routes {
        if let Some(device) = devices.get_mut(index) {
            device.default_route = true;
        }
    }
    Ok(devices.into_values().collect())
}

/// The index of `lo`.
pub(super) async fn loopback(handle: &Handle) -> Result<u32, Error> {
    let links = links(handle).await?;
    let loopback = links.iter().find(|link| link.header.flags.contains(LinkFlags::Loopback));
    loopback.map(|link| link.header.index).ok_or(Error::NoLoopback)
}

async fn links(handle: &Handle) -> Result<Vec<LinkMessage>, Error> {
    let list = handle.link().get().execute();
    list.try_collect().await.map_err(|source| Error::List { what: "devices", source })
}

async fn addresses(handle: &Handle) -> Result<Vec<(u32, IpAddr)>, Error> {
    let mut list = handle.address().get().execute();
    let mut found = Vec::new();
    let failed = |source| Error::List { what: "addresses", source };
    while let Some(message) = list.try_next().await.map_err(failed)? {
        // On a point-to-point link `Address` is the peer's and `Local` ours.
        let local = message.attributes.iter().find_map(|a| match a {
            AddressAttribute::Local(ip) => Some(*ip),
            _ => None,
        });
        let address = message.attributes.iter().find_map(|a| match a {
            AddressAttribute::Address(ip) => Some(*ip),
            _ => None,
        });
        found.extend(local.or(address).map(|ip| (message.header.index, ip)));
    }
    Ok(found)
}

/// Devices with default routes. Costs what all routes of the node cost: the kernel cannot look for these alone.
pub(super) async fn default_routes(handle: &Handle) -> Result<BTreeSet<u32>, Error> {
    let mut found = BTreeSet::new();
    for family in [AddressFamily::Inet, AddressFamily::Inet6] {
        let mut request = RouteMessage::default();
        request.header.address_family = family;
        request.header.table = RouteHeader::RT_TABLE_MAIN;
        request.header.kind = RouteType::Unicast;
        let hear = |route: RouteMessage| {
            if is_default(&route) {
                found.extend(devices_of(&route));
            }
        };
        route::each(handle, request, hear).await?;
    }
    Ok(found)
}

/// Of the main table: in others tunnels and CNIs have default routes of their own.
fn is_default(route: &RouteMessage) -> bool {
    const MAIN: u32 = RouteHeader::RT_TABLE_MAIN as u32;
    let header = &route.header;
    let table = route.attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::Table(table) => Some(*table),
        _ => None,
    });
    let main = table.unwrap_or(u32::from(header.table)) == MAIN;
    main && header.destination_prefix_length == 0 && header.kind == RouteType::Unicast
}

fn devices_of(route: &RouteMessage) -> Vec<u32> {
    let of = |attribute: &RouteAttribute| match attribute {
        RouteAttribute::Oif(index) => vec![*index],
        RouteAttribute::MultiPath(hops) => hops.iter().map(|hop| hop.interface_index).collect(),
        _ => Vec::new(),
    };
    route.attributes.iter().flat_map(of).collect()
}

fn device_of(link: &LinkMessage) -> Device {
    let mut device = Device {
        index: link.header.index,
        loopback: link.header.flags.contains(LinkFlags::Loopback),
        ethernet: link.header.link_layer_type == LinkLayerType::Ether,
        up: link.header.flags.contains(LinkFlags::Up),
        ..Device::default()
    };
    for attribute in &link.attributes {
        match attribute {
            LinkAttribute::IfName(name) => device.name.clone_from(name),
            LinkAttribute::Mtu(mtu) => device.mtu = *mtu,
            LinkAttribute::Carrier(carrier) => device.carrier = *carrier != 0,
            LinkAttribute::Controller(index) => device.master = Some(*index),
            LinkAttribute::LinkNetNsId(_) => device.peer_elsewhere = true,
            LinkAttribute::LinkInfo(infos) => device.kind = kind_of(infos),
            LinkAttribute::Xdp(parts) => device.xdp = xdp_of(parts),
            _ => {}
        }
    }
    device
}

fn kind_of(infos: &[LinkInfo]) -> String {
    let kind = infos.iter().find_map(|info| match info {
        LinkInfo::Kind(kind) => Some(kind),
        _ => None,
    });
    kind.map(InfoKind::to_string).unwrap_or_default()
}

fn xdp_of(parts: &[LinkXdp]) -> Option<u32> {
    parts.iter().find_map(|part| match part {
        LinkXdp::ProgId(id) | LinkXdp::DrvProgId(id) | LinkXdp::SkbProgId(id) | LinkXdp::HwProgId(id) => {
            Some(*id)
        }
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn default_routes_are_of_the_main_table() {
        let route = |table: u32, length| {
            let mut route = RouteMessage::default();
            route.header.kind = RouteType::Unicast;
            route.header.destination_prefix_length = length;
            route.header.table = u8::try_from(table).unwrap_or(0);
            route.attributes.push(RouteAttribute::Table(table));
            route
        };
        assert!(is_default(&route(254, 0)));
        assert!(!is_default(&route(254, 24)));
        // Cilium's and wg-quick's.
        assert!(!is_default(&route(200, 0)) && !is_default(&route(51820, 0)));
    }
}
