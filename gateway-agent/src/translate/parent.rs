//! The parent of a route, which every kind of route spells with a type of its own.

use serde::{Deserialize, Serialize};

use super::grant::GATEWAY_GROUP;
use crate::object::NsName;

/// Exactly as in `spec.parentRefs`: status must repeat it field by field.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ParentRef {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    pub name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<i32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub section_name: Option<String>,
}

impl ParentRef {
    /// The Gateway that a route of this namespace means; None: not a Gateway.
    pub fn gateway(&self, namespace: &str) -> Option<NsName> {
        let group = self.group.as_deref().unwrap_or(GATEWAY_GROUP);
        let kind = self.kind.as_deref().unwrap_or("Gateway");
        (group == GATEWAY_GROUP && kind == "Gateway")
            .then(|| NsName::new(self.namespace.as_deref().unwrap_or(namespace), &self.name))
    }
}

macro_rules! from {
    ($($spec:ty),* $(,)?) => {$(
        impl From<&$spec> for ParentRef {
            fn from(spec: &$spec) -> Self {
                Self {
                    group: spec.group.clone(),
                    kind: spec.kind.clone(),
                    name: spec.name.clone(),
                    namespace: spec.namespace.clone(),
                    port: spec.port,
                    section_name: spec.section_name.clone(),
                }
            }
        }
    )*};
}

from!(
    crate::api::httproutes::HttpRouteParentRefs,
    crate::api::httproutes::HttpRouteStatusParentsParentRef,
    crate::api::tlsroutes::TlsRouteParentRefs,
    crate::api::tlsroutes::TlsRouteStatusParentsParentRef,
    crate::api::tcproutes::TcpRouteParentRefs,
    crate::api::tcproutes::TcpRouteStatusParentsParentRef,
    crate::api::udproutes::UdpRouteParentRefs,
    crate::api::udproutes::UdpRouteStatusParentsParentRef,
);
