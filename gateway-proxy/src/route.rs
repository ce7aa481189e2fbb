//! Which rule answers a request: the HTTP routes of one listener, compiled for lookup.
//!
//! Precedence follows HTTPRoute's API text: the host name (exact, then the longest wildcard, then none), the path (exact,
//! then regular expression, then the longest prefix), then [`Rank`](rank::Rank). The API leaves the place of regular
//! expressions open; here they stand before prefixes, as in Envoy Gateway, so that a catch-all prefix cannot hide them.
//! A request whose headers, method or query fail a match goes on to the next candidate, over all path levels and all host
//! names of the listener; it never goes to another listener.
//!
//! A [`Router`] is persistent: a clone is O(1), and a change copies only the entries on the way to what it names.
//! Matching does not allocate, but for a regular expression over a repeated header or an escaped query parameter.

mod header;
pub mod host;
mod pattern;
mod prefix;
mod query;
mod rank;
pub mod rule;
mod slot;
pub mod split;
mod table;

use std::sync::Arc;

use gateway_common::ir::{Hostname, RouteId};
use http::{HeaderMap, Method};

pub use host::HostMap;
pub use rule::{HttpRoute, Rule};
pub use split::{Share, Split};
use table::HostTable;

/// What a request is matched by.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// Host or `:authority` as received: any case, with or without port and trailing dot.
    pub authority: &'a str,
    pub method: &'a Method,
    /// Normalised (see [`crate::path`]), without the query.
    pub path: &'a str,
    pub query: Option<&'a str>,
    pub headers: &'a HeaderMap,
}

/// The match that won.
#[derive(Clone, Copy, Debug)]
pub struct Found<'r> {
    pub rule: &'r Arc<Rule>,
    /// Which of the rule's matches.
    pub match_index: usize,
    /// Bytes of the path that a PathPrefix matched, 0 for `/`; None for other kinds of match.
    pub prefix: Option<usize>,
}

impl<'r> Found<'r> {
    pub fn route(&self) -> &'r RouteId {
        &self.rule.route
    }
}

/// The routes of one listener.
#[derive(Clone, Debug, Default)]
pub struct Router {
    hosts: HostMap<Arc<HostTable>>,
}

impl Router {
    /// Adds a route under the names it shares with the listener; none: every name. Adding it twice changes nothing.
    pub fn insert(&mut self, route: &HttpRoute, hostnames: &[Hostname]) {
        each_host(hostnames, |hostname| {
            let table = Arc::make_mut(self.hosts.entry(hostname));
            for candidate in &route.candidates {
                table.insert(candidate);
            }
        });
    }

    /// Takes a route out again; `route` and `hostnames` as they were inserted.
    pub fn remove(&mut self, route: &HttpRoute, hostnames: &[Hostname]) {
        each_host(hostnames, |hostname| {
            let Some(table) = self.hosts.get_mut(hostname) else { return };
            let table = Arc::make_mut(table);
            for candidate in &route.candidates {
                table.remove(candidate);
            }
            if table.is_empty() {
                self.hosts.remove(hostname);
            }
        });
    }

    pub fn find(&self, request: &Request<'_>) -> Option<Found<'_>> {
        let name = host::Name::new(request.authority);
        self.hosts.matching(name.as_str()).find_map(|table| table.find(request))
    }

    pub fn is_empty(&self) -> bool {
        self.hosts.is_empty()
    }
}

fn each_host(hostnames: &[Hostname], mut act: impl FnMut(Option<&Hostname>)) {
    if hostnames.is_empty() {
        act(None);
    }
    for hostname in hostnames {
        act(Some(hostname));
    }
}

#[cfg(test)]
mod tests;
