//! A certificate and its key, checked by the agent before it is sent.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::CertificateId;

#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Certificate {
    pub id: CertificateId,
    /// PEM, leaf first.
    pub chain: String,
    /// PEM.
    pub key: String,
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificate").field("id", &self.id).finish_non_exhaustive()
    }
}
