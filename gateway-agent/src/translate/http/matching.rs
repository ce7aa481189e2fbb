//! The matches of a rule.

use std::collections::BTreeSet;

use gateway_common::ir::{HttpMatch, NameValueMatch, PathMatch, ValueMatch};
use regex::RegexBuilder;

use super::{header, path};
use crate::api::httproutes::{
    HttpRouteRules, HttpRouteRulesMatches as Spec, HttpRouteRulesMatchesHeadersType as HeaderType,
    HttpRouteRulesMatchesMethod as Method, HttpRouteRulesMatchesPath as PathSpec,
    HttpRouteRulesMatchesPathType as PathType, HttpRouteRulesMatchesQueryParamsType as QueryType,
};

/// Bytes of a compiled expression; the proxy has the same bound, and one user's expression must not fill its memory.
const REGEX_SIZE: usize = 1 << 20;

pub(super) fn matches(field: &str, rule: &HttpRouteRules) -> Result<Vec<HttpMatch>, String> {
    let specs = rule.matches.as_deref().unwrap_or_default();
    if specs.is_empty() {
        return Ok(vec![HttpMatch {
            path: path_match("", None)?,
            method: None,
            headers: vec![],
            query: vec![],
        }]);
    }
    specs.iter().enumerate().map(|(index, spec)| one(&format!("{field}.matches[{index}]"), spec)).collect()
}

fn one(field: &str, spec: &Spec) -> Result<HttpMatch, String> {
    Ok(HttpMatch {
        path: path_match(field, spec.path.as_ref())?,
        method: spec.method.as_ref().map(|m| method(m).to_owned()),
        headers: headers(field, spec)?,
        query: query(field, spec)?,
    })
}

fn path_match(field: &str, spec: Option<&PathSpec>) -> Result<PathMatch, String> {
    let value = spec.and_then(|path| path.value.as_deref()).unwrap_or("/");
    let field = format!("{field}.path.value");
    let kind = spec.and_then(|path| path.r#type.as_ref()).unwrap_or(&PathType::PathPrefix);
    let checked = |text: &str| path::check(text).map_err(|reason| format!("{field} {reason}"));
    match kind {
        PathType::Exact => checked(value).map(|()| PathMatch::Exact(value.to_owned())),
        PathType::PathPrefix => checked(value).map(|()| PathMatch::Prefix(path::trim(value))),
        PathType::RegularExpression => regex(&field, value).map(PathMatch::Regex),
    }
}

fn headers(field: &str, spec: &Spec) -> Result<Vec<NameValueMatch>, String> {
    let mut names = BTreeSet::new();
    let mut found = Vec::new();
    for (index, header) in spec.headers.iter().flatten().enumerate() {
        let field = format!("{field}.headers[{index}]");
        if !header::is_name(&header.name) {
            return Err(format!("{field}.name {:?} is no header name", header.name));
        }
        let name = header.name.to_ascii_lowercase();
        let regular = header.r#type == Some(HeaderType::RegularExpression);
        let value = value(&field, &header.value, regular)?;
        // The API: of equivalent names only the first counts.
        if names.insert(name.clone()) {
            found.push(NameValueMatch { name, value });
        }
    }
    Ok(found)
}

fn query(field: &str, spec: &Spec) -> Result<Vec<NameValueMatch>, String> {
    let mut names = BTreeSet::new();
    let mut found = Vec::new();
    for (index, parameter) in spec.query_params.iter().flatten().enumerate() {
        let field = format!("{field}.queryParams[{index}]");
        let regular = parameter.r#type == Some(QueryType::RegularExpression);
        let value = value(&field, &parameter.value, regular)?;
        if names.insert(parameter.name.clone()) {
            found.push(NameValueMatch { name: parameter.name.clone(), value });
        }
    }
    Ok(found)
}

fn value(field: &str, text: &str, regular: bool) -> Result<ValueMatch, String> {
    if regular {
        regex(&format!("{field}.value"), text).map(ValueMatch::Regex)
    } else {
        Ok(ValueMatch::Exact(text.to_owned()))
    }
}

fn regex(field: &str, text: &str) -> Result<String, String> {
    match RegexBuilder::new(text).size_limit(REGEX_SIZE).build() {
        Ok(_) => Ok(text.to_owned()),
        Err(error) => {
            let reason = error.to_string();
            let reason =
                reason.lines().last().unwrap_or_default().trim().trim_start_matches("error: ").to_owned();
            Err(format!("{field} {text:?} is no regular expression that we can use: {reason}"))
        }
    }
}

const fn method(method: &Method) -> &'static str {
    match method {
        Method::Get => "GET",
        Method::Head => "HEAD",
        Method::Post => "POST",
        Method::Put => "PUT",
        Method::Delete => "DELETE",
        Method::Connect => "CONNECT",
        Method::Options => "OPTIONS",
        Method::Trace => "TRACE",
        Method::Patch => "PATCH",
    }
}
