//! Upgrade (RFC 9110 §7.8): WebSocket and others, one protocol at a time. `h2c` and TLS are not forwarded: a backend that
//! took them up would get requests past the routes.

use http::header::{CONNECTION, CONTENT_LENGTH, HeaderMap, HeaderValue, TRANSFER_ENCODING, UPGRADE};
use http::request::Parts;
use http::{StatusCode, Version};

use super::hop_by_hop::tokens;

/// The protocol that the client asks for, to be asked of the backend.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Upgrade {
    protocol: HeaderValue,
}

impl Upgrade {
    /// Asks the backend. To be called when the client's own connection fields are gone.
    pub fn ask(&self, headers: &mut HeaderMap) {
        headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(UPGRADE, self.protocol.clone());
    }

    /// Whether the backend's answer switches to the protocol that was asked for.
    pub fn is_granted(&self, status: StatusCode, headers: &HeaderMap) -> bool {
        let mut granted = headers.get_all(UPGRADE).iter();
        let same = |value: &HeaderValue| value.as_bytes().eq_ignore_ascii_case(self.protocol.as_bytes());
        status == StatusCode::SWITCHING_PROTOCOLS
            && granted.next().is_some_and(same)
            && granted.next().is_none()
    }

    pub fn is_websocket(&self) -> bool {
        self.protocol.as_bytes().eq_ignore_ascii_case(b"websocket")
    }
}

/// None: no upgrade, or none that is forwarded; the request is then an ordinary one.
pub(super) fn take(parts: &Parts) -> Option<Upgrade> {
    let headers = &parts.headers;
    let mut asked = headers.get_all(UPGRADE).iter();
    let protocol = asked.next()?;
    let asks_once = asked.next().is_none() && is_protocol(protocol.as_bytes());
    let on_connection = headers
        .get_all(CONNECTION)
        .iter()
        .flat_map(tokens)
        .any(|token| token.eq_ignore_ascii_case("upgrade"));
    // Whether bytes after the header are a body or the new protocol must not be a question.
    let has_body = headers.contains_key(TRANSFER_ENCODING)
        || headers
            .get(CONTENT_LENGTH)
            .is_some_and(|length| length.as_bytes().iter().any(|&digit| digit != b'0'));
    let forwarded = asks_once && on_connection && !has_body && parts.version == Version::HTTP_11;
    forwarded.then(|| Upgrade { protocol: protocol.clone() })
}

/// `token` or `token/version`, and none that carries HTTP.
fn is_protocol(text: &[u8]) -> bool {
    let in_token = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    let mut parts = text.splitn(2, |&byte| byte == b'/');
    let name = parts.next().unwrap_or_default();
    let is_token = |text: &[u8]| !text.is_empty() && text.iter().all(in_token);
    let carries_http =
        [&b"h2c"[..], b"h2", b"http", b"tls"].iter().any(|other| other.eq_ignore_ascii_case(name));
    is_token(name) && parts.next().is_none_or(is_token) && !carries_http
}
