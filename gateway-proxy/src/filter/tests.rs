use gateway_common::ir::{
    BackendId, Filter, HeaderEdit, HeaderModifier, Mirror, PathModifier, Redirect, Rewrite,
};
use http::header::{HOST, LOCATION};
use http::request::Parts;
use http::{HeaderMap, Request, Response, StatusCode};

use super::{Context, Filters, Outcome};

fn compile(filters: &[Filter]) -> Filters {
    let mut problems = Vec::new();
    let filters = Filters::compile(filters, "rules[0]", &mut problems);
    assert!(problems.is_empty(), "{problems:?}");
    filters
}

fn parts(target: &str) -> Parts {
    Request::get(target).header(HOST, "example.com:8080").body(()).unwrap().into_parts().0
}

fn context(scheme: &'static str, port: u16) -> Context<'static> {
    Context { scheme, port, prefix: Some("/old".len()), random: &|below| below - 1 }
}

fn respond(filter: Filter, target: &str, context: &Context<'_>) -> Response<()> {
    match compile(&[filter]).request(&mut parts(target), context) {
        Outcome::Respond(response) => response,
        Outcome::Continue { mirrors } => panic!("continues, {mirrors:?}"),
    }
}

fn location(redirect: Redirect, scheme: &'static str, port: u16) -> String {
    let response = respond(Filter::RequestRedirect(redirect), "/old/x?q=1", &context(scheme, port));
    response.headers()[LOCATION].to_str().unwrap().to_owned()
}

const REDIRECT: Redirect = Redirect { scheme: None, hostname: None, port: None, path: None, status: 302 };

#[test]
fn a_redirect_keeps_what_it_does_not_name() {
    assert_eq!(location(REDIRECT, "http", 80), "http://example.com/old/x?q=1");
    assert_eq!(location(REDIRECT, "http", 8080), "http://example.com:8080/old/x?q=1");
    let other_host = Redirect { hostname: Some("example.org".into()), ..REDIRECT };
    assert_eq!(location(other_host.clone(), "https", 443), "https://example.org/old/x?q=1");
    assert_eq!(location(other_host, "https", 8443), "https://example.org:8443/old/x?q=1");
}

#[test]
fn the_port_of_a_redirect_follows_its_scheme() {
    let to = |scheme: &str, port| Redirect { scheme: Some(scheme.into()), port, ..REDIRECT };
    assert_eq!(location(to("https", None), "http", 8080), "https://example.com/old/x?q=1");
    assert_eq!(location(to("http", None), "https", 8443), "http://example.com/old/x?q=1");
    assert_eq!(location(to("https", Some(8443)), "http", 80), "https://example.com:8443/old/x?q=1");
    assert_eq!(location(to("https", Some(443)), "http", 80), "https://example.com/old/x?q=1");
    assert_eq!(location(to("https", Some(80)), "http", 80), "https://example.com:80/old/x?q=1");
    let port = |port| Redirect { port: Some(port), ..REDIRECT };
    assert_eq!(location(port(80), "http", 8080), "http://example.com/old/x?q=1");
    assert_eq!(location(port(8083), "http", 80), "http://example.com:8083/old/x?q=1");
}

#[test]
fn a_redirect_changes_the_path() {
    let to = |path| Redirect { path: Some(path), ..REDIRECT };
    let full = to(PathModifier::ReplaceFull("/new".into()));
    assert_eq!(location(full, "http", 80), "http://example.com/new?q=1");
    let prefix = to(PathModifier::ReplacePrefix("/new/".into()));
    assert_eq!(location(prefix, "http", 80), "http://example.com/new/x?q=1");
}

#[test]
fn a_redirect_without_a_host_stays_on_the_origin() {
    let filters = compile(&[Filter::RequestRedirect(REDIRECT)]);
    let mut request = parts("//evil.example/x");
    request.headers.remove(HOST);
    let Outcome::Respond(response) = filters.request(&mut request, &context("http", 80)) else { panic!() };
    assert_eq!(response.headers()[LOCATION], "/evil.example/x");
    let Outcome::Respond(response) = filters.request(&mut parts("*"), &context("http", 80)) else { panic!() };
    assert_eq!(response.headers()[LOCATION], "http://example.com/");
}

#[test]
fn every_redirect_status_of_the_api() {
    for status in [301, 302, 303, 307, 308] {
        let redirect = Filter::RequestRedirect(Redirect { status, ..REDIRECT });
        assert_eq!(respond(redirect, "/", &context("http", 80)).status().as_u16(), status);
    }
}

fn edit(name: &str, value: &str) -> HeaderEdit {
    HeaderEdit { name: name.into(), value: value.into() }
}

fn modifier() -> HeaderModifier {
    HeaderModifier {
        set: vec![edit("X-Set", "new"), edit("X-Fresh", "set")],
        add: vec![edit("X-Add", "b"), edit("X-Set", "more")],
        remove: vec!["X-Gone".into()],
    }
}

fn edited(mut headers: HeaderMap, apply: impl FnOnce(&mut HeaderMap)) -> String {
    for (name, value) in
        [("x-set", "old"), ("x-set", "older"), ("x-add", "a"), ("x-gone", "1"), ("x-gone", "2")]
    {
        headers.append(name, value.parse().unwrap());
    }
    apply(&mut headers);
    let mut lines: Vec<_> =
        headers.iter().map(|(name, value)| format!("{name}={}", value.to_str().unwrap())).collect();
    lines.sort();
    lines.join(" ")
}

#[test]
fn header_modifiers_set_add_and_remove() {
    let want = "x-add=a x-add=b x-fresh=set x-set=more x-set=new";
    let filters = compile(&[Filter::RequestHeaderModifier(modifier())]);
    let mut request = parts("/");
    request.headers.clear();
    let got = edited(HeaderMap::new(), |headers| {
        std::mem::swap(headers, &mut request.headers);
        filters.request(&mut request, &context("http", 80));
        filters.response(&mut request.headers);
        std::mem::swap(headers, &mut request.headers);
    });
    assert_eq!(got, want);

    let filters = compile(&[Filter::ResponseHeaderModifier(modifier())]);
    assert_eq!(edited(HeaderMap::new(), |headers| filters.response(headers)), want);
}

#[test]
fn a_rewrite_changes_host_and_path_and_keeps_the_query() {
    let filters = compile(&[Filter::UrlRewrite(Rewrite {
        hostname: Some("internal.example".into()),
        path: Some(PathModifier::ReplacePrefix("/new".into())),
    })]);
    for (target, want) in [("/old/x?q=/old", "/new/x?q=/old"), ("/old", "/new"), ("*", "*")] {
        let mut request = parts(target);
        let outcome = filters.request(&mut request, &context("http", 80));
        assert!(matches!(outcome, Outcome::Continue { mirrors } if mirrors.is_empty()));
        assert_eq!(request.uri.to_string(), want);
        assert_eq!(request.headers[HOST], "internal.example");
    }
}

#[test]
fn a_mirror_takes_its_fraction() {
    let mirror = |numerator, denominator| {
        let backend = Some(BackendId::new("n/mirror:80"));
        compile(&[Filter::RequestMirror(Mirror { backend, numerator, denominator })])
    };
    let count = |filters: &Filters, draw: u32| {
        let context = Context { random: &|_| draw, ..context("http", 80) };
        match filters.request(&mut parts("/"), &context) {
            Outcome::Continue { mirrors } => mirrors.len(),
            Outcome::Respond(_) => panic!("responds"),
        }
    };
    assert_eq!(count(&mirror(1, 1), 0), 1);
    assert_eq!(count(&mirror(0, 100), 0), 0);
    assert_eq!(count(&mirror(20, 100), 19), 1);
    assert_eq!(count(&mirror(20, 100), 20), 0);
    assert_eq!(mirror(1, 2).mirrors().count(), 1);
}

#[test]
fn a_filter_that_cannot_be_applied_answers_500_and_is_named() {
    let header = |set: Vec<HeaderEdit>, remove: &[&str]| HeaderModifier {
        set,
        add: Vec::new(),
        remove: remove.iter().map(|&name| name.to_owned()).collect(),
    };
    for (filter, want) in [
        (
            Filter::RequestHeaderModifier(header(vec![edit("a b", "")], &[])),
            "rules[0].filters[0].requestHeaderModifier.set[0]",
        ),
        (Filter::RequestHeaderModifier(header(vec![edit("a", "x\r\ny")], &[])), "set[0]: the value of `a`"),
        (
            Filter::RequestHeaderModifier(header(vec![], &["Transfer-Encoding"])),
            "remove[0]: `transfer-encoding`",
        ),
        (Filter::RequestHeaderModifier(header(vec![], &["host"])), "requestHeaderModifier.`host`"),
        (
            Filter::ResponseHeaderModifier(header(vec![edit("Content-Length", "1")], &[])),
            "responseHeaderModifier.set[0]",
        ),
        (Filter::RequestRedirect(Redirect { status: 200, ..REDIRECT }), "requestRedirect.statusCode"),
        (
            Filter::UrlRewrite(Rewrite {
                hostname: None,
                path: Some(PathModifier::ReplaceFull("/a?b".into())),
            }),
            "urlRewrite.path",
        ),
    ] {
        let mut problems = Vec::new();
        let filters = Filters::compile(&[filter], "rules[0]", &mut problems);
        assert!(problems.len() == 1 && problems[0].contains(want), "{problems:?} {want}");
        let outcome = filters.request(&mut parts("/"), &context("http", 80));
        let Outcome::Respond(response) = outcome else { panic!("{want}") };
        assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
    }
}
