//! Routes: one object of the user is one [`Route`].

use serde::{Deserialize, Serialize};

use super::{BackendId, Filter, GatewayId, Hostname, HttpMatch, RouteId};

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Route {
    pub id: RouteId,
    /// Creation time in seconds since the epoch; the older route wins a tie, then the smaller `namespace/name`.
    pub created: i64,
    /// The listeners that accepted it.
    pub attachments: Vec<Attachment>,
    pub rules: RouteRules,
}

impl Route {
    /// `namespace/name`, without the kind: the last tie-breaker between routes.
    pub fn namespaced_name(&self) -> &str {
        self.id.as_str().split_once('/').map_or("", |(_, name)| name)
    }
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Attachment {
    pub gateway: GatewayId,
    pub port: u16,
    pub listener: String,
    /// The route's names of which the listener has any, as the route says them: the most specific wins, whatever the
    /// listener's own name. Empty: every name of the listener.
    pub hostnames: Vec<Hostname>,
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum RouteRules {
    Http(Vec<HttpRule>),
    /// TLSRoute: by SNI only.
    Tls(L4Rule),
    Tcp(L4Rule),
    Udp(L4Rule),
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct HttpRule {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Empty: nobody can tell them, and no request matches. A rule that is written without has the one match of path prefix `/`.
    pub matches: Vec<HttpMatch>,
    #[serde(default)]
    pub filters: Vec<Filter>,
    /// Empty and no filter that answers: 500.
    #[serde(default)]
    pub backends: Vec<BackendRef>,
    #[serde(default)]
    pub timeouts: Timeouts,
}

#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct L4Rule {
    #[serde(default)]
    pub backends: Vec<BackendRef>,
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct BackendRef {
    /// 0: never chosen.
    pub weight: u32,
    /// None: a reference that did not resolve. Its share of requests gets 500, its share of connections a reset.
    pub backend: Option<BackendId>,
    #[serde(default)]
    pub filters: Vec<Filter>,
}

/// Milliseconds; None and 0 (GEP-1742): no limit.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Timeouts {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_ms: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backend_request_ms: Option<u64>,
}
