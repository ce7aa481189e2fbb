//! The matches of one host name, by their path.

use std::sync::Arc;

use super::prefix::Node;
use super::slot::{Candidate, Path, Slot};
use super::{Found, Request};

type ByPath =
    imbl::GenericHashMap<Arc<str>, Slot, foldhash::fast::RandomState, imbl::shared_ptr::DefaultSharedPtr>;

#[derive(Clone, Debug, Default)]
pub(super) struct HostTable {
    exact: ByPath,
    regexes: Slot,
    prefixes: Node,
}

impl HostTable {
    pub(super) fn insert(&mut self, candidate: &Arc<Candidate>) {
        match &candidate.path {
            Path::Exact(path) => self.exact.entry(path.clone()).or_default().insert(candidate),
            Path::Regex(_) => self.regexes.insert(candidate),
            Path::Prefix(prefix) => self.prefixes.insert(prefix, candidate),
        }
    }

    pub(super) fn remove(&mut self, candidate: &Candidate) {
        match &candidate.path {
            Path::Exact(path) => {
                let Some(slot) = self.exact.get_mut(path) else { return };
                slot.remove(candidate);
                if slot.is_empty() {
                    self.exact.remove(path);
                }
            }
            Path::Regex(_) => self.regexes.remove(candidate),
            Path::Prefix(prefix) => self.prefixes.remove(prefix, candidate),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.exact.is_empty() && self.regexes.is_empty() && self.prefixes.is_empty()
    }

    pub(super) fn find(&self, request: &Request<'_>) -> Option<Found<'_>> {
        let exact = || if self.exact.is_empty() { None } else { self.exact.get(request.path)?.find(request) };
        exact()
            .or_else(|| self.regexes.find_by_pattern(request))
            .or_else(|| self.prefixes.find(request.path, request))
            .map(Candidate::found)
    }
}
