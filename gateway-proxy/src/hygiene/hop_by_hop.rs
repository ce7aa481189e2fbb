//! Fields that belong to one connection (RFC 9110 §7.6.1) go no further.

use gateway_common::ir::filter;
use http::HeaderName;
use http::header::{
    AUTHORIZATION, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, COOKIE, EXPECT, HOST, HeaderMap, HeaderValue,
    SET_COOKIE, TE, TRANSFER_ENCODING, UPGRADE,
};

use super::Reject;
use crate::identity;

const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");
const HTTP2_SETTINGS: HeaderName = HeaderName::from_static("http2-settings");

/// Nobody but the proxy writes them.
static FRAMING: [HeaderName; 9] = {
    let [a, b, c, d, e, f, g, h, i] = filter::FRAMING;
    [
        HeaderName::from_static(a),
        HeaderName::from_static(b),
        HeaderName::from_static(c),
        HeaderName::from_static(d),
        HeaderName::from_static(e),
        HeaderName::from_static(f),
        HeaderName::from_static(g),
        HeaderName::from_static(h),
        HeaderName::from_static(i),
    ]
};
/// Of one connection, never of the message.
static OWN: [HeaderName; 6] =
    [CONNECTION, TRANSFER_ENCODING, UPGRADE, KEEP_ALIVE, PROXY_CONNECTION, HTTP2_SETTINGS];
static MUST_ARRIVE: [HeaderName; 6] = [AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, COOKIE, HOST, SET_COOKIE];

pub fn is_framing(name: &HeaderName) -> bool {
    FRAMING.contains(name)
}

/// Whether no field delimits the message, governs the connection or is answered by the proxy: nothing to check or strip.
pub(super) fn is_plain(headers: &HeaderMap) -> bool {
    !headers.keys().any(|name| is_framing(name) || *name == EXPECT)
}

/// `TE: trailers` stays, because gRPC asks for it.
pub(super) fn strip_request(headers: &mut HeaderMap) -> Result<(), Reject> {
    if headers.contains_key(CONNECTION) {
        let named = named(headers);
        if named.iter().any(must_arrive) {
            return Err(Reject::Connection);
        }
        for name in named.iter().filter(|name| **name != TE) {
            headers.remove(name);
        }
    }
    if headers.contains_key(TE) {
        let trailers = headers.get_all(TE).iter().any(|value| tokens(value).any(is_trailers));
        headers.remove(TE);
        if trailers {
            headers.insert(TE, HeaderValue::from_static("trailers"));
        }
    }
    // Answered on this connection by the server side, as soon as the body is asked for.
    headers.remove(EXPECT);
    strip(headers);
    Ok(())
}

pub(super) fn strip_response(headers: &mut HeaderMap) {
    if headers.contains_key(CONNECTION) {
        for name in named(headers).iter().filter(|name| !must_arrive(name)) {
            headers.remove(name);
        }
    }
    strip(headers);
}

fn strip(headers: &mut HeaderMap) {
    for name in &OWN {
        headers.remove(name);
    }
}

/// The comma-separated tokens of one value, trimmed.
pub(super) fn tokens(value: &HeaderValue) -> impl Iterator<Item = &str> {
    value
        .to_str()
        .unwrap_or_default()
        .split(',')
        .map(|token| token.trim_matches([' ', '\t']))
        .filter(|token| !token.is_empty())
}

/// The fields that Connection names; what is not a field name is an option without one.
fn named(headers: &HeaderMap) -> Vec<HeaderName> {
    // Options that name no field, or one that goes in any case; nearly all values are one of them.
    let option = |value: &&HeaderValue| {
        [&b"keep-alive"[..], b"close"].iter().any(|option| value.as_bytes().eq_ignore_ascii_case(option))
    };
    let values = headers.get_all(CONNECTION).iter().filter(|value| !option(value));
    values.flat_map(tokens).filter_map(|token| HeaderName::from_bytes(token.as_bytes()).ok()).collect()
}

fn must_arrive(name: &HeaderName) -> bool {
    MUST_ARRIVE.contains(name) || identity::is_spoofable(name.as_str())
}

fn is_trailers(token: &str) -> bool {
    token.eq_ignore_ascii_case("trailers")
}
