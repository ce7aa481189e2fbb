//! URLRewrite.

use gateway_common::ir;
use http::header::{HOST, HeaderValue};
use http::request::Parts;
use http::uri::PathAndQuery;

use super::Context;
use super::path_modifier::PathModifier;

#[derive(Debug)]
pub(super) struct UrlRewrite {
    hostname: Option<HeaderValue>,
    path: Option<PathModifier>,
}

impl UrlRewrite {
    pub(super) fn new(from: &ir::Rewrite) -> Result<Self, String> {
        let hostname = from.hostname.as_deref().map(HeaderValue::from_str).transpose();
        Ok(Self {
            hostname: hostname.map_err(|error| format!("hostname: {error}"))?,
            path: from.path.as_ref().map(PathModifier::new).transpose()?,
        })
    }

    pub(super) fn apply(&self, parts: &mut Parts, context: &Context<'_>) {
        if let Some(hostname) = &self.hostname {
            parts.headers.insert(HOST, hostname.clone());
        }
        // `*` is no path.
        if let Some(change) = self.path.as_ref().filter(|_| parts.uri.path().starts_with('/')) {
            let mut target = change.apply(parts.uri.path(), context.prefix);
            if let Some(query) = parts.uri.query() {
                target.push('?');
                target.push_str(query);
            }
            // Made of two parts that were valid targets before.
            if let Ok(target) = PathAndQuery::from_maybe_shared(bytes::Bytes::from(target)) {
                parts.uri = target.into();
            }
        }
    }
}
