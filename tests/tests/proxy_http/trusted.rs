//! Whose word about the client is believed.

use gatehouse_tests::client::{self, Target};
use gatehouse_tests::fake_agent::{backend, rule};
use gateway_common::ir::{BackendProtocol, Filter, Redirect};
use hyper::Request;

use crate::bed::{Bed, Echo};

const CLAIMS: [(&str, &str); 3] =
    [("x-forwarded-for", "192.0.2.9"), ("x-forwarded-proto", "https"), ("x-real-ip", "192.0.2.9")];

fn claiming(path: &str, claims: &[(&str, &str)]) -> Request<http_body_util::Full<bytes::Bytes>> {
    let mut request = client::request("a.example", path).unwrap();
    for (name, value) in claims {
        let name: hyper::header::HeaderName = name.parse().unwrap();
        request.headers_mut().append(name, value.parse().unwrap());
    }
    request
}

async fn bed(echo: &Echo, trusted: &[&str]) -> Bed {
    let mut bed = Bed::with_tls().await;
    bed.settings.trusted_proxies = trusted.iter().map(|net| net.parse().unwrap()).collect();
    let mut redirect = rule("/redirect", "b");
    let to = Redirect { scheme: None, hostname: None, port: None, path: None, status: 302 };
    redirect.filters = vec![Filter::RequestRedirect(to)];
    bed.serve(vec![redirect, rule("/", "b")], vec![backend("b", BackendProtocol::Http1, &[echo.address])])
        .await;
    bed
}

async fn seen(target: &Target, claims: &[(&str, &str)]) -> std::collections::BTreeMap<String, Vec<String>> {
    let reply = client::send(target, claiming("/", claims)).await.unwrap();
    reply.echo().unwrap().headers.into_iter().collect()
}

#[tokio::test]
async fn a_stranger_cannot_say_who_it_is() {
    let echo = Echo::start("b");
    let bed = bed(&echo, &["192.0.2.0/24"]).await;
    for target in bed.targets() {
        let headers = seen(&target, &CLAIMS).await;
        let scheme = if target.tls.is_some() { "https" } else { "http" };
        assert_eq!(headers["x-forwarded-for"], ["127.0.0.1"]);
        assert_eq!(headers["x-forwarded-proto"], [scheme]);
        assert_eq!(headers["forwarded"], [format!("for=127.0.0.1;proto={scheme}")]);
        assert!(!headers.contains_key("x-real-ip"), "{headers:?}");
    }
}

#[tokio::test]
async fn a_trusted_proxy_is_believed_and_named_after_the_client() {
    let echo = Echo::start("b");
    let bed = bed(&echo, &["127.0.0.0/8"]).await;
    for target in bed.targets() {
        let headers = seen(&target, &CLAIMS).await;
        assert_eq!(headers["x-forwarded-for"], ["192.0.2.9, 127.0.0.1"]);
        assert_eq!(headers["x-forwarded-proto"], ["https"]);
        assert_eq!(headers["x-real-ip"], ["192.0.2.9"]);
        let port = if target.tls.is_some() { target.address.port() } else { 443 };
        assert_eq!(headers["x-forwarded-port"], [port.to_string()]);
    }
}

#[tokio::test]
async fn a_redirect_goes_to_where_the_client_was() {
    let echo = Echo::start("b");
    for (trusted, claims, want) in [
        (&[][..], &CLAIMS[..], None),
        (&["127.0.0.0/8"][..], &CLAIMS[..], Some("https://a.example/redirect")),
        (
            &["127.0.0.0/8"],
            &[("x-forwarded-proto", "http"), ("x-forwarded-port", "80")],
            Some("http://a.example/redirect"),
        ),
        (
            &["127.0.0.0/8"],
            &[("x-forwarded-proto", "https"), ("x-forwarded-port", "8443")],
            Some("https://a.example:8443/redirect"),
        ),
        (&["127.0.0.0/8"], &[], None),
    ] {
        let bed = bed(&echo, trusted).await;
        let target = bed.http1();
        let reply = client::send(&target, claiming("/redirect", claims)).await.unwrap();
        let own = format!("http://a.example:{}/redirect", target.address.port());
        assert_eq!(reply.headers["location"], want.unwrap_or(&own), "{trusted:?} {claims:?}");
    }
}
