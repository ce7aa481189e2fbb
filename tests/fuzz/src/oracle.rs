//! The rules as they are written, without a thought for speed.

use std::cell::RefCell;
use std::cmp::Reverse;
use std::collections::HashMap;

use gateway_common::ir::{
    EscapedSlashes, Hostname, HttpMatch, NameValueMatch, PathMatch, Route, RouteRules, ValueMatch,
};
use gateway_proxy::path::Policy;
use gateway_proxy::route::Request;
use regex::Regex;

/// Route, rule and match of the match with the highest precedence.
pub(crate) type Choice = (String, usize, usize);

/// `routes` with the host names under which each is attached.
pub(crate) fn find(routes: &[(Route, Vec<Hostname>)], request: &Request<'_>) -> Option<Choice> {
    let mut matching = Vec::new();
    for (route, hostnames) in routes {
        let RouteRules::Http(rules) = &route.rules else { continue };
        for host in host_ranks(hostnames, request.authority) {
            for (at, rule) in rules.iter().enumerate() {
                for (index, of) in rule.matches.iter().enumerate().filter(|(_, of)| holds(of, request)) {
                    let order = (
                        host,
                        rank(of),
                        route.created,
                        route.namespaced_name(),
                        route.id.as_str(),
                        at,
                        index,
                    );
                    matching.push((order, (route.id.to_string(), at, index)));
                }
            }
        }
    }
    matching.into_iter().min_by(|a, b| a.0.cmp(&b.0)).map(|(_, choice)| choice)
}

/// "Characters in a matching non-wildcard hostname", then "characters in a matching hostname".
fn host_ranks(hostnames: &[Hostname], authority: &str) -> Vec<(Reverse<usize>, Reverse<usize>)> {
    let host = authority.to_ascii_lowercase();
    let host = host.split(':').next().unwrap_or_default().trim_end_matches('.');
    if hostnames.is_empty() {
        return vec![(Reverse(0), Reverse(0))];
    }
    let covers = |name: &&Hostname| match name.wildcard_suffix() {
        Some(suffix) => host.len() > suffix.len() + 1 && host.ends_with(&format!(".{suffix}")),
        None => name.as_str() == host,
    };
    let rank = |name: &Hostname| {
        let length = name.as_str().len();
        if name.wildcard_suffix().is_some() {
            (Reverse(0), Reverse(length))
        } else {
            (Reverse(length), Reverse(length))
        }
    };
    hostnames.iter().filter(covers).map(rank).collect()
}

type MatchRank = (usize, Reverse<usize>, Reverse<bool>, Reverse<usize>, Reverse<usize>);

fn rank(of: &HttpMatch) -> MatchRank {
    let (kind, length) = match &of.path {
        PathMatch::Exact(path) => (0, path.len()),
        PathMatch::Regex(path) => (1, path.len()),
        PathMatch::Prefix(path) => (2, path.len()),
    };
    let (headers, query) = (of.headers.len(), of.query.len());
    (kind, Reverse(length), Reverse(of.method.is_some()), Reverse(headers), Reverse(query))
}

fn holds(of: &HttpMatch, request: &Request<'_>) -> bool {
    let path = match &of.path {
        PathMatch::Exact(path) => path == request.path,
        PathMatch::Prefix(prefix) if prefix == "/" => true,
        PathMatch::Prefix(prefix) => format!("{}/", request.path).starts_with(&format!("{prefix}/")),
        PathMatch::Regex(expression) => full_match(expression, request.path),
    };
    path && of.method.as_deref().is_none_or(|method| method == request.method.as_str())
        && of.headers.iter().all(|header| header_holds(header, request))
        && of.query.iter().all(|parameter| query_holds(parameter, request.query.unwrap_or_default()))
}

fn header_holds(of: &NameValueMatch, request: &Request<'_>) -> bool {
    let values: Vec<_> =
        request.headers.get_all(&of.name).iter().filter_map(|value| value.to_str().ok()).collect();
    !values.is_empty() && value_holds(&of.value, &values.join(","))
}

fn query_holds(of: &NameValueMatch, query: &str) -> bool {
    let pairs = query.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    let mut named = pairs.filter(|(name, _)| decode(name) == of.name);
    named.next().is_some_and(|(_, value)| value_holds(&of.value, &decode(value)))
}

fn value_holds(of: &ValueMatch, value: &str) -> bool {
    match of {
        ValueMatch::Exact(text) => text == value,
        ValueMatch::Regex(expression) => full_match(expression, value),
    }
}

fn full_match(expression: &str, text: &str) -> bool {
    thread_local! {
        static COMPILED: RefCell<HashMap<String, Regex>> = RefCell::default();
    }
    let compile = || Regex::new(&format!("^(?:{expression})$")).expect("the tables' expressions are valid");
    COMPILED.with_borrow_mut(|compiled| {
        compiled.entry(expression.to_owned()).or_insert_with(compile).is_match(text)
    })
}

/// The tables escape nothing but ASCII.
fn decode(text: &str) -> String {
    let escapes = (0x20..0x7fu8).map(|byte| (format!("%{byte:02x}"), char::from(byte).to_string()));
    escapes.fold(text.to_owned(), |text, (escape, character)| text.replace(&escape, &character))
}

pub(crate) fn normal(path: &str, policy: &Policy) -> Option<String> {
    if path == "*" {
        return Some(path.to_owned());
    }
    let mut escaped = String::new();
    let mut rest = path.strip_prefix('/').map(|_| path)?;
    while let Some(first) = rest.chars().next() {
        let mut length = first.len_utf8();
        let bytes = match first {
            '\0'..=' ' | '?' | '#' | '\x7f' => return None,
            '%' => {
                length = 3;
                let digits =
                    rest.get(1..3).filter(|digits| digits.chars().all(|digit| digit.is_ascii_hexdigit()))?;
                let byte = u8::from_str_radix(digits, 16).ok().filter(|&byte| byte != 0)?;
                escaped.push_str(&escape(byte, false));
                if policy.escaped_slashes == EscapedSlashes::Reject && matches!(byte, b'/' | b'\\') {
                    return None;
                }
                ""
            }
            '\\' if policy.escaped_slashes == EscapedSlashes::Reject => return None,
            _ => &rest[..length],
        };
        bytes.bytes().for_each(|byte| escaped.push_str(&escape(byte, true)));
        rest = &rest[length..];
    }
    let normal = without_dots(&escaped, policy.merge_slashes);
    let decoded = normal.replace("%2F", "/").replace("%5C", "/");
    let climbs = decoded.split('/').any(|segment| segment == "..");
    (!climbs).then_some(normal)
}

fn escape(byte: u8, literal: bool) -> String {
    let unreserved = byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    let stays = literal && byte.is_ascii() && byte != b'\\';
    if unreserved || stays { char::from(byte).to_string() } else { format!("%{byte:02X}") }
}

fn without_dots(path: &str, merge_slashes: bool) -> String {
    let mut kept: Vec<&str> = Vec::new();
    let segments: Vec<&str> = path.split('/').skip(1).collect();
    for segment in &segments {
        match *segment {
            "." => {}
            ".." => drop(kept.pop()),
            "" if merge_slashes => {}
            other => kept.push(other),
        }
    }
    let last = segments.last().copied().unwrap_or_default();
    // What is left of a last segment that went away is the slash before it.
    if last == "." || last == ".." || (merge_slashes && last.is_empty()) {
        kept.push("");
    }
    format!("/{}", kept.join("/"))
}
