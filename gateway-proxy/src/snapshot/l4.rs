//! Which route a TLS passthrough, TCP or UDP listener sends its connections to.

use std::sync::Arc;

use gateway_common::ir::{BackendRef, GatewayId, Hostname, L4Rule, Route, RouteRules};

/// The routes of one port that look into no request.
#[derive(Clone, Default)]
pub struct L4 {
    /// Older route first.
    entries: Vec<Entry>,
}

#[derive(Clone)]
struct Entry {
    listener: String,
    hostnames: Vec<Hostname>,
    route: Arc<Route>,
}

impl L4 {
    /// From all routes that attach to the Gateway, ordered by precedence.
    pub fn new<'a>(
        gateway: &GatewayId,
        port: u16,
        udp: bool,
        routes: impl Iterator<Item = &'a Arc<Route>>,
    ) -> Self {
        let mut entries = Vec::new();
        for route in
            routes.filter(|route| rule(route).is_some() && udp == matches!(route.rules, RouteRules::Udp(_)))
        {
            for at in &route.attachments {
                if at.gateway == *gateway && at.port == port {
                    let (listener, hostnames) = (at.listener.clone(), at.hostnames.clone());
                    entries.push(Entry { listener, hostnames, route: route.clone() });
                }
            }
        }
        entries.sort_by(|a, b| precedence(&a.route).cmp(&precedence(&b.route)));
        Self { entries }
    }

    /// The route of a TCP or UDP listener: the oldest, since nothing in a connection tells them apart.
    pub fn any(&self) -> Option<&Arc<Route>> {
        self.entries.first().map(|entry| &entry.route)
    }

    /// The route with the most specific name for `sni` on one listener.
    pub fn by_sni(&self, listener: &str, sni: &str) -> Option<&Arc<Route>> {
        let on_listener = self.entries.iter().filter(|entry| entry.listener == listener);
        let scored = on_listener.filter_map(|entry| {
            let score = if entry.hostnames.is_empty() {
                Some(0)
            } else {
                entry.hostnames.iter().filter_map(|name| specificity(name, sni)).max()
            };
            score.map(|score| (score, &entry.route))
        });
        let mut best: Option<(usize, &Arc<Route>)> = None;
        for (score, route) in scored {
            if best.is_none_or(|(held, _)| score > held) {
                best = Some((score, route));
            }
        }
        best.map(|(_, route)| route)
    }
}

/// The only rule of a route that looks into no request; None for HTTP routes.
pub fn rule(route: &Route) -> Option<&L4Rule> {
    match &route.rules {
        RouteRules::Tls(rule) | RouteRules::Tcp(rule) | RouteRules::Udp(rule) => Some(rule),
        RouteRules::Http(_) => None,
    }
}

/// The backends of such a route.
pub fn backends(route: &Route) -> &[BackendRef] {
    rule(route).map_or(&[], |rule| &rule.backends)
}

/// How specifically `pattern` names `host` (lower case): exact names beat wildcards, longer wildcards shorter ones.
pub fn specificity(pattern: &Hostname, host: &str) -> Option<usize> {
    match pattern.wildcard_suffix() {
        None => (pattern.as_str() == host).then_some(usize::MAX),
        Some(suffix) => {
            let label = host.strip_suffix(suffix)?.strip_suffix('.')?;
            (!label.is_empty()).then_some(suffix.len())
        }
    }
}

fn precedence(route: &Route) -> (i64, &str) {
    (route.created, route.namespaced_name())
}

#[cfg(test)]
mod tests {
    use super::*;
    use gateway_common::ir::{Attachment, RouteId};

    fn route(name: &str, created: i64, hostnames: &[&str]) -> Arc<Route> {
        Arc::new(Route {
            id: RouteId::new(format!("TLSRoute/default/{name}")),
            created,
            attachments: vec![Attachment {
                gateway: GatewayId::new("default/web"),
                port: 443,
                listener: "tls".to_owned(),
                hostnames: hostnames.iter().map(|name| Hostname::new(*name)).collect(),
            }],
            rules: RouteRules::Tls(L4Rule::default()),
        })
    }

    #[test]
    fn the_most_specific_name_wins_then_the_older_route() {
        let routes = [
            route("new", 2, &["a.example"]),
            route("old", 1, &["a.example"]),
            route("wild", 0, &["*.example"]),
        ];
        let l4 = L4::new(&GatewayId::new("default/web"), 443, false, routes.iter());
        let name = |sni| l4.by_sni("tls", sni).map(|route| route.namespaced_name().to_owned());
        assert_eq!(name("a.example").as_deref(), Some("default/old"));
        assert_eq!(name("b.example").as_deref(), Some("default/wild"));
        assert_eq!(name("example"), None);
        assert!(l4.by_sni("other", "a.example").is_none());
    }
}
