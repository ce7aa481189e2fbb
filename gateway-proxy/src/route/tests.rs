//! Precedence is held to a scan by the written rules in `tests/fuzz`; here is what that cannot see.

use gateway_common::ir::{
    Filter, HttpMatch, HttpRule, NameValueMatch, PathMatch, Redirect, Route, RouteRules, Timeouts, ValueMatch,
};

use super::*;

fn route(name: &str, paths: &[PathMatch]) -> Route {
    let of =
        |path: &PathMatch| HttpMatch { path: path.clone(), method: None, headers: vec![], query: vec![] };
    let rule = HttpRule {
        name: None,
        matches: paths.iter().map(of).collect(),
        filters: vec![],
        backends: vec![],
        timeouts: Timeouts { request_ms: Some(0), backend_request_ms: Some(1500) },
    };
    let id = RouteId::new(format!("HTTPRoute/n/{name}"));
    Route { id, created: 0, attachments: vec![], rules: RouteRules::Http(vec![rule]) }
}

fn compile(route: &Route) -> HttpRoute {
    let mut problems = Vec::new();
    let compiled = HttpRoute::compile(route, &mut problems).unwrap();
    assert!(problems.is_empty(), "{problems:?}");
    compiled
}

fn find<'r>(router: &'r Router, authority: &str, path: &str) -> Option<Found<'r>> {
    let (method, headers) = (Method::GET, HeaderMap::new());
    router.find(&Request { authority, method: &method, path, query: None, headers: &headers })
}

fn prefix(path: &str) -> PathMatch {
    PathMatch::Prefix(path.into())
}

fn host(name: &str) -> Hostname {
    Hostname::new(name)
}

#[test]
fn a_change_copies_only_the_hosts_it_names() {
    let mut router = Router::default();
    for at in 0..5000 {
        let route = compile(&route(&at.to_string(), &[prefix("/")]));
        router.insert(&route, &[host(&format!("h{at}.example"))]);
    }
    let table = |router: &Router, name: &str| Arc::as_ptr(router.hosts.find(name).unwrap());
    let mut changed = router.clone();
    changed.insert(&compile(&route("new", &[prefix("/new")])), &[host("h7.example")]);
    for at in (0..5000).filter(|&at| at != 7) {
        let name = format!("h{at}.example");
        assert_eq!(table(&router, &name), table(&changed, &name));
    }
    assert_ne!(table(&router, "h7.example"), table(&changed, "h7.example"));
    assert_eq!(find(&router, "h7.example", "/new").unwrap().route().as_str(), "HTTPRoute/n/7");
    assert_eq!(find(&changed, "h7.example", "/new").unwrap().route().as_str(), "HTTPRoute/n/new");
}

#[test]
fn the_prefix_that_matched_is_measured() {
    let mut router = Router::default();
    router.insert(&compile(&route("a", &[prefix("/"), prefix("/a/b"), PathMatch::Exact("/x".into())])), &[]);
    let at = |path| find(&router, "any", path).map(|found| (found.match_index, found.prefix));
    assert_eq!(at("/a/b/c"), Some((1, Some(4))));
    assert_eq!(at("/a/bc"), Some((0, Some(0))));
    assert_eq!(at("/x"), Some((2, None)));
    assert_eq!(at("*"), Some((0, Some(0))), "the prefix `/` matches every request");
}

#[test]
fn configured_paths_take_the_normal_form_of_requests() {
    let mut router = Router::default();
    router.insert(&compile(&route("a", &[prefix("/caf%c3%a9/"), PathMatch::Exact("/%7eme".into())])), &[]);
    assert!(find(&router, "", "/caf%C3%A9/menu").is_some());
    assert!(find(&router, "", "/~me").is_some());
}

#[test]
fn zero_is_no_time_limit() {
    let compiled = compile(&route("a", &[]));
    assert_eq!(compiled.rules[0].request_timeout, None);
    assert_eq!(compiled.rules[0].backend_timeout, Some(std::time::Duration::from_millis(1500)));
}

#[test]
fn a_host_header_match_sees_the_authority() {
    let mut of = route("a", &[prefix("/")]);
    let RouteRules::Http(rules) = &mut of.rules else { panic!() };
    rules[0].matches[0].headers =
        vec![NameValueMatch { name: "host".into(), value: ValueMatch::Exact("a.example:8080".into()) }];
    let mut router = Router::default();
    router.insert(&compile(&of), &[]);
    assert!(find(&router, "a.example:8080", "/").is_some());
    assert!(find(&router, "a.example", "/").is_none());
}

#[test]
fn what_cannot_be_compiled_is_named_and_the_rest_serves() {
    let mut of = route("a", &[PathMatch::Regex("(".into()), prefix("/ok"), prefix("/b d")]);
    let RouteRules::Http(rules) = &mut of.rules else { panic!() };
    rules[0].matches[1].headers = vec![];
    rules[0].filters = vec![Filter::RequestRedirect(Redirect {
        scheme: None,
        hostname: None,
        port: None,
        path: None,
        status: 299,
    })];
    let mut problems = Vec::new();
    let compiled = HttpRoute::compile(&of, &mut problems).unwrap();
    let wants = [
        "rules[0].filters[0].requestRedirect.statusCode",
        "rules[0].matches[0].path",
        "rules[0].matches[2].path",
    ];
    assert_eq!(problems.len(), wants.len(), "{problems:?}");
    for want in wants {
        assert!(problems.iter().any(|problem| problem.starts_with(want)), "{want} in {problems:?}");
    }
    let mut router = Router::default();
    router.insert(&compiled, &[]);
    assert!(find(&router, "", "/ok").is_some());
    assert!(find(&router, "", "/").is_none());
}
