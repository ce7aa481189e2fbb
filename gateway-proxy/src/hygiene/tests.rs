use gateway_common::ir::{EscapedSlashes, Limits};
use http::header::{CONTENT_LENGTH, HOST, HeaderMap, HeaderName, HeaderValue};
use http::request::Parts;
use http::{Request, StatusCode, Version};

use super::{Reject, admit, clean_response};
use crate::path::{Invalid, Policy};

fn parts(method: &str, target: &str, version: Version, fields: &[(&'static str, &'static str)]) -> Parts {
    let mut parts =
        Request::builder().method(method).uri(target).version(version).body(()).unwrap().into_parts().0;
    for &(name, value) in fields {
        parts.headers.append(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    parts
}

fn try_admit(parts: &mut Parts) -> Result<Option<super::Upgrade>, Reject> {
    admit(parts, &Limits::default(), &Policy::default())
}

fn refused(method: &str, target: &str, version: Version, fields: &[(&'static str, &'static str)]) -> Reject {
    let mut parts = parts(method, target, version, fields);
    try_admit(&mut parts).expect_err("admitted")
}

fn admitted(target: &str, version: Version, fields: &[(&'static str, &'static str)]) -> Parts {
    let mut parts = parts("GET", target, version, fields);
    try_admit(&mut parts).unwrap();
    parts
}

fn names(headers: &HeaderMap) -> Vec<&str> {
    let mut names: Vec<_> = headers.keys().map(HeaderName::as_str).collect();
    names.sort();
    names
}

const H1: Version = Version::HTTP_11;
const HOST_A: (&str, &str) = ("host", "a.example");

#[test]
fn framing_must_be_plain() {
    let check = |fields: &[(&'static str, &'static str)], version| refused("POST", "/", version, fields);
    let chunked = ("transfer-encoding", "chunked");
    assert_eq!(check(&[HOST_A, chunked, ("content-length", "1")], H1), Reject::LengthAndCoding);
    assert_eq!(check(&[HOST_A, chunked], Version::HTTP_10), Reject::Coding);
    assert_eq!(check(&[HOST_A, chunked], Version::HTTP_2), Reject::Coding);
    assert_eq!(check(&[HOST_A, chunked, chunked], H1), Reject::Coding);
    for coding in
        ["gzip, chunked", "chunked, identity", "identity", "xchunked", "chunked;a=b", "", "\tchunked x"]
    {
        assert_eq!(check(&[HOST_A, ("transfer-encoding", coding)], H1), Reject::Coding, "{coding}");
    }
    for length in ["", "+1", "-1", "1,1", "1 1", "0x1", "1.0"] {
        assert_eq!(check(&[HOST_A, ("content-length", length)], H1), Reject::Length, "{length}");
    }
    let twice = [HOST_A, ("content-length", "1"), ("content-length", "1")];
    assert_eq!(check(&twice, H1), Reject::Length);
    let parts = admitted("/", H1, &[HOST_A, ("transfer-encoding", "Chunked")]);
    assert_eq!(names(&parts.headers), ["host"]);
    assert!(admitted("/", H1, &[HOST_A, ("content-length", "7")]).headers.contains_key(CONTENT_LENGTH));
}

#[test]
fn there_is_one_authority_and_it_is_in_host() {
    let b = ("host", "b.example");
    assert_eq!(refused("GET", "/", H1, &[]), Reject::NoHost);
    assert_eq!(refused("GET", "/", Version::HTTP_2, &[]), Reject::NoHost);
    assert_eq!(refused("GET", "http://a.example/", H1, &[]), Reject::NoHost);
    assert_eq!(refused("GET", "/", H1, &[HOST_A, HOST_A]), Reject::ManyHosts);
    assert_eq!(refused("GET", "/", H1, &[("host", "")]), Reject::Authority);
    assert_eq!(refused("GET", "/", H1, &[("host", "u@a.example")]), Reject::Authority);
    assert_eq!(refused("GET", "http://a.example/", H1, &[b]), Reject::HostMismatch);
    assert_eq!(refused("GET", "https://a.example/", Version::HTTP_2, &[b]), Reject::HostMismatch);
    assert_eq!(refused("GET", "http://u@a.example/", Version::HTTP_2, &[]), Reject::Authority);
    assert_eq!(refused("GET", "a.example:80", H1, &[("host", "a.example:80")]), Reject::Target);
    assert_eq!(refused("GET", "ftp://a.example/", H1, &[HOST_A]), Reject::Target);

    assert!(admitted("/", Version::HTTP_10, &[]).headers.get(HOST).is_none());
    for (target, version, fields, want) in [
        ("http://A.example/x?y", H1, &[HOST_A][..], "/x?y"),
        ("https://a.example/x?y", Version::HTTP_2, &[], "/x?y"),
        ("https://a.example", Version::HTTP_2, &[HOST_A], "/"),
        ("/x?y", H1, &[HOST_A], "/x?y"),
    ] {
        let parts = admitted(target, version, fields);
        assert_eq!(parts.uri.to_string(), want);
        assert!(parts.uri.authority().is_none());
        assert_eq!(parts.headers[HOST], "a.example");
    }
}

#[test]
fn targets_are_paths_in_normal_form() {
    assert_eq!(refused("CONNECT", "a.example:80", H1, &[HOST_A]), Reject::Connect);
    assert_eq!(refused("GET", "*", H1, &[HOST_A]), Reject::Target);
    assert_eq!(refused("GET", "/%zz", H1, &[HOST_A]), Reject::Path(Invalid::Escape));
    let mut options = parts("OPTIONS", "*", H1, &[HOST_A]);
    try_admit(&mut options).unwrap();
    assert_eq!(options.uri.path(), "*");
    assert_eq!(admitted("/a/../%62?q=/../%62", H1, &[HOST_A]).uri.to_string(), "/b?q=/../%62");
    let strict = Policy { merge_slashes: true, escaped_slashes: EscapedSlashes::Reject };
    let mut slash = parts("GET", "/a%2Fb", H1, &[HOST_A]);
    assert_eq!(admit(&mut slash, &Limits::default(), &strict), Err(Reject::Path(Invalid::Slash)));
}

#[test]
fn sizes_are_bounded() {
    let limits = Limits { headers: 2, header_bytes: 40, ..Limits::default() };
    let check = |fields| admit(&mut parts("GET", "/", H1, fields), &limits, &Policy::default());
    assert_eq!(check(&[HOST_A, ("a", "1")]), Ok(None));
    assert_eq!(check(&[HOST_A, ("a", "1"), ("a", "2")]), Err(Reject::TooManyFields));
    assert_eq!(check(&[HOST_A, ("a", "12345678901234567890")]), Err(Reject::TooManyBytes));
    assert_eq!(Reject::TooManyBytes.status(), StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE);
}

#[test]
fn connection_fields_stay_on_their_connection() {
    let parts = admitted(
        "/",
        H1,
        &[
            HOST_A,
            ("connection", "close, X-Own ,keep-alive,\"odd\""),
            ("connection", "x-other"),
            ("x-own", "1"),
            ("x-other", "1"),
            ("x-kept", "1"),
            ("keep-alive", "timeout=5"),
            ("proxy-connection", "keep-alive"),
            ("te", "gzip, Trailers"),
            ("expect", "100-Continue"),
            ("upgrade", "websocket"),
        ],
    );
    assert_eq!(names(&parts.headers), ["host", "te", "x-kept"]);
    assert_eq!(parts.headers["te"], "trailers");
    assert!(!admitted("/", H1, &[HOST_A, ("te", "deflate")]).headers.contains_key("te"));
    assert!(
        admitted("/", H1, &[HOST_A, ("te", "trailers"), ("connection", "TE")]).headers.contains_key("te")
    );
    for name in ["Host", "authorization", "X-Forwarded-For", "cookie", "Content-Length", "x-real-ip"] {
        let mut parts = parts.clone();
        parts.headers.insert("connection", name.parse().unwrap());
        assert_eq!(try_admit(&mut parts), Err(Reject::Connection), "{name}");
    }
    assert_eq!(
        refused("GET", "/", H1, &[HOST_A, ("expect", "200-ok")]).status(),
        StatusCode::EXPECTATION_FAILED
    );
}

#[test]
fn one_upgrade_that_carries_no_http() {
    let upgrade = |fields: &[(&'static str, &'static str)], version| {
        let mut parts = parts("GET", "/", version, fields);
        parts.headers.insert(HOST, HeaderValue::from_static("a.example"));
        let upgrade = try_admit(&mut parts).unwrap();
        assert_eq!(names(&parts.headers).len(), parts.headers.contains_key(CONTENT_LENGTH) as usize + 1);
        upgrade
    };
    let connection = ("connection", "keep-alive, Upgrade");
    let websocket = upgrade(&[connection, ("upgrade", "websocket")], H1).unwrap();
    assert!(websocket.is_websocket());
    for protocol in ["h2c", "H2C", "TLS/1.0", "HTTP/2.0", "websocket, h2c", "a b", "", "a/", "/a"] {
        assert_eq!(upgrade(&[connection, ("upgrade", protocol)], H1), None, "{protocol}");
    }
    assert!(upgrade(&[connection, ("upgrade", "foo/1")], H1).is_some());
    assert_eq!(upgrade(&[("upgrade", "websocket")], H1), None);
    assert_eq!(upgrade(&[connection, ("upgrade", "websocket")], Version::HTTP_10), None);
    assert_eq!(upgrade(&[connection, ("upgrade", "websocket"), ("content-length", "3")], H1), None);
    assert_eq!(upgrade(&[connection, ("upgrade", "websocket"), ("transfer-encoding", "chunked")], H1), None);
    assert!(upgrade(&[connection, ("upgrade", "websocket"), ("content-length", "0")], H1).is_some());

    let mut headers = HeaderMap::new();
    websocket.ask(&mut headers);
    assert_eq!(
        (headers["connection"].as_bytes(), headers["upgrade"].as_bytes()),
        (&b"upgrade"[..], &b"websocket"[..])
    );
    assert!(websocket.is_granted(StatusCode::SWITCHING_PROTOCOLS, &headers));
    assert!(!websocket.is_granted(StatusCode::OK, &headers));
    headers.insert("upgrade", HeaderValue::from_static("other"));
    assert!(!websocket.is_granted(StatusCode::SWITCHING_PROTOCOLS, &headers));
}

#[test]
fn answers_lose_the_backends_connection_fields() {
    let mut headers = HeaderMap::new();
    for (name, value) in [
        ("connection", "close, x-own, content-length"),
        ("x-own", "1"),
        ("content-length", "3"),
        ("keep-alive", "timeout=5"),
        ("transfer-encoding", "chunked"),
        ("x-kept", "1"),
    ] {
        headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    clean_response(&mut headers);
    assert_eq!(names(&headers), ["content-length", "x-kept"]);
}

#[test]
fn a_target_has_a_path() {
    for (target, version) in [("http://a.example?x=1", H1), ("http://a.example/?x=1", Version::HTTP_2)] {
        let parts = admitted(target, version, &[HOST_A]);
        assert_eq!(parts.uri.path_and_query().unwrap().as_str(), "/?x=1", "{target}");
    }
}

#[test]
fn the_crumbs_of_a_cookie_are_joined() {
    let crumbs = [HOST_A, ("cookie", "a=1"), ("cookie", "b=2; c=3")];
    let of = |version| {
        let parts = admitted("/", version, &crumbs);
        let cookies = parts.headers.get_all("cookie").iter();
        cookies.map(|value| value.to_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(of(Version::HTTP_2), ["a=1; b=2; c=3"]);
    assert_eq!(of(H1), ["a=1", "b=2; c=3"]);
}
