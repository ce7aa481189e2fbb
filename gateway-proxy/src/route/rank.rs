//! The order among matches of one host name and one kind of path: smaller wins.

use std::cmp::Reverse;
use std::sync::Arc;

use gateway_common::ir::{HttpMatch, PathMatch, Route, RouteId};

/// Fields in the order of the API's criteria. No two matches of a listener are equal.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Rank {
    path_length: Reverse<usize>,
    has_method: Reverse<bool>,
    headers: Reverse<usize>,
    query: Reverse<usize>,
    created: i64,
    namespaced_name: Arc<str>,
    route: RouteId,
    rule: usize,
    index: usize,
}

impl Rank {
    pub(super) fn new(route: &Route, rule: usize, index: usize, of: &HttpMatch) -> Self {
        let (PathMatch::Exact(path) | PathMatch::Prefix(path) | PathMatch::Regex(path)) = &of.path;
        Self {
            path_length: Reverse(path.len()),
            has_method: Reverse(of.method.is_some()),
            headers: Reverse(of.headers.len()),
            query: Reverse(of.query.len()),
            created: route.created,
            namespaced_name: route.namespaced_name().into(),
            route: route.id.clone(),
            rule,
            index,
        }
    }

    pub(super) fn index(&self) -> usize {
        self.index
    }
}
