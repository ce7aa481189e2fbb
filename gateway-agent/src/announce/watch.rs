//! Tells when devices, addresses or routes of the node change.
#![expect(clippy::wildcard_enum_match_arm, reason = "netlink attributes are an open set")]

use std::pin::Pin;

use futures_util::{FutureExt as _, Stream, StreamExt};
use netlink_packet_route::RouteNetlinkMessage as Message;
use netlink_packet_route::link::LinkFlags;
use netlink_packet_route::route::{RouteMessage, RouteType};
use rtnetlink::packet_core::{NetlinkMessage, NetlinkPayload};
use rtnetlink::sys::SocketAddr;
use rtnetlink::{MulticastGroup, new_multicast_connection};

use super::{Error, PROTOCOL};

/// How much of the node to look at again; what is greater includes what is less.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Changed {
    /// Devices and their addresses.
    Devices,
    /// The routes of VIPs besides.
    Routes,
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
                changed = matters(&message.payload).map_or(changed, |more| changed.max(more));
            }
            return Ok(changed);
        }
    }
}

fn matters(payload: &NetlinkPayload<Message>) -> Option<Changed> {
    match payload {
        NetlinkPayload::InnerMessage(Message::NewRoute(route) | Message::DelRoute(route)) => {
            if u8::from(route.header.protocol) == PROTOCOL {
                return Some(Changed::Routes);
            }
            // That of an address which a VIP had besides: ours is to take its place.
            if route.header.kind == RouteType::Local {
                return Some(Changed::Routes);
            }
            is_default(route).then_some(Changed::Devices)
        }
        // Our IPv6 routes go when it goes down.
        NetlinkPayload::InnerMessage(Message::NewLink(link))
            if link.header.flags.contains(LinkFlags::Loopback) =>
        {
            Some(Changed::Routes)
        }
        NetlinkPayload::InnerMessage(_) => Some(Changed::Devices),
        // The socket's buffer ran over: who knows.
        NetlinkPayload::Overrun(_) | NetlinkPayload::Error(_) => Some(Changed::Routes),
        _ => None,
    }
}

fn is_default(route: &RouteMessage) -> bool {
    route.header.destination_prefix_length == 0 && route.header.kind == RouteType::Unicast
}

#[cfg(test)]
mod tests {
    use super::*;
    use netlink_packet_route::link::LinkMessage;
    use netlink_packet_route::route::RouteProtocol;

    #[test]
    fn routes_are_looked_at_only_when_they_may_have_changed() {
        let mut ours = RouteMessage::default();
        ours.header.protocol = RouteProtocol::from(PROTOCOL);
        let mut foreign = RouteMessage::default();
        foreign.header.destination_prefix_length = 24;
        let mut local = foreign.clone();
        local.header.kind = RouteType::Local;
        let (device, mut lo) = (LinkMessage::default(), LinkMessage::default());
        lo.header.flags = LinkFlags::Loopback;
        for (message, wanted) in [
            (Message::DelRoute(ours), Some(Changed::Routes)),
            (Message::DelRoute(foreign), None),
            (Message::DelRoute(local), Some(Changed::Routes)),
            (Message::NewLink(lo), Some(Changed::Routes)),
            (Message::NewLink(device), Some(Changed::Devices)),
        ] {
            let payload = NetlinkPayload::InnerMessage(message);
            assert_eq!(matters(&payload), wanted, "{payload:?}");
        }
        assert!(Changed::Routes > Changed::Devices);
    }
}
