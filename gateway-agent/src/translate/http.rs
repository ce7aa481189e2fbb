//! The rules of an HTTPRoute.

mod filter;
mod header;
mod matching;
mod path;
mod timeout;

use gateway_common::ir::{BackendRef, HttpRule, RouteRules};

use super::backend_ref::{self, Target};
use super::condition::{Problem, Reason};
use super::rules::Rules;
use crate::api::httproutes::{HttpRoute, HttpRouteRules as RuleSpec, HttpRouteRulesBackendRefs as RefSpec};

/// The largest weight that the API allows.
const WEIGHT_MAX: i32 = 1_000_000;

pub(super) fn rules(rules: &mut Rules<'_, '_>, route: &HttpRoute) -> RouteRules {
    let default = [RuleSpec {
        backend_refs: None,
        filters: None,
        matches: None,
        name: None,
        retry: None,
        session_persistence: None,
        timeouts: None,
    }];
    let specs = route.spec.rules.as_deref().filter(|specs| !specs.is_empty()).unwrap_or(&default);
    RouteRules::Http(specs.iter().enumerate().map(|(index, spec)| rule(rules, index, spec)).collect())
}

/// A rule whose matches nobody can tell has none, and keeps its number. One that can be matched but not served answers 500, so that its requests
/// do not fall to a wider rule (and past a filter that guards them); so does a whole route that is refused for its filters.
fn rule(rules: &mut Rules<'_, '_>, index: usize, spec: &RuleSpec) -> HttpRule {
    let field = format!("spec.rules[{index}]");
    let matches = matching::matches(&field, spec);
    let broken = HttpRule {
        name: spec.name.clone(),
        matches: matches.as_ref().cloned().unwrap_or_default(),
        filters: Vec::new(),
        backends: Vec::new(),
        timeouts: gateway_common::ir::Timeouts::default(),
    };
    if let Err(message) = matches {
        rules.invalid.push((index, Problem::new(Reason::UnsupportedValue, message)));
        return broken;
    }
    for (set, name) in
        [(spec.retry.is_some(), "retry"), (spec.session_persistence.is_some(), "sessionPersistence")]
    {
        if set {
            rules.notes.push(format!("{field}.{name} is not supported and has no effect"));
        }
    }
    match served(rules, &field, spec, broken.clone()) {
        Ok(rule) => rule,
        Err(problem) => {
            rules.invalid.push((index, problem));
            broken
        }
    }
}

fn served(
    rules: &mut Rules<'_, '_>,
    field: &str,
    spec: &RuleSpec,
    rule: HttpRule,
) -> Result<HttpRule, Problem> {
    let timeouts = timeout::timeouts(field, spec.timeouts.as_ref())
        .map_err(|message| Problem::new(Reason::UnsupportedValue, message))?;
    let prefix_only = path::is_prefix_only(&rule.matches);
    let refs = spec.backend_refs.as_deref().unwrap_or_default();
    let filters = filter::of_rule(
        rules,
        field,
        spec.filters.as_deref().unwrap_or_default(),
        prefix_only,
        !refs.is_empty(),
    );
    rules.unfiltered |= filters.is_err();
    let filters = filters?;
    let mut backends = Vec::with_capacity(refs.len());
    for (index, reference) in refs.iter().enumerate() {
        backends.push(backend(rules, &format!("{field}.backendRefs[{index}]"), reference, prefix_only)?);
    }
    Ok(HttpRule { filters, backends, timeouts, ..rule })
}

fn backend(
    rules: &mut Rules<'_, '_>,
    field: &str,
    spec: &RefSpec,
    prefix_only: bool,
) -> Result<BackendRef, Problem> {
    let weight = weight(field, spec.weight)?;
    let filters = filter::of_backend(rules, field, spec.filters.as_deref().unwrap_or_default(), prefix_only);
    rules.unfiltered |= filters.is_err();
    let filters = filters?;
    let backend = backend_ref::resolve(rules, field, &Target::from(spec));
    Ok(BackendRef { weight, backend, filters })
}

pub(super) fn weight(field: &str, weight: Option<i32>) -> Result<u32, Problem> {
    let weight = weight.unwrap_or(1);
    u32::try_from(weight).ok().filter(|_| weight <= WEIGHT_MAX).ok_or_else(|| {
        Problem::new(
            Reason::UnsupportedValue,
            format!("{field}.weight {weight} is not between 0 and {WEIGHT_MAX}"),
        )
    })
}
