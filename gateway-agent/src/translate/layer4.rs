//! The one rule of a TCPRoute, UDPRoute or TLSRoute.

use gateway_common::ir::{BackendRef, L4Rule};

use super::backend_ref::{self, Target};
use super::condition::{Problem, Reason};
use super::http::weight;
use super::rules::Rules;

/// Backends of each rule of the spec; the API allows one rule.
pub(super) fn rule(rules: &mut Rules<'_, '_>, specs: Vec<Vec<(Target, Option<i32>)>>) -> L4Rule {
    let count = specs.len();
    if count != 1 {
        let message = format!("spec.rules has {count} rules; routes of kind {} have exactly one", rules.kind);
        rules.invalid.push((0, Problem::new(Reason::UnsupportedValue, message)));
        return L4Rule::default();
    }
    let mut backends = Vec::new();
    for (index, (target, spec)) in specs.into_iter().flatten().enumerate() {
        let field = format!("spec.rules[0].backendRefs[{index}]");
        match weight(&field, spec) {
            Ok(weight) => {
                let backend = backend_ref::resolve(rules, &field, &target);
                backends.push(BackendRef { weight, backend, filters: Vec::new() });
            }
            Err(problem) => rules.invalid.push((0, problem)),
        }
    }
    L4Rule { backends }
}
