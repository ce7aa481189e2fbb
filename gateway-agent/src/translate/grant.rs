//! References across namespaces: allowed by a ReferenceGrant in the namespace referred to, and by nothing else.

use super::lookup::Lookup;
use crate::object::{Kind, NsName};

pub(super) const GATEWAY_GROUP: &str = "gateway.networking.k8s.io";

/// Whether an object of `kind` in namespace `from` may refer to the core-group object.
pub(super) fn permits(lookup: &mut Lookup<'_>, kind: Kind, from: &str, to_kind: Kind, to: &NsName) -> bool {
    if from == to.namespace {
        return true;
    }
    lookup.grants(&to.namespace).any(|grant| {
        let source = grant.spec.from.iter().any(|source| {
            source.group == GATEWAY_GROUP && source.kind == kind.name() && source.namespace == from
        });
        source
            && grant.spec.to.iter().any(|target| {
                target.group.is_empty()
                    && target.kind == to_kind.name()
                    && target.name.as_ref().is_none_or(|name| *name == to.name)
            })
    })
}

/// What to say when it may not.
pub(super) fn remedy(kind: Kind, from: &str, to_kind: Kind, to: &NsName) -> String {
    format!(
        "no ReferenceGrant in namespace {:?} lets objects of kind {kind} in namespace {from:?} refer to {to_kind} {:?}; create one there",
        to.namespace, to.name
    )
}
