//! Which device the node would use to reach an address, and so where that client's packets most likely arrive.
#![expect(clippy::wildcard_enum_match_arm, reason = "netlink attributes are an open set")]
use std::net::IpAddr;

use futures_util::TryStreamExt;
use netlink_packet_route::AddressFamily;
use netlink_packet_route::route::{RouteAttribute, RouteMessage, RouteType};
use rtnetlink::Handle;

use super::Error;

/// The device's index; None: the address is of this node, or nothing leads there.
pub(super) async fn device(handle: &Handle, ip: IpAddr) -> Result<Option<u32>, Error> {
    let Some(route) = route(handle, ip).await? else { return Ok(None) };
    if route.header.kind != RouteType::Unicast {
        return Ok(None);
    }
    Ok(route.attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::Oif(index) => Some(*index),
        _ => None,
    }))
}

pub(super) async fn is_local(handle: &Handle, ip: IpAddr) -> Result<bool, Error> {
    match route(handle, ip).await {
        Ok(route) => Ok(route.is_some_and(|route| route.header.kind == RouteType::Local)),
        // Nothing leads there: ENETUNREACH.
        Err(Error::List { source: rtnetlink::Error::NetlinkError(_), .. }) => Ok(false),
        Err(error) => Err(error),
    }
}

/// The route that the kernel would take.
async fn route(handle: &Handle, ip: IpAddr) -> Result<Option<RouteMessage>, Error> {
    // Not the builder's, whose table and scope are refused by a strict check.
    let mut message = RouteMessage::default();
    let (family, length) = if ip.is_ipv4() { (AddressFamily::Inet, 32) } else { (AddressFamily::Inet6, 128) };
    message.header.address_family = family;
    message.header.destination_prefix_length = length;
    message.attributes.push(RouteAttribute::Destination(ip.into()));
    let mut answers = handle.route().get(message).execute();
    let failed = |source| Error::List { what: "the route to an address", source };
    answers.try_next().await.map_err(failed)
}
