//! A route compiled: its rules, shared by every listener and host name, and its matches ready for a table.

use std::sync::Arc;
use std::time::Duration;

use gateway_common::ir::{HttpMatch, HttpRule, NameValueMatch, PathMatch, Route, RouteId, RouteRules};
use http::Method;

use super::header::HeaderMatch;
use super::pattern::Pattern;
use super::query::QueryMatch;
use super::rank::Rank;
use super::slot::{Candidate, Path};
use super::split::Split;
use crate::filter::Filters;
use crate::path;

/// What happens to the requests that a rule matched.
#[derive(Debug)]
pub struct Rule {
    pub route: RouteId,
    /// Its place in the route.
    pub index: usize,
    pub name: Option<String>,
    pub filters: Filters,
    pub backends: Split,
    /// The whole request, retries included. None: no limit.
    pub request_timeout: Option<Duration>,
    /// One attempt at a backend. None: no limit.
    pub backend_timeout: Option<Duration>,
}

#[derive(Debug)]
pub struct HttpRoute {
    pub id: RouteId,
    pub rules: Vec<Arc<Rule>>,
    pub(super) candidates: Vec<Arc<Candidate>>,
}

impl HttpRoute {
    /// None: not an HTTP route. A match that cannot be compiled matches nothing, a filter that cannot be compiled answers
    /// 500, and each is a problem that names the field.
    pub fn compile(route: &Route, problems: &mut Vec<String>) -> Option<Self> {
        let RouteRules::Http(from) = &route.rules else { return None };
        let mut rules = Vec::with_capacity(from.len());
        let mut candidates = Vec::new();
        for (at, rule) in from.iter().enumerate() {
            let compiled = Arc::new(compile_rule(&route.id, at, rule, problems));
            for (index, of) in rule.matches.iter().enumerate() {
                let rank = Rank::new(route, at, index, of);
                match compile_match(rank, of, &compiled) {
                    Ok(candidate) => candidates.push(Arc::new(candidate)),
                    Err(problem) => problems.push(format!("rules[{at}].matches[{index}].{problem}")),
                }
            }
            rules.push(compiled);
        }
        Some(Self { id: route.id.clone(), rules, candidates })
    }
}

fn compile_rule(route: &RouteId, index: usize, rule: &HttpRule, problems: &mut Vec<String>) -> Rule {
    let field = format!("rules[{index}]");
    Rule {
        route: route.clone(),
        index,
        name: rule.name.clone(),
        filters: Filters::compile(&rule.filters, &field, problems),
        backends: Split::compile(&rule.backends, &field, problems),
        request_timeout: limit(rule.timeouts.request_ms),
        backend_timeout: limit(rule.timeouts.backend_request_ms),
    }
}

/// GEP-1742: zero is no limit.
fn limit(milliseconds: Option<u64>) -> Option<Duration> {
    milliseconds.filter(|&milliseconds| milliseconds > 0).map(Duration::from_millis)
}

fn compile_match(rank: Rank, of: &HttpMatch, rule: &Arc<Rule>) -> Result<Candidate, String> {
    let method = of.method.as_ref().map(|name| Method::from_bytes(name.as_bytes()));
    Ok(Candidate {
        rank,
        path: compile_path(&of.path)?,
        method: method.transpose().map_err(|error| format!("method: {error}"))?,
        headers: compile_each(&of.headers, "headers", HeaderMatch::new)?,
        query: compile_each(&of.query, "queryParams", QueryMatch::new)?,
        rule: rule.clone(),
    })
}

/// Paths in the form that requests have after normalisation.
fn compile_path(of: &PathMatch) -> Result<Path, String> {
    let normal = |text: &str| {
        let normal = path::normalize(text, &path::Policy::default());
        normal.map(|text| text.into_owned()).map_err(|error| format!("path: `{text}`: {error}"))
    };
    Ok(match of {
        PathMatch::Exact(text) => Path::Exact(normal(text)?.into()),
        PathMatch::Prefix(text) => Path::Prefix(normal(text)?.trim_end_matches('/').into()),
        PathMatch::Regex(text) => {
            Path::Regex(Pattern::new(text).map_err(|error| format!("path: `{text}`: {error}"))?)
        }
    })
}

fn compile_each<T>(
    from: &[NameValueMatch],
    field: &str,
    compile: impl Fn(&NameValueMatch) -> Result<T, String>,
) -> Result<Box<[T]>, String> {
    let each = from.iter().enumerate();
    each.map(|(at, one)| compile(one).map_err(|error| format!("{field}[{at}] `{}`: {error}", one.name)))
        .collect()
}
