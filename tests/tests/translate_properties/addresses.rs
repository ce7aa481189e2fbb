//! An address that a Gateway has is not taken away, whatever becomes of the pools and of devices.

use gateway_agent::translate::{Params, translate};
use proptest::prelude::*;

use crate::universe::{base, event, params, steps};

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    /// A Gateway without a word about addresses keeps the ones it has while it is there.
    #[test]
    fn addresses_are_never_taken_away(batches in steps(16), pools in 0..3usize) {
        let (mut world, mut params) = (base(), params());
        for (index, batch) in batches.into_iter().enumerate() {
            if index % 3 == pools {
                params.pools.rotate_left(1);
                params.pools.truncate(1 + index % 2);
            }
            let device = (index % 2 == 0).then(|| ("192.0.2.1".parse().unwrap(), "eth0".to_owned()));
            params.devices = device.into_iter().collect();
            batch.into_iter().for_each(|step| { world.apply(event(step)); });
            // As the agent does: what one that was there and is gone had is free, not reserved for its return.
            params.held.retain(|id, _| world.gateways.keys().any(|name| name.to_string() == id.as_str()));
            let got = translate(&world, &params).held;
            for (id, before) in &params.held {
                let asks = world.gateways.iter().find(|(name, _)| name.to_string() == id.as_str());
                let default = asks.is_some_and(|(_, g)| g.spec.addresses.as_ref().is_none_or(Vec::is_empty));
                if let (true, Some(after)) = (default, got.get(id)) {
                    for v4 in [true, false] {
                        let first = |list: &[std::net::IpAddr]| list.iter().find(|a| a.is_ipv4() == v4).copied();
                        prop_assert!(first(before).is_none() || first(before) == first(after), "{} {:?} {:?}", id, before, after);
                    }
                }
            }
            prop_assert_eq!(&translate(&world, &Params { held: got.clone(), ..params.clone() }).held, &got);
            params.held = got;
        }
    }
}
