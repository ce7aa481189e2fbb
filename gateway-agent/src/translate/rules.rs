//! What the rules of one route are translated with, and what comes out beside them.

use std::collections::BTreeSet;

use super::backend::BackendKey;
use super::condition::Problem;
use super::lookup::Lookup;
use crate::crds::gateway_parameters::Parameters;
use crate::object::Kind;

pub(super) struct Rules<'r, 'a> {
    pub(super) lookup: &'r mut Lookup<'a>,
    pub(super) kind: Kind,
    pub(super) namespace: &'r str,
    /// Of the Gateways that the route is attached to, in the order of its parentRefs.
    pub(super) parameters: Vec<&'a Parameters>,
    /// Backends in use.
    pub(super) backends: BTreeSet<BackendKey>,
    /// References in vain: `ResolvedRefs`.
    pub(super) unresolved: Vec<Problem>,
    /// Rules that cannot be served, by index: `Accepted` or `PartiallyInvalid`.
    pub(super) invalid: Vec<(usize, Problem)>,
    /// A filter that a rule has cannot be applied.
    pub(super) unfiltered: bool,
    /// Fields that have no effect yet.
    pub(super) notes: Vec<String>,
}

impl<'r, 'a> Rules<'r, 'a> {
    pub(super) fn new(
        lookup: &'r mut Lookup<'a>,
        kind: Kind,
        namespace: &'r str,
        parameters: Vec<&'a Parameters>,
    ) -> Self {
        Self {
            lookup,
            kind,
            namespace,
            parameters,
            backends: BTreeSet::new(),
            unresolved: Vec::new(),
            invalid: Vec::new(),
            unfiltered: false,
            notes: Vec::new(),
        }
    }
}
