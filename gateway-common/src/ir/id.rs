//! Names of resources. Cheap to clone; ordered, so that everything built from them is deterministic.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(Arc<str>);

        impl $name {
            pub fn new(text: impl Into<Arc<str>>) -> Self {
                Self(text.into())
            }

            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

id!(
    /// `namespace/name` of a Gateway.
    GatewayId
);
id!(
    /// `Kind/namespace/name` of a route.
    RouteId
);
id!(
    /// `namespace/name:port` of a Service, with what else tells one upstream pool from another
    /// (`;proxy-protocol=v2`, later its TLS identity).
    BackendId
);
id!(
    /// `namespace/name` of a Secret.
    CertificateId
);
id!(
    /// A lower-case DNS name, or `*.` and a suffix that stands for one or more labels.
    Hostname
);

impl Hostname {
    /// The suffix after `*.`, if this is a wildcard.
    pub fn wildcard_suffix(&self) -> Option<&str> {
        self.0.strip_prefix("*.")
    }

    /// Whether every name that `narrow` stands for is one that this stands for.
    pub fn covers(&self, narrow: &Self) -> bool {
        match self.wildcard_suffix() {
            None => self == narrow,
            Some(suffix) => {
                narrow.0.strip_suffix(suffix).is_some_and(|head| head.len() > 1 && head.ends_with('.'))
            }
        }
    }
}
