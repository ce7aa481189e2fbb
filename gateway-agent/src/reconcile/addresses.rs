//! What an operator should know about addresses, said once in the log.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use crate::desired::Datapath;
use crate::translate::Verdicts;

/// Warnings that hold. One that ends and comes back is said again.
#[derive(Default)]
pub(super) struct Told(BTreeSet<String>);

impl Told {
    pub(super) fn tell(&mut self, warnings: BTreeSet<String>) {
        for warning in warnings.difference(&self.0) {
            tracing::warn!("{warning}");
        }
        self.0 = warnings;
    }
}

/// Addresses that Gateways ask for and do not get, and those that they keep though a device has them.
pub(super) fn warnings(
    datapath: &Datapath,
    verdicts: &Verdicts,
    devices: &BTreeMap<IpAddr, String>,
) -> BTreeSet<String> {
    let refused = verdicts.gateways.iter().filter_map(|(name, verdict)| {
        let problem = verdict.address_problem.as_ref()?;
        Some(format!("Gateway {name}: {}", problem.message))
    });
    let shared = datapath.vips.iter().filter_map(|(ip, vip)| {
        let device = devices.get(ip)?;
        Some(format!(
            "Gateway {}: {ip} is now an address of {device} on this node and goes on as a VIP: its other ports do not \
             answer; take it off the device, or give the Gateway another",
            vip.gateway
        ))
    });
    refused.chain(shared).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::desired::Vip;
    use gateway_common::abi::NoListener;
    use gateway_common::ir::GatewayId;

    #[test]
    fn an_address_that_is_shared_with_a_device_is_named_with_both() {
        let mut datapath = Datapath::default();
        for ip in ["192.0.2.1", "192.0.2.2"] {
            let vip = Vip { gateway: GatewayId::new("a/web"), no_listener: NoListener::Reject };
            datapath.vips.insert(ip.parse().unwrap(), vip);
        }
        let devices = BTreeMap::from([("192.0.2.2".parse().unwrap(), "eth0".to_owned())]);
        let said: Vec<String> = warnings(&datapath, &Verdicts::default(), &devices).into_iter().collect();
        assert_eq!(said.len(), 1, "{said:?}");
        assert!(said[0].starts_with("Gateway a/web: 192.0.2.2 is now an address of eth0"), "{said:?}");
    }
}
