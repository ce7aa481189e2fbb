//! What the echo backend says about a request, on both sides.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The body of its answer.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Echo {
    /// `--name` of the backend.
    pub backend: String,
    pub method: String,
    /// Path and query.
    pub path: String,
    /// `HTTP/1.1` or `HTTP/2.0`.
    pub version: String,
    pub host: Option<String>,
    /// Lower-case names; values in the order of the message.
    pub headers: BTreeMap<String, Vec<String>>,
    /// The connection's other end.
    pub peer: String,
    /// Bytes of the request's body.
    pub body: usize,
}

impl Echo {
    /// The only value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        match self.headers.get(name).map(Vec::as_slice) {
            Some([value]) => Some(value),
            _ => None,
        }
    }
}
