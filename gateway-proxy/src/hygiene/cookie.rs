//! HTTP/2 may split a Cookie into a field for each pair; everybody else wants one (RFC 9113 §8.2.3).

use bytes::Bytes;
use http::header::{COOKIE, HeaderMap, HeaderValue};

pub(super) fn join(headers: &mut HeaderMap) {
    let crumbs = headers.get_all(COOKIE);
    if crumbs.iter().nth(1).is_none() {
        return;
    }
    let mut whole = Vec::new();
    for crumb in crumbs {
        if !whole.is_empty() {
            whole.extend_from_slice(b"; ");
        }
        whole.extend_from_slice(crumb.as_bytes());
    }
    // Every part was a valid value.
    if let Ok(whole) = HeaderValue::from_maybe_shared(Bytes::from(whole)) {
        headers.insert(COOKIE, whole);
    }
}
