//! What is refused before a route is looked for: each has its line in the access log, and is counted.

use gatehouse_tests::admin;
use gatehouse_tests::client;
use gatehouse_tests::fake_agent::{backend, gateway, http_port, route, rule};
use gateway_common::ir::{AccessLog, BackendProtocol, Hostname, Resource};
use serde_json::Value;

use crate::bed::{Bed, raw};

/// Serves `a.example` alone, and logs.
async fn bed() -> Bed {
    let mut bed = Bed::new().await;
    bed.settings.access_log = AccessLog::Json;
    bed.settings.timeouts.header_ms = 1000;
    let port = bed.port();
    let mut listening = http_port(port);
    listening.listeners[0].hostname = Some(Hostname::new("a.example"));
    let mut gateway = gateway(vec![listening]);
    gateway.settings = bed.settings.clone();
    let route = route("r", port, "http", &["a.example"], vec![rule("/", "b")]);
    let all =
        vec![Resource::Gateway(gateway), Resource::Route(route), backend("b", BackendProtocol::Http1, &[])];
    assert!(bed.agent.replace(all).await.unwrap().is_empty());
    bed
}

async fn count(bed: &Bed, family: &str, labels: &[&str]) -> f64 {
    let name = format!("gatehouse_proxy_{family}_total");
    admin::sample(&bed.agent.admin(), &name, labels).await.unwrap().unwrap_or_default()
}

#[tokio::test]
async fn a_header_that_cannot_be_read_is_logged_and_counted() {
    let bed = bed().await;
    let large = format!("GET / HTTP/1.1\r\nHost: a.example\r\nX: {}\r\n\r\n", "x".repeat(70_000));
    let many: String = (0..150).map(|n| format!("x-{n}: 1\r\n")).collect();
    let many = format!("GET / HTTP/1.1\r\nHost: a.example\r\n{many}\r\n");
    let mut expected = 0;
    for (request, status, reason, code) in [
        ("GET / HTTP/9.9\r\nHost: a.example\r\n\r\n", Some(400), "bad_request", "4xx"),
        ("GET / HTTP/1.1\r\nHost : a.example\r\n\r\n", Some(400), "bad_request", "4xx"),
        (&large, Some(431), "header_too_large", "4xx"),
        (&many, Some(431), "header_too_large", "4xx"),
        ("GET / HTTP/1.1\r\nHost: a.example\r\n", None, "header_timeout", "none"),
        ("P", None, "header_timeout", "none"),
    ] {
        let labels = ["gateway=\"default/web\"", "listener=\"\"", &format!("reason=\"{reason}\"")];
        let before = count(&bed, "requests_ended", &labels).await;
        let class = ["listener=\"\"", &format!("code=\"{code}\"")];
        let before_class = count(&bed, "requests", &class).await;
        let answer = raw(bed.address, request.as_bytes()).await;
        let status_line = status.map(|status: u16| format!("HTTP/1.1 {status}"));
        assert_eq!(answer.get(..12), status_line.as_deref(), "{request:.40}");
        expected += 1;
        let line = bed.agent.logged(expected).await.unwrap().pop().unwrap();
        assert_eq!((&line["reason"], &line["status"]), (&reason.into(), &Value::from(status)), "{line}");
        assert!(line["detail"].as_str().is_some_and(|detail| !detail.is_empty()), "{line}");
        assert!(line.get("method").is_none() && line.get("path").is_none(), "{line}");
        assert_eq!(count(&bed, "requests_ended", &labels).await, before + 1.0, "{line}");
        assert_eq!(count(&bed, "requests", &class).await, before_class + 1.0, "{line}");
    }
}

#[tokio::test]
async fn a_request_that_no_listener_takes_is_logged_and_counted() {
    let bed = bed().await;
    let mut expected = 0;
    for (request, status, reason) in [
        ("GET / HTTP/1.1\r\nHost: b.example\r\nConnection: close\r\n\r\n", 404, "route_not_found"),
        ("GET /%00 HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n", 400, "bad_request"),
        (
            "CONNECT a.example:1 HTTP/1.1\r\nHost: a.example:1\r\nConnection: close\r\n\r\n",
            405,
            "bad_request",
        ),
        (
            "POST / HTTP/1.1\r\nHost: a.example\r\nExpect: tea\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
            417,
            "bad_request",
        ),
    ] {
        let labels = ["listener=\"\"", &format!("reason=\"{reason}\"")];
        let before = count(&bed, "requests_ended", &labels).await;
        let answer = raw(bed.address, request.as_bytes()).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{answer}");
        expected += 1;
        let line = bed.agent.logged(expected).await.unwrap().pop().unwrap();
        assert_eq!((&line["reason"], &line["status"]), (&reason.into(), &status.into()), "{line}");
        assert!(line.get("listener").is_none(), "{line}");
        assert_eq!(count(&bed, "requests_ended", &labels).await, before + 1.0, "{line}");
    }
    let of_listener = ["listener=\"http\"", "reason=\"no_endpoint\""];
    assert_eq!(bed.get("/").await.status, 503);
    bed.agent.logged(expected + 1).await.unwrap();
    assert_eq!(count(&bed, "requests_ended", &of_listener).await, 1.0);
}

#[tokio::test]
async fn large_headers_over_http2_are_counted() {
    let bed = bed().await;
    let mut request = client::request("a.example", "/").unwrap();
    request.headers_mut().insert("x", "x".repeat(70_000).parse().unwrap());
    let reply = client::send(&bed.http2(), request).await.unwrap();
    assert_eq!(reply.status, 431);
    let line = bed.agent.logged(1).await.unwrap().pop().unwrap();
    assert_eq!((&line["reason"], &line["status"]), (&"header_too_large".into(), &431.into()), "{line}");
    assert_eq!(count(&bed, "requests_ended", &["listener=\"\"", "reason=\"header_too_large\""]).await, 1.0);
}
