//! Tells when devices, addresses or routes of the node change.
#![expect(clippy::wildcard_enum_match_arm, reason = "netlink attributes are an open set")]

use std::collections::BTreeSet;
use std::pin::Pin;

use futures_util::{FutureExt as _, Stream, StreamExt};
use netlink_packet_route::link::LinkFlags;
use netlink_packet_route::route::{RouteMessage, RouteType};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage as Message};
use rtnetlink::packet_core::{NetlinkMessage, NetlinkPayload};
use rtnetlink::sys::SocketAddr;
use rtnetlink::{MulticastGroup, new_multicast_connection};

use super::{Error, PROTOCOL};

/// What of the node to look at again.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Changed {
    /// Devices that changed, or whose addresses did, by index.
    pub devices: BTreeSet<u32>,
    /// Which devices carry default routes, whatever was known of it.
    pub default_routes: bool,
    /// The routes of VIPs.
    pub vip_routes: bool,
}

impl Changed {
    /// When nobody knows what changed.
    fn all() -> Self {
        Self { default_routes: true, vip_routes: true, devices: BTreeSet::new() }
    }

    fn of_device(index: u32) -> Self {
        Self { devices: BTreeSet::from([index]), ..Self::default() }
    }

    fn and(mut self, other: Self) -> Self {
        self.devices.extend(other.devices);
        self.default_routes |= other.default_routes;
        self.vip_routes |= other.vip_routes;
        self
    }
}

pub struct Watch {
    messages: Pin<Box<dyn Stream<Item = (NetlinkMessage<Message>, SocketAddr)> + Send>>,
}

impl Watch {
    /// Needs a tokio runtime, as [`super::Announcer::open`] does.
    pub fn open() -> Result<Self, Error> {
        use MulticastGroup::{Ipv4Ifaddr, Ipv4Route, Ipv6Ifaddr, Ipv6Route, Link};
        let groups = [Link, Ipv4Ifaddr, Ipv6Ifaddr, Ipv4Route, Ipv6Route];
        let (connection, _, messages) = new_multicast_connection(&groups).map_err(Error::Open)?;
        tokio::spawn(connection);
        Ok(Self { messages: Box::pin(messages) })
    }

    /// Returns when something changed that may matter; what is told together counts once. Cancel-safe.
    pub async fn changed(&mut self) -> Result<Changed, Error> {
        loop {
            let (message, _) = self.messages.next().await.ok_or(Error::Ended)?;
            let Some(mut changed) = matters(&message.payload) else { continue };
            while let Some(Some((message, _))) = self.messages.next().now_or_never() {
                if let Some(more) = matters(&message.payload) {
                    changed = changed.and(more);
                }
            }
            return Ok(changed);
        }
    }
}

fn matters(payload: &NetlinkPayload<Message>) -> Option<Changed> {
    match payload {
        NetlinkPayload::InnerMessage(Message::NewRoute(route) | Message::DelRoute(route)) => {
            // A local one may be that of an address which a VIP had besides: ours is to take its place.
            if u8::from(route.header.protocol) == PROTOCOL || route.header.kind == RouteType::Local {
                return Some(Changed { vip_routes: true, ..Changed::default() });
            }
            is_default(route).then(|| Changed { default_routes: true, ..Changed::default() })
        }
        NetlinkPayload::InnerMessage(Message::NewLink(link) | Message::DelLink(link)) => {
            // Our IPv6 routes go when it goes down.
            let vip_routes = link.header.flags.contains(LinkFlags::Loopback);
            Some(Changed { vip_routes, ..Changed::of_device(link.header.index) })
        }
        NetlinkPayload::InnerMessage(Message::NewAddress(address)) => {
            Some(Changed::of_device(address.header.index))
        }
        NetlinkPayload::InnerMessage(Message::DelAddress(address)) => {
            // Routes that prefer it as their source go with it, and kernels before 6.6 do not say so.
            let default_routes = address.header.family == AddressFamily::Inet;
            Some(Changed { default_routes, ..Changed::of_device(address.header.index) })
        }
        // The socket's buffer ran over: who knows.
        NetlinkPayload::Overrun(_) | NetlinkPayload::Error(_) => Some(Changed::all()),
        _ => None,
    }
}

fn is_default(route: &RouteMessage) -> bool {
    route.header.destination_prefix_length == 0 && route.header.kind == RouteType::Unicast
}

#[cfg(test)]
mod tests {
    use super::*;
    use netlink_packet_route::address::AddressMessage;
    use netlink_packet_route::link::LinkMessage;
    use netlink_packet_route::route::RouteProtocol;

    #[test]
    fn routes_are_looked_at_only_when_they_may_have_changed() {
        let route = |protocol: u8, length: u8, kind| {
            let mut route = RouteMessage::default();
            route.header.protocol = RouteProtocol::from(protocol);
            route.header.destination_prefix_length = length;
            route.header.kind = kind;
            Message::DelRoute(route)
        };
        let link = |index, flags| {
            let mut link = LinkMessage::default();
            (link.header.index, link.header.flags) = (index, flags);
            Message::NewLink(link)
        };
        let address = |index, family| {
            let mut address = AddressMessage::default();
            (address.header.index, address.header.family) = (index, family);
            Message::DelAddress(address)
        };
        let changed = |devices: &[u32], default_routes, vip_routes| {
            Some(Changed { devices: devices.iter().copied().collect(), default_routes, vip_routes })
        };
        for (message, wanted) in [
            (route(PROTOCOL, 32, RouteType::Local), changed(&[], false, true)),
            (route(2, 32, RouteType::Local), changed(&[], false, true)),
            (route(186, 24, RouteType::Unicast), None),
            (route(186, 0, RouteType::Unicast), changed(&[], true, false)),
            (link(1, LinkFlags::Loopback), changed(&[1], false, true)),
            (link(7, LinkFlags::Up), changed(&[7], false, false)),
            (address(7, AddressFamily::Inet), changed(&[7], true, false)),
            (address(7, AddressFamily::Inet6), changed(&[7], false, false)),
        ] {
            let payload = NetlinkPayload::InnerMessage(message);
            assert_eq!(matters(&payload), wanted, "{payload:?}");
        }
        let both = Changed::of_device(3).and(Changed::of_device(4)).and(Changed::all());
        assert_eq!(Some(both), changed(&[3, 4], true, true));
    }
}
