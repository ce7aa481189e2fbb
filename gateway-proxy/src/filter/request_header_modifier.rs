//! RequestHeaderModifier.

use gateway_common::ir;
use http::HeaderMap;
use http::header::HOST;

use super::header_modifier::HeaderModifier;

#[derive(Debug)]
pub(super) struct RequestHeaderModifier(HeaderModifier);

impl RequestHeaderModifier {
    pub(super) fn new(from: &ir::HeaderModifier) -> Result<Self, String> {
        let modifier = HeaderModifier::new(from)?;
        modifier.refuse_but_set(&HOST)?;
        Ok(Self(modifier))
    }

    pub(super) fn apply(&self, headers: &mut HeaderMap) {
        self.0.apply(headers);
    }
}
