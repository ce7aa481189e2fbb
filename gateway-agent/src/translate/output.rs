//! The resources, and which of them an update has changed.

use std::collections::BTreeSet;

use gateway_common::ir::{Key, Resource};

use super::Change;
use crate::desired::Resources;

#[derive(Default, Debug)]
pub(super) struct Output {
    resources: Resources,
    touched: BTreeSet<Key>,
}

impl Output {
    pub(super) const fn resources(&self) -> &Resources {
        &self.resources
    }

    pub(super) fn set(&mut self, key: Key, resource: Option<Resource>) {
        match resource {
            Some(resource) if self.resources.get(&key) == Some(&resource) => return,
            Some(resource) => {
                self.resources.insert(key.clone(), resource);
            }
            None if self.resources.remove(&key).is_none() => return,
            None => {}
        }
        self.touched.insert(key);
    }

    /// Tells what is different since the last time.
    pub(super) fn flush(&mut self, change: &mut Change) {
        for key in std::mem::take(&mut self.touched) {
            match self.resources.get(&key) {
                Some(resource) => change.upsert.push(resource.clone()),
                None => change.remove.push(key),
            }
        }
    }
}
