//! Which results were made from which inputs.

use std::collections::{BTreeMap, BTreeSet};

use super::backend::BackendKey;
use crate::object::{NsName, ObjectKey};

/// An input.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Dep {
    Object(ObjectKey),
    /// All ReferenceGrants of a namespace.
    Grants(String),
    /// All EndpointSlices of a Service.
    Slices(NsName),
}

/// A result that is made as a whole.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Unit {
    Gateway(NsName),
    Route(ObjectKey),
    Backend(BackendKey),
}

impl Unit {
    pub(super) const fn route(&self) -> Option<&ObjectKey> {
        match self {
            Self::Route(key) => Some(key),
            Self::Gateway(_) | Self::Backend(_) => None,
        }
    }
}

#[derive(Default, Debug)]
pub(super) struct Index {
    inputs: BTreeMap<Unit, BTreeSet<Dep>>,
    users: BTreeMap<Dep, BTreeSet<Unit>>,
}

impl Index {
    pub(super) fn users(&self, dep: &Dep) -> impl Iterator<Item = &Unit> {
        self.users.get(dep).into_iter().flatten()
    }

    pub(super) fn set(&mut self, unit: &Unit, inputs: BTreeSet<Dep>) {
        let old = self.inputs.remove(unit).unwrap_or_default();
        for dep in old.difference(&inputs) {
            if let Some(users) = self.users.get_mut(dep) {
                users.remove(unit);
                if users.is_empty() {
                    self.users.remove(dep);
                }
            }
        }
        for dep in inputs.difference(&old) {
            self.users.entry(dep.clone()).or_default().insert(unit.clone());
        }
        if !inputs.is_empty() {
            self.inputs.insert(unit.clone(), inputs);
        }
    }

    pub(super) fn forget(&mut self, unit: &Unit) {
        self.set(unit, BTreeSet::new());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_follow_the_newest_inputs() {
        let mut index = Index::default();
        let unit = Unit::Gateway(NsName::new("a", "b"));
        let dep = |name: &str| Dep::Grants(name.to_owned());
        index.set(&unit, [dep("x"), dep("y")].into());
        index.set(&unit, [dep("y"), dep("z")].into());
        let users = |name: &str| index.users(&dep(name)).count();
        assert_eq!((users("x"), users("y"), users("z")), (0, 1, 1));
        index.forget(&unit);
        assert!(index.inputs.is_empty() && index.users.is_empty());
    }
}
