//! What the kernel must do for all Gateways.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use gateway_common::abi::Proto;
use gateway_common::ir::{Family, SocketId};

use super::address::Assigned;
use super::gateway::Plan;
use super::lookup::Plans;
use crate::desired::{Datapath, Vip, VipPort};
use crate::object::NsName;

/// A shared address shows the older Gateway.
pub(super) fn datapath(plans: &Plans, assigned: &BTreeMap<NsName, Assigned>) -> Datapath {
    let mut ordered: Vec<&Plan> = plans.values().filter(|plan| plan.refused.is_none()).collect();
    ordered.sort_by(|a, b| (a.created, &a.name).cmp(&(b.created, &b.name)));
    let mut datapath = Datapath::default();
    for plan in ordered {
        for address in assigned.get(&plan.name).iter().flat_map(|a| &a.addresses) {
            datapath.vips.entry(*address).or_insert_with(|| Vip {
                gateway: plan.id.clone(),
                no_listener: plan.parameters.no_listener,
            });
            for listener in plan.serving() {
                let Some(protocol) = listener.protocol else { continue };
                let port = VipPort { address: *address, port: listener.port, proto: protocol.proto() };
                datapath.ports.entry(port).or_insert_with(|| socket(plan, port));
            }
        }
    }
    datapath
}

fn socket(plan: &Plan, port: VipPort) -> SocketId {
    let gateway = plan.id.clone();
    match port.proto {
        Proto::Tcp => SocketId::Tcp { gateway, family: family(port.address) },
        Proto::Udp => SocketId::Udp { gateway, address: SocketAddr::new(port.address, port.port) },
    }
}

pub(super) const fn family(address: IpAddr) -> Family {
    match address {
        IpAddr::V4(_) => Family::V4,
        IpAddr::V6(_) => Family::V6,
    }
}
