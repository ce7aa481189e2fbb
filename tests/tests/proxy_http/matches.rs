//! Each kind of match, and which listener a host name belongs to.

use gatehouse_tests::client;
use gatehouse_tests::fake_agent::{backend, gateway, http_port, route, rule};
use gateway_common::ir::{
    BackendProtocol, Hostname, HttpMatch, HttpRule, Listener, ListenerProtocol, NameValueMatch, PathMatch,
    Resource, Route, ValueMatch,
};
use hyper::Method;

use crate::bed::{Bed, Echo};

fn to(name: &str, of: HttpMatch) -> HttpRule {
    HttpRule { matches: vec![of], ..rule("/", name) }
}

fn on_path(path: PathMatch) -> HttpMatch {
    HttpMatch { path, method: None, headers: Vec::new(), query: Vec::new() }
}

#[tokio::test]
async fn each_match_by_precedence() {
    let names = ["exact", "prefix", "regex", "method", "header", "query"];
    let echoes: Vec<_> = names.iter().map(|name| Echo::start(name)).collect();
    let mut bed = Bed::with_tls().await;
    let any = || on_path(PathMatch::Prefix("/m".to_owned()));
    let is = |name: &str, value: &str| {
        vec![NameValueMatch { name: name.to_owned(), value: ValueMatch::Exact(value.to_owned()) }]
    };
    let rules = vec![
        to("prefix", on_path(PathMatch::Prefix("/p".to_owned()))),
        to("exact", on_path(PathMatch::Exact("/p/exact".to_owned()))),
        to("regex", on_path(PathMatch::Regex("/x/[0-9]+".to_owned()))),
        to("method", HttpMatch { method: Some("PUT".to_owned()), ..any() }),
        to("header", HttpMatch { headers: is("x-h", "1"), ..any() }),
        to("query", HttpMatch { query: is("q", "1"), ..any() }),
    ];
    let backends =
        names.iter().zip(&echoes).map(|(name, echo)| backend(name, BackendProtocol::Http1, &[echo.address]));
    bed.serve(rules, backends.collect()).await;
    for target in bed.targets() {
        for (method, path, header, want) in [
            (Method::GET, "/p/exact", "0", Some("exact")),
            (Method::GET, "/p/exact/more", "0", Some("prefix")),
            (Method::GET, "/p", "0", Some("prefix")),
            (Method::GET, "/prefix", "0", None),
            (Method::GET, "/x/12", "0", Some("regex")),
            (Method::GET, "/x/12a", "0", None),
            (Method::PUT, "/m?q=1", "1", Some("method")),
            (Method::GET, "/m?q=1", "1", Some("header")),
            (Method::GET, "/m?q=1", "0", Some("query")),
            (Method::GET, "/m?q=2", "0", None),
            (Method::GET, "/a/../p/./exact", "0", Some("exact")),
        ] {
            let mut request = client::request("a.example", path).unwrap();
            request.headers_mut().insert("x-h", header.parse().unwrap());
            *request.method_mut() = method;
            let reply = client::send(&target, request).await.unwrap();
            let got = reply.echo().ok().map(|echo| echo.backend);
            assert_eq!(got.as_deref(), want, "{path} {}", reply.status);
        }
    }
}

#[tokio::test]
async fn a_host_belongs_to_the_most_specific_listener_alone() {
    let echo = Echo::start("b");
    let mut bed = Bed::new().await;
    let port = bed.port();
    let mut of = http_port(port);
    let listener = |name: &str, host: Option<&str>| Listener {
        name: name.to_owned(),
        hostname: host.map(Hostname::new),
        protocol: ListenerProtocol::Http,
    };
    of.listeners = vec![
        listener("any", None),
        listener("wild", Some("*.example.com")),
        listener("exact", Some("a.example.com")),
    ];
    let on =
        |name: &str, prefix: &str| Resource::Route(route(name, port, name, &[], vec![rule(prefix, "b")]));
    let all = vec![
        Resource::Gateway(gateway(vec![of])),
        on("any", "/any"),
        on("wild", "/wild"),
        on("exact", "/exact"),
        backend("b", BackendProtocol::Http1, &[echo.address]),
    ];
    assert!(bed.agent.replace(all).await.unwrap().is_empty());
    for (host, path, status) in [
        ("a.example.com", "/exact", 200),
        ("A.Example.Com:8080", "/exact", 200),
        ("a.example.com", "/wild", 404),
        ("b.example.com", "/wild", 200),
        ("x.y.example.com", "/wild", 200),
        ("b.example.com", "/any", 404),
        ("example.com", "/any", 200),
        ("example.com", "/wild", 404),
    ] {
        let reply = client::send(&bed.http1(), client::request(host, path).unwrap()).await.unwrap();
        assert_eq!(reply.status.as_u16(), status, "{host}{path}");
    }
}

/// What GatewayRouteHostnameIntersectionPrecedence asks for: both routes share one name with the listener.
#[tokio::test]
async fn the_name_that_a_route_says_decides_before_its_path() {
    let (one, two) = (Echo::start("wide"), Echo::start("narrow"));
    let mut bed = Bed::new().await;
    let port = bed.port();
    let mut of = http_port(port);
    for (own, wide, narrow) in [
        ("abc.example.com", "*.example.com", "abc.example.com"),
        ("*.example.com", "*.com", "*.example.com"),
        ("*.example.com", "", "*.com"),
    ] {
        of.listeners[0].hostname = Some(Hostname::new(own));
        let route = |name: &str, created, hostname: &str, prefix: &str| {
            let hostnames: &[&str] = if hostname.is_empty() { &[] } else { &[hostname] };
            Resource::Route(Route {
                created,
                ..route(name, port, "http", hostnames, vec![rule(prefix, name)])
            })
        };
        let all = vec![
            Resource::Gateway(gateway(vec![of.clone()])),
            route("wide", 1, wide, "/path/prefix"),
            route("narrow", 2, narrow, "/path"),
            backend("wide", BackendProtocol::Http1, &[one.address]),
            backend("narrow", BackendProtocol::Http1, &[two.address]),
        ];
        assert!(bed.agent.replace(all).await.unwrap().is_empty());
        let ask = async |host: &str| {
            let request = client::request(host, "/path/prefix/longer").unwrap();
            client::send(&bed.http1(), request).await.unwrap()
        };
        assert_eq!(ask("abc.example.com").await.echo().unwrap().backend, "narrow", "{own}");
        assert_eq!(ask("abc.com").await.status, 404, "{own}: the listener has no such name");
    }
}
