//! What an update carries.

use serde::{Deserialize, Serialize};

use super::{Backend, BackendId, Certificate, CertificateId, Gateway, GatewayId, Route, RouteId};

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Resource {
    Gateway(Gateway),
    Route(Route),
    Backend(Backend),
    Certificate(Certificate),
}

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Key {
    Gateway(GatewayId),
    Route(RouteId),
    Backend(BackendId),
    Certificate(CertificateId),
}

impl Resource {
    pub fn key(&self) -> Key {
        match self {
            Self::Gateway(gateway) => Key::Gateway(gateway.id.clone()),
            Self::Route(route) => Key::Route(route.id.clone()),
            Self::Backend(backend) => Key::Backend(backend.id.clone()),
            Self::Certificate(certificate) => Key::Certificate(certificate.id.clone()),
        }
    }
}
