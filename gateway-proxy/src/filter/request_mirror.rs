//! RequestMirror.

use gateway_common::ir::{self, BackendId};

use super::Context;

#[derive(Debug)]
pub(super) struct RequestMirror {
    backend: Option<BackendId>,
    numerator: u32,
    denominator: u32,
}

impl RequestMirror {
    pub(super) fn new(from: &ir::Mirror) -> Self {
        Self { backend: from.backend.clone(), numerator: from.numerator, denominator: from.denominator }
    }

    pub(super) fn choose(&self, context: &Context<'_>) -> Option<&BackendId> {
        let chosen =
            self.numerator >= self.denominator || (context.random)(self.denominator) < self.numerator;
        self.backend.as_ref().filter(|_| chosen)
    }

    pub(super) fn backend(&self) -> Option<&BackendId> {
        self.backend.as_ref()
    }
}
