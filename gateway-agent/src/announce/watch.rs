//! Tells when devices, addresses or routes of the node change.
#![expect(clippy::wildcard_enum_match_arm, reason = "netlink attributes are an open set")]

use std::pin::Pin;

use futures_util::{FutureExt as _, Stream, StreamExt};
use netlink_packet_route::RouteNetlinkMessage as Message;
use netlink_packet_route::route::{RouteMessage, RouteType};
use rtnetlink::packet_core::{NetlinkMessage, NetlinkPayload};
use rtnetlink::sys::SocketAddr;
use rtnetlink::{MulticastGroup, new_multicast_connection};

use super::{Error, PROTOCOL};

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

    /// Returns when something changed that may matter: list the devices again. What is told together counts once.
    /// Cancel-safe.
    pub async fn changed(&mut self) -> Result<(), Error> {
        loop {
            let (message, _) = self.messages.next().await.ok_or(Error::Ended)?;
            if matters(&message.payload) {
                while let Some(Some(_)) = self.messages.next().now_or_never() {}
                return Ok(());
            }
        }
    }
}

fn matters(payload: &NetlinkPayload<Message>) -> bool {
    match payload {
        NetlinkPayload::InnerMessage(Message::NewRoute(route) | Message::DelRoute(route)) => {
            is_default(route) || u8::from(route.header.protocol) == PROTOCOL
        }
        NetlinkPayload::InnerMessage(_) => true,
        // The socket's buffer ran over: who knows.
        NetlinkPayload::Overrun(_) | NetlinkPayload::Error(_) => true,
        _ => false,
    }
}

fn is_default(route: &RouteMessage) -> bool {
    route.header.destination_prefix_length == 0 && route.header.kind == RouteType::Unicast
}
