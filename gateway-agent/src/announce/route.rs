//! AnyIP: one `local VIP dev lo` route per VIP makes the stack accept its packets. It carries no address, so it never
//! becomes a source address.
#![expect(clippy::wildcard_enum_match_arm, reason = "netlink attributes are an open set")]

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use futures_util::TryStreamExt;
use netlink_packet_route::AddressFamily;
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteMessage, RouteProtocol, RouteScope, RouteType,
};
use rtnetlink::{Handle, RouteMessageBuilder};

use super::{Error, devices};

/// `proto` of our routes (`ip route show table local proto 71`): whose they are, whoever looks. Not in iproute2's
/// rt_protos, and no routing daemon's.
pub const PROTOCOL: u8 = 71;
/// `RT_TABLE_LOCAL`
const TABLE_LOCAL: u8 = 255;

/// What to add and what to remove.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Plan {
    pub add: BTreeSet<IpAddr>,
    pub remove: BTreeSet<IpAddr>,
}

/// From the routes of ours that are there to the VIPs that are wanted: pure.
pub fn plan(observed: &BTreeSet<IpAddr>, wanted: &BTreeSet<IpAddr>) -> Plan {
    Plan { add: wanted - observed, remove: observed - wanted }
}

/// What could not be done, by VIP; the rest is done.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Outcome {
    pub problems: BTreeMap<IpAddr, String>,
    pub changes: usize,
}

pub(super) async fn list(handle: &Handle) -> Result<BTreeSet<IpAddr>, Error> {
    let mut found = BTreeSet::new();
    for family in [AddressFamily::Inet, AddressFamily::Inet6] {
        each(handle, ours(family), |route| found.extend(vip_of(&route))).await?;
    }
    Ok(found)
}

/// Hears of every route that `request` asks for.
pub(super) async fn each(
    handle: &Handle,
    request: RouteMessage,
    mut hear: impl FnMut(RouteMessage),
) -> Result<(), Error> {
    let mut routes = handle.route().get(request).execute();
    while let Some(route) =
        routes.try_next().await.map_err(|source| Error::List { what: "routes", source })?
    {
        hear(route);
    }
    Ok(())
}

/// Asks for our routes alone: there may be a million others.
fn ours(family: AddressFamily) -> RouteMessage {
    let mut request = RouteMessage::default();
    request.header.address_family = family;
    request.header.table = TABLE_LOCAL;
    request.header.protocol = RouteProtocol::from(PROTOCOL);
    request.header.kind = RouteType::Local;
    request
}

pub(super) async fn install(handle: &Handle, vips: &BTreeSet<IpAddr>) -> Result<Outcome, Error> {
    let loopback = devices::loopback(handle).await?;
    let mut outcome = Outcome::default();
    for ip in plan(&list(handle).await?, vips).add {
        let added = handle.route().add(message(ip, loopback)).execute().await;
        match added.map_err(|e| errno(&e).ok_or(e)) {
            Ok(()) => {
                tracing::info!(vip = %ip, "route added");
                outcome.changes += 1;
            }
            // An address of a device: the kernel's own route makes it local already.
            Err(Ok(libc::EEXIST)) => tracing::debug!(vip = %ip, "a local route of another origin is there"),
            Err(Ok(libc::ENETDOWN)) => {
                let text = "add its local route: the loopback device is down; run `ip link set lo up`";
                outcome.problems.insert(ip, text.to_owned());
            }
            Err(Ok(errno)) => {
                let error = std::io::Error::from_raw_os_error(errno);
                outcome.problems.insert(ip, format!("add its local route: {error}"));
            }
            Err(Err(error)) => drop(outcome.problems.insert(ip, format!("add its local route: {error}"))),
        }
    }
    Ok(outcome)
}

pub(super) async fn withdraw(handle: &Handle, vips: &BTreeSet<IpAddr>) -> Result<Outcome, Error> {
    let loopback = devices::loopback(handle).await?;
    let mut outcome = Outcome::default();
    for ip in plan(&list(handle).await?, vips).remove {
        match handle.route().del(message(ip, loopback)).execute().await {
            Ok(()) => {
                tracing::info!(vip = %ip, "route removed");
                outcome.changes += 1;
            }
            Err(error) if errno(&error) == Some(libc::ESRCH) => {}
            Err(error) => drop(outcome.problems.insert(ip, format!("remove its local route: {error}"))),
        }
    }
    Ok(outcome)
}

fn message(ip: IpAddr, loopback: u32) -> RouteMessage {
    match ip {
        IpAddr::V4(v4) => RouteMessageBuilder::<Ipv4Addr>::new()
            .destination_prefix(v4, 32)
            .kind(RouteType::Local)
            .scope(RouteScope::Host)
            .protocol(RouteProtocol::from(PROTOCOL))
            .table_id(TABLE_LOCAL.into())
            .output_interface(loopback)
            .build(),
        IpAddr::V6(v6) => RouteMessageBuilder::<Ipv6Addr>::new()
            .destination_prefix(v6, 128)
            .kind(RouteType::Local)
            .protocol(RouteProtocol::from(PROTOCOL))
            .table_id(TABLE_LOCAL.into())
            .output_interface(loopback)
            .build(),
    }
}

/// The address of a route that is one of ours.
fn vip_of(route: &RouteMessage) -> Option<IpAddr> {
    let header = &route.header;
    let ours = u8::from(header.protocol) == PROTOCOL && header.kind == RouteType::Local;
    let ip = route.attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::Destination(RouteAddress::Inet(v4)) => Some(IpAddr::V4(*v4)),
        RouteAttribute::Destination(RouteAddress::Inet6(v6)) => Some(IpAddr::V6(*v6)),
        _ => None,
    })?;
    let whole = header.destination_prefix_length == if ip.is_ipv4() { 32 } else { 128 };
    (ours && whole).then_some(ip)
}

/// The errno of a refusal by the kernel.
fn errno(error: &rtnetlink::Error) -> Option<i32> {
    match error {
        rtnetlink::Error::NetlinkError(message) => message.to_io().raw_os_error(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plans_by_difference() {
        let set = |ips: &[&str]| ips.iter().map(|ip| ip.parse().unwrap()).collect::<BTreeSet<IpAddr>>();
        let plan = plan(&set(&["203.0.113.1", "2001:db8::1"]), &set(&["203.0.113.2", "2001:db8::1"]));
        assert_eq!(plan, Plan { add: set(&["203.0.113.2"]), remove: set(&["203.0.113.1"]) });
    }

    #[test]
    fn knows_its_own_routes_only() {
        for ip in ["203.0.113.1", "2001:db8::1"] {
            let ip = ip.parse().unwrap();
            let ours = message(ip, 1);
            assert_eq!(vip_of(&ours), Some(ip));
            let mut foreign = ours.clone();
            foreign.header.protocol = RouteProtocol::Kernel;
            assert_eq!(vip_of(&foreign), None);
            let mut shorter = ours;
            shorter.header.destination_prefix_length -= 1;
            assert_eq!(vip_of(&shorter), None);
        }
    }
}
