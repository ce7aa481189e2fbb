//! Each filter over HTTP/1.1 and HTTP/2, with and without TLS.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use gatehouse_tests::client::{self, Reply, Target};
use gatehouse_tests::fake_agent::{backend, backend_id, rule};
use gateway_common::ir::{
    BackendProtocol, Filter, HeaderEdit, HeaderModifier, HttpRule, Mirror, NameValueMatch, PathModifier,
    Redirect, Rewrite, ValueMatch,
};
use hyper::header::HeaderValue;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::bed::{Bed, Echo, backend_socket, read_until};

fn filtered(prefix: &str, filters: Vec<Filter>) -> HttpRule {
    HttpRule { filters, ..rule(prefix, "b") }
}

fn modifier() -> HeaderModifier {
    let edit = |name: &str, value: &str| HeaderEdit { name: name.to_owned(), value: value.to_owned() };
    HeaderModifier {
        set: vec![edit("x-set", "s")],
        add: vec![edit("x-add", "a")],
        remove: vec!["x-gone".to_owned()],
    }
}

fn redirect(status: u16) -> Redirect {
    let path = Some(PathModifier::ReplacePrefix("/new".to_owned()));
    Redirect {
        scheme: Some("https".to_owned()),
        hostname: Some("b.example".to_owned()),
        port: None,
        path,
        status,
    }
}

async fn ask(target: &Target, path: &str) -> Reply {
    let mut request = client::request("a.example", path).unwrap();
    request.headers_mut().insert("x-set", HeaderValue::from_static("old"));
    request.headers_mut().insert("x-add", HeaderValue::from_static("old"));
    request.headers_mut().insert("x-gone", HeaderValue::from_static("old"));
    client::send(target, request).await.unwrap()
}

#[tokio::test]
async fn headers_redirects_and_rewrites() {
    let echo = Echo::start("b");
    let mut bed = Bed::with_tls().await;
    let rewrite =
        |path| Filter::UrlRewrite(Rewrite { hostname: Some("c.example".to_owned()), path: Some(path) });
    let mut on_backend = rule("/backend", "b");
    on_backend.backends[0].filters = vec![Filter::RequestHeaderModifier(modifier())];
    let rewriting = |prefix, path| {
        let mut rule = rule(prefix, "b");
        rule.backends[0].filters = vec![rewrite(path)];
        rule
    };
    let mut rules = vec![
        rewriting("/backend-full", PathModifier::ReplaceFull("/whole".to_owned())),
        rewriting("/backend-prefix", PathModifier::ReplacePrefix("/new".to_owned())),
        filtered("/request", vec![Filter::RequestHeaderModifier(modifier())]),
        filtered("/response", vec![Filter::ResponseHeaderModifier(modifier())]),
        filtered("/full", vec![rewrite(PathModifier::ReplaceFull("/whole".to_owned()))]),
        filtered("/prefix", vec![rewrite(PathModifier::ReplacePrefix("/".to_owned()))]),
        on_backend,
    ];
    for status in [301, 302, 303, 307, 308] {
        rules.push(filtered(&format!("/r{status}"), vec![Filter::RequestRedirect(redirect(status))]));
    }
    bed.serve(rules, vec![backend("b", BackendProtocol::Http1, &[echo.address])]).await;
    for target in bed.targets() {
        for path in ["/request", "/backend"] {
            let seen = ask(&target, path).await.echo().unwrap();
            let scheme = if target.tls.is_some() { "https" } else { "http" };
            assert_eq!(seen.header("x-forwarded-proto"), Some(scheme));
            assert_eq!((seen.header("x-set"), seen.headers.get("x-gone")), (Some("s"), None));
            assert_eq!(seen.headers["x-add"], ["old", "a"]);
        }
        let reply = ask(&target, "/response").await;
        assert_eq!(
            (reply.headers["x-set"].as_bytes(), reply.headers["x-add"].as_bytes()),
            (&b"s"[..], &b"a"[..])
        );
        for (path, want) in [
            ("/full/x?q=1", "/whole?q=1"),
            ("/backend-full/x?q=1", "/whole?q=1"),
            ("/backend-prefix/x?q=1", "/new/x?q=1"),
        ] {
            let seen = ask(&target, path).await.echo().unwrap();
            assert_eq!((seen.path.as_str(), seen.host.as_deref()), (want, Some("c.example")), "{path}");
        }
        let seen = ask(&target, "/prefix/x?q=1").await.echo().unwrap();
        assert_eq!((seen.path.as_str(), seen.header("x-forwarded-for")), ("/x?q=1", Some("127.0.0.1")));
        for status in [301, 302, 303, 307, 308] {
            let reply = ask(&target, &format!("/r{status}/x?q=1")).await;
            assert_eq!(reply.status.as_u16(), status);
            assert_eq!(reply.headers["location"], "https://b.example/new/x?q=1");
        }
    }
}

#[tokio::test]
async fn a_mirror_gets_the_request_and_nobody_waits_for_it() {
    let echo = Echo::start("b");
    let (listener, mirror) = backend_socket().await;
    let mut bed = Bed::new().await;
    let to = |numerator| {
        Filter::RequestMirror(Mirror { backend: Some(backend_id("m")), numerator, denominator: 100 })
    };
    let rules = vec![filtered("/always", vec![to(100)]), filtered("/never", vec![to(0)])];
    let backends = vec![
        backend("b", BackendProtocol::Http1, &[echo.address]),
        backend("m", BackendProtocol::Http1, &[mirror]),
    ];
    bed.serve(rules, backends).await;
    assert_eq!(bed.get("/never").await.echo().unwrap().backend, "b");
    let mut request = client::request("a.example", "/always").unwrap();
    *request.method_mut() = hyper::Method::POST;
    *request.body_mut() = bytes::Bytes::from_static(b"the body").into();
    let reply = client::send(&bed.http1(), request).await.unwrap();
    assert_eq!(reply.echo().unwrap().body, 8);
    let (mut stream, _) =
        tokio::time::timeout(Duration::from_secs(5), listener.accept()).await.unwrap().unwrap();
    let seen = read_until(&mut stream, "the body").await;
    assert!(seen.starts_with("POST /always HTTP/1.1\r\n"), "{seen}");
}

#[tokio::test]
async fn each_of_several_mirrors_gets_its_share() {
    let echo = Echo::start("b");
    let ((always, one), (often, two)) = (backend_socket().await, backend_socket().await);
    let mut bed = Bed::new().await;
    let to = |name, numerator| {
        Filter::RequestMirror(Mirror { backend: Some(backend_id(name)), numerator, denominator: 4 })
    };
    let backends = vec![
        backend("b", BackendProtocol::Http1, &[echo.address]),
        backend("one", BackendProtocol::Http1, &[one]),
        backend("two", BackendProtocol::Http1, &[two]),
    ];
    bed.serve(vec![filtered("/", vec![to("one", 4), to("two", 1)])], backends).await;
    let count = |listener: tokio::net::TcpListener| {
        let heard = Arc::new(AtomicUsize::new(0));
        let counter = heard.clone();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                read_until(&mut stream, "\r\n\r\n").await;
                counter.fetch_add(1, Ordering::Relaxed);
                let answer = b"HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n";
                stream.write_all(answer).await.unwrap();
            }
        });
        heard
    };
    let (always, often) = (count(always), count(often));
    for _ in 0..200 {
        assert_eq!(bed.get("/").await.status, 200);
    }
    let all = async {
        while always.load(Ordering::Relaxed) < 200 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), all).await.unwrap();
    // Binomial, n = 200, p = 0.25: outside of this once in 10^9.
    let often = often.load(Ordering::Relaxed);
    assert!((17..=91).contains(&often), "{often}");
}

#[tokio::test]
async fn backends_share_by_weight() {
    let (one, two) = (Echo::start("one"), Echo::start("two"));
    let mut bed = Bed::new().await;
    let mut weighted = rule("/", "one");
    weighted.backends =
        vec![gatehouse_tests::fake_agent::share("one", 9), gatehouse_tests::fake_agent::share("two", 1)];
    let backends = vec![
        backend("one", BackendProtocol::Http1, &[one.address]),
        backend("two", BackendProtocol::Http1, &[two.address]),
    ];
    bed.serve(vec![weighted], backends).await;
    let mut connection = client::Connection::open(&bed.http1()).await.unwrap();
    let mut hits = 0;
    for _ in 0..400 {
        let reply = connection.send(client::request("a.example", "/").unwrap()).await.unwrap();
        hits += u32::from(reply.echo().unwrap().backend == "two");
    }
    // Binomial, n = 400, p = 0.1: outside of this once in 10^9.
    assert!((8..=85).contains(&hits), "{hits}");
}

#[tokio::test]
async fn a_filter_has_the_last_word_on_what_backends_are_told_of_the_client() {
    let echo = Echo::start("b");
    let mut bed = Bed::new().await;
    let edit = |name: &str, value: &str| HeaderEdit { name: name.to_owned(), value: value.to_owned() };
    let modifier = HeaderModifier {
        set: vec![edit("x-forwarded-proto", "https"), edit("x-real-ip", "203.0.113.9")],
        add: Vec::new(),
        remove: vec!["forwarded".to_owned()],
    };
    let hostname = Some("b.example".to_owned());
    let filters =
        vec![Filter::RequestHeaderModifier(modifier), Filter::UrlRewrite(Rewrite { hostname, path: None })];
    let backends = vec![backend("b", BackendProtocol::Http1, &[echo.address])];
    bed.serve(vec![filtered("/", filters)], backends).await;
    let mut request = client::request("a.example", "/").unwrap();
    for forged in ["x-real-ip", "x-forwarded-for", "x-forwarded-proto"] {
        request.headers_mut().insert(forged, HeaderValue::from_static("192.0.2.77"));
    }
    let seen = client::send(&bed.http1(), request).await.unwrap().echo().unwrap();
    let told = |name: &str| seen.headers.get(name).map(|values| values.join(", "));
    assert_eq!(told("x-forwarded-proto").as_deref(), Some("https"));
    assert_eq!(told("x-real-ip").as_deref(), Some("203.0.113.9"));
    assert_eq!(told("forwarded"), None);
    assert_eq!(told("x-forwarded-for").as_deref(), Some("127.0.0.1"));
    assert_eq!(told("x-forwarded-host").as_deref(), Some("a.example"));
    assert_eq!(told("host").as_deref(), Some("b.example"));
}

/// What a client says of itself chooses no rule; what the proxy tells backends does.
#[tokio::test]
async fn rules_match_what_backends_are_told_of_the_client() {
    let echo = Echo::start("b");
    let mut bed = Bed::new().await;
    let by = |prefix: &str, name: &str, value: &str| {
        let mut rule = rule(prefix, "b");
        let header = NameValueMatch { name: name.to_owned(), value: ValueMatch::Exact(value.to_owned()) };
        rule.matches[0].headers = vec![header];
        rule
    };
    let rules = vec![
        by("/internal", "x-real-ip", "10.0.0.1"),
        by("/secure", "x-forwarded-proto", "https"),
        by("/told", "x-forwarded-for", "127.0.0.1"),
    ];
    bed.serve(rules, vec![backend("b", BackendProtocol::Http1, &[echo.address])]).await;
    for (path, name, forged, status) in [
        ("/internal", "x-real-ip", "10.0.0.1", 404),
        ("/secure", "x-forwarded-proto", "https", 404),
        ("/told", "x-forwarded-for", "192.0.2.77", 200),
    ] {
        let mut request = client::request("a.example", path).unwrap();
        request.headers_mut().insert(name, HeaderValue::from_static(forged));
        let reply = client::send(&bed.http1(), request).await.unwrap();
        assert_eq!(reply.status, status, "{path}");
    }
}

/// A backend, and one that is mirrored to.
async fn mirrored(bed: &mut Bed, echo: &Echo, mirror: std::net::SocketAddr) {
    let all = Mirror { backend: Some(backend_id("m")), numerator: 1, denominator: 1 };
    let backends = vec![
        backend("b", BackendProtocol::Http1, &[echo.address]),
        backend("m", BackendProtocol::Http1, &[mirror]),
    ];
    bed.serve(vec![filtered("/", vec![Filter::RequestMirror(all)])], backends).await;
}

#[tokio::test]
async fn a_mirror_that_does_not_answer_is_given_up() {
    let echo = Echo::start("b");
    let (listener, mirror) = backend_socket().await;
    let mut bed = Bed::new().await;
    bed.settings.timeouts.body_idle_ms = 300;
    mirrored(&mut bed, &echo, mirror).await;
    assert_eq!(bed.get("/").await.status, 200);
    let (mut stream, _) = listener.accept().await.unwrap();
    read_until(&mut stream, "\r\n\r\n").await;
    let end = tokio::time::timeout(client::PATIENCE, stream.read(&mut [0])).await;
    assert_eq!(end.expect("the proxy waits").unwrap(), 0);
    // Nor for one that begins and does not end.
    assert_eq!(bed.get("/").await.status, 200);
    let (mut stream, _) = listener.accept().await.unwrap();
    read_until(&mut stream, "\r\n\r\n").await;
    stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nx").await.unwrap();
    let end = tokio::time::timeout(client::PATIENCE, stream.read(&mut [0])).await;
    assert_eq!(end.expect("the proxy waits").unwrap(), 0);
}

#[tokio::test]
async fn a_mirror_does_not_take_a_broken_body_for_a_whole_one() {
    let echo = Echo::start("b");
    let (listener, mirror) = backend_socket().await;
    let mut bed = Bed::new().await;
    mirrored(&mut bed, &echo, mirror).await;
    let mut client = tokio::net::TcpStream::connect(bed.address).await.unwrap();
    let request = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n7\r\npartial\r\n";
    client.write_all(request).await.unwrap();
    let (mut stream, _) = listener.accept().await.unwrap();
    read_until(&mut stream, "partial\r\n").await;
    drop(client);
    let mut rest = String::new();
    let read = stream.read_to_string(&mut rest);
    tokio::time::timeout(client::PATIENCE, read).await.expect("the proxy waits").unwrap();
    assert_eq!(rest, "");
}
