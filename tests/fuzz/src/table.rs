//! Tables of routes and requests for them, out of few enough words that they meet.

use std::rc::Rc;

use gateway_common::ir::{
    Hostname, HttpMatch, HttpRule, NameValueMatch, PathMatch, Route, RouteId, RouteRules, Timeouts,
    ValueMatch,
};
use gateway_proxy::route::{HttpRoute, Request, Router};
use http::Method;
use http::header::{HeaderMap, HeaderName, HeaderValue};

use super::input::Input;
use super::oracle;

const HOSTS: [&str; 6] =
    ["a.example", "b.a.example", "*.a.example", "*.example", "*.b.a.example", "other.test"];
const ASKED: [&str; 7] =
    ["a.example", "B.A.example:80", "c.b.a.example", "x.example.", "other.test", "none", "A.EXAMPLE.:1"];
const PREFIXES: [&str; 7] = ["/", "/a", "/a/b", "/a/b/c", "/ab", "/b", "/a/%20"];
const EXPRESSIONS: [&str; 6] = ["/a.*", "/(a|b)", "/a/[bc]", "/.", "/a|/a/b", ".*"];
const PATHS: [&str; 15] = [
    "/", "/a", "/a/", "/a/b", "/a/b/", "/a//b", "/a/b/c", "/a/b/c/d", "/ab", "/ab/c", "/b", "/c", "*",
    "/a/%20/x", "/a/b/cd",
];
const NAMES: [&str; 2] = ["x", "y"];
const VALUES: [&str; 4] = ["1", "2", "1,2", "a b"];
const PATTERNS: [&str; 3] = ["1|2", ".*", "[0-9]"];
const QUERIES: [&str; 8] = ["", "x=1", "x=2&x=1", "y=2&x=1", "x", "x=a%20b&y=1", "%78=1", "x=%32&y=1,2"];
const METHODS: [Method; 3] = [Method::GET, Method::POST, Method::HEAD];

/// What is attached, as the oracle reads it, and as the router got it.
#[derive(Clone, Default)]
struct Attached {
    routes: Vec<(Route, Vec<Hostname>)>,
    compiled: Vec<Rc<HttpRoute>>,
    router: Router,
}

pub(crate) fn check(input: &mut Input<'_>) {
    let mut attached = Attached::default();
    for step in 0..12 {
        if step > 0 && input.is_empty() {
            break;
        }
        let before = attached.clone();
        change(input, &mut attached);
        for _ in 0..input.below(6) + 1 {
            ask(input, &attached);
        }
        ask(input, &before);
    }
    for ((_, hostnames), compiled) in attached.routes.iter().zip(&attached.compiled) {
        attached.router.remove(compiled, hostnames);
    }
    assert!(attached.router.is_empty(), "nothing is left of routes that are gone");
}

/// Replaces, adds or removes one route, as an update from the agent does.
fn change(input: &mut Input<'_>, attached: &mut Attached) {
    let id =
        RouteId::new(format!("HTTPRoute/{}/{}", input.one_of(&["n", "m"]), input.one_of(&["a", "b", "c"])));
    if let Some(at) = attached.routes.iter().position(|(route, _)| route.id == id) {
        let (_, hostnames) = attached.routes.swap_remove(at);
        attached.router.remove(&attached.compiled.swap_remove(at), &hostnames);
    }
    if input.below(5) == 0 {
        return;
    }
    let mut hostnames: Vec<_> = input.some(4, |input| Hostname::new(input.one_of(&HOSTS)));
    hostnames.dedup();
    let rules = RouteRules::Http(input.some(4, rule));
    let route = Route { id, created: input.one_of(&[1, 2]), attachments: Vec::new(), rules };
    let compiled = compile(&route);
    attached.router.insert(&compiled, &hostnames);
    attached.routes.push((route, hostnames));
    attached.compiled.push(Rc::new(compiled));
}

fn compile(route: &Route) -> HttpRoute {
    let mut problems = Vec::new();
    let compiled = HttpRoute::compile(route, &mut problems);
    assert!(problems.is_empty(), "{problems:?}");
    compiled.expect("an HTTP route")
}

fn rule(input: &mut Input<'_>) -> HttpRule {
    let matches = input.some(4, |input| HttpMatch {
        path: match input.below(8) {
            0 | 2 => PathMatch::Exact(input.one_of(&PATHS).into()),
            1 => PathMatch::Regex(input.one_of(&EXPRESSIONS).into()),
            _ => PathMatch::Prefix(input.one_of(&PREFIXES).into()),
        },
        method: input.maybe(|input| METHODS[input.below(METHODS.len())].to_string()),
        headers: named(input),
        query: named(input),
    });
    HttpRule { name: None, matches, filters: Vec::new(), backends: Vec::new(), timeouts: Timeouts::default() }
}

/// Each name at most once.
fn named(input: &mut Input<'_>) -> Vec<NameValueMatch> {
    let each = NAMES.iter().filter_map(|&name| {
        input.maybe(|input| {
            let value = match input.below(8) {
                0 => ValueMatch::Regex(input.one_of(&PATTERNS).into()),
                _ => ValueMatch::Exact(input.one_of(&VALUES).into()),
            };
            NameValueMatch { name: name.into(), value }
        })
    });
    each.collect()
}

fn ask(input: &mut Input<'_>, Attached { routes, router, .. }: &Attached) {
    let mut headers = HeaderMap::new();
    for _ in 0..input.below(4) {
        let (name, value) = (input.one_of(&NAMES), input.one_of(&VALUES));
        headers.append(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    let request = Request {
        authority: input.one_of(&ASKED),
        method: &METHODS[input.below(METHODS.len())],
        path: input.one_of(&PATHS),
        query: input.maybe(|input| input.one_of(&QUERIES)),
        headers: &headers,
    };
    let found = router.find(&request);
    let choice = found.map(|found| (found.route().to_string(), found.rule.index, found.match_index));
    assert_eq!(choice, oracle::find(routes, &request), "{request:?}\n{routes:#?}");
    if let Some(prefix) = found.and_then(|found| found.prefix) {
        let rest = &request.path[prefix..];
        assert!(prefix == 0 || rest.is_empty() || rest.starts_with('/'), "a prefix ends with an element");
    }
}
