//! What must hold for every world: a translation kept up to date is the one made anew, order means nothing, addresses
//! stay, written statuses are left alone, and a change costs what depends on it.
#![expect(clippy::unwrap_used, reason = "a test that cannot set itself up fails")]

mod addresses;
mod cost;
mod status;
mod universe;

use std::collections::{BTreeMap, BTreeSet};

use gateway_agent::object::{Kind, ObjectKey};
use gateway_agent::translate::{Translation, Translator, translate};
use proptest::prelude::*;

use universe::{KINDS, base, event, name_of, params, steps};

fn kept(translator: &Translator) -> Translation {
    Translation {
        resources: translator.resources().clone(),
        datapath: translator.datapath().clone(),
        held: translator.held(),
        verdicts: translator.verdicts().clone(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    /// Also: the changes that are told are all changes that there are, and nothing is told twice.
    #[test]
    fn kept_up_to_date_is_made_anew(batches in steps(24)) {
        let (mut world, mut params, mut translator) = (base(), params(), Translator::default());
        translator.update(&world, &params, &world.keys());
        let mut mirror = translator.resources().clone();
        for batch in batches {
            let changed: BTreeSet<_> = batch.into_iter().filter_map(|step| world.apply(event(step))).collect();
            // As the reconciler does: what else is held is of Gateways that are not seen yet.
            params.held.retain(|id, _| world.gateways.keys().any(|name| name.to_string() == id.as_str()));
            let before = kept(&translator);
            let change = translator.update(&world, &params, &changed);
            let after = kept(&translator);
            prop_assert_eq!(&after, &translate(&world, &params));
            for resource in change.upsert {
                prop_assert!(mirror.insert(resource.key(), resource.clone()) != Some(resource));
            }
            for key in &change.remove {
                prop_assert!(mirror.remove(key).is_some());
            }
            prop_assert_eq!(&mirror, &after.resources);
            prop_assert_eq!(change.datapath, before.datapath != after.datapath);
            let told = |key: &ObjectKey| change.verdicts.contains(key);
            for (name, verdict) in &after.verdicts.gateways {
                let key = ObjectKey { kind: Kind::Gateway, name: name.clone() };
                prop_assert_eq!(told(&key), before.verdicts.gateways.get(name) != Some(verdict));
            }
            for (key, verdict) in &after.verdicts.routes {
                prop_assert_eq!(told(key), before.verdicts.routes.get(key) != Some(verdict));
            }
            params.held = after.held;
            let again = translator.update(&world, &params, &changed);
            prop_assert!(again.is_empty(), "{:?}", again);
        }
    }

    #[test]
    fn order_means_nothing(batches in steps(24), seed in any::<u64>()) {
        let mut last = BTreeMap::new();
        for step in batches.into_iter().flatten() {
            last.insert((step.0, name_of(KINDS[step.0], step.1)), step);
        }
        let mut steps: Vec<_> = last.into_values().collect();
        let mut forward = base();
        steps.iter().for_each(|step| { forward.apply(event(*step)); });
        steps.sort_by_key(|step| (step.0 as u64 * 7 + step.1 as u64 * 13).wrapping_mul(seed | 1));
        let (mut world, params, mut translator) = (base(), params(), Translator::default());
        translator.update(&world, &params, &world.keys());
        for step in steps {
            let changed = world.apply(event(step)).into_iter().collect();
            translator.update(&world, &params, &changed);
        }
        prop_assert_eq!(kept(&translator), translate(&forward, &params));
    }
}
