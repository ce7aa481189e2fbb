//! Trailers carry results, never what frames, routes, authorises or describes the message (RFC 9110 §6.5.1).

use http::HeaderName;
use http::header::{
    AUTHORIZATION, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_RANGE, CONTENT_TYPE, COOKIE, EXPECT, HOST,
    HeaderMap, IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, IF_UNMODIFIED_SINCE, LOCATION,
    MAX_FORWARDS, PRAGMA, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, RANGE, SET_COOKIE, VARY, WWW_AUTHENTICATE,
};

use super::hop_by_hop::is_framing;
use crate::identity;

static REFUSED: [HeaderName; 23] = [
    AUTHORIZATION,
    CACHE_CONTROL,
    CONTENT_ENCODING,
    CONTENT_RANGE,
    CONTENT_TYPE,
    COOKIE,
    EXPECT,
    HOST,
    IF_MATCH,
    IF_MODIFIED_SINCE,
    IF_NONE_MATCH,
    IF_RANGE,
    IF_UNMODIFIED_SINCE,
    LOCATION,
    MAX_FORWARDS,
    PRAGMA,
    PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION,
    RANGE,
    SET_COOKIE,
    VARY,
    WWW_AUTHENTICATE,
    HeaderName::from_static("proxy-authentication-info"),
];

/// Drops the fields that a trailer must not have.
pub fn clean(trailers: &mut HeaderMap) {
    if !trailers.keys().any(is_refused) {
        return;
    }
    let refused: Vec<HeaderName> = trailers.keys().filter(|name| is_refused(name)).cloned().collect();
    for name in refused {
        trailers.remove(name);
    }
}

fn is_refused(name: &HeaderName) -> bool {
    REFUSED.contains(name) || is_framing(name) || identity::is_spoofable(name.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_pass_and_the_rest_is_dropped() {
        let mut trailers = HeaderMap::new();
        for name in
            ["grpc-status", "host", "transfer-encoding", "x-forwarded-for", "authorization", "x-checksum"]
        {
            trailers.insert(HeaderName::from_static(name), "1".parse().unwrap());
        }
        clean(&mut trailers);
        let mut left: Vec<_> = trailers.keys().map(HeaderName::as_str).collect();
        left.sort();
        assert_eq!(left, ["grpc-status", "x-checksum"]);
    }
}
