//! ResponseHeaderModifier.

use gateway_common::ir;
use http::HeaderMap;

use super::header_modifier::HeaderModifier;

#[derive(Debug)]
pub(super) struct ResponseHeaderModifier(HeaderModifier);

impl ResponseHeaderModifier {
    pub(super) fn new(from: &ir::HeaderModifier) -> Result<Self, String> {
        HeaderModifier::new(from).map(Self)
    }

    pub(super) fn apply(&self, headers: &mut HeaderMap) {
        self.0.apply(headers);
    }
}
