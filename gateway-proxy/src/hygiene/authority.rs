//! The authority of a request: one, well formed, in Host.

use http::header::{HOST, HeaderMap, HeaderValue};
use http::request::Parts;
use http::uri::PathAndQuery;
use http::{Uri, Version};

use super::Reject;

/// Longest `host:port` worth looking at: a DNS name, its trailing dot, a colon and five digits.
const LONGEST: usize = 253 + 1 + 6;

/// Moves the authority of the target (absolute form, `:authority`) into Host, and leaves the target a path.
pub(super) fn settle(parts: &mut Parts) -> Result<(), Reject> {
    let given = only_host(&parts.headers)?;
    if let Some(host) = given {
        check(host.as_bytes())?;
    }
    let Some(authority) = parts.uri.authority() else {
        // HTTP/1.0 knows no Host: such a request can reach listeners and routes without a host name.
        return if given.is_some() || parts.version <= Version::HTTP_10 {
            Ok(())
        } else {
            Err(Reject::NoHost)
        };
    };
    match given {
        Some(host) if host.as_bytes().eq_ignore_ascii_case(authority.as_str().as_bytes()) => {}
        Some(_) => return Err(Reject::HostMismatch),
        None if parts.version == Version::HTTP_11 => return Err(Reject::NoHost),
        None => {
            check(authority.as_str().as_bytes())?;
            let value = HeaderValue::from_str(authority.as_str()).map_err(|_| Reject::Authority)?;
            parts.headers.insert(HOST, value);
        }
    }
    // Without a scheme it is the authority form of CONNECT.
    let schemes = ["http", "https"];
    if !parts.uri.scheme_str().is_some_and(|scheme| schemes.contains(&scheme)) {
        return Err(Reject::Target);
    }
    parts.uri = Uri::from(parts.uri.path_and_query().cloned().unwrap_or(PathAndQuery::from_static("/")));
    Ok(())
}

fn only_host(headers: &HeaderMap) -> Result<Option<&HeaderValue>, Reject> {
    let mut hosts = headers.get_all(HOST).iter();
    let host = hosts.next();
    if hosts.next().is_some() { Err(Reject::ManyHosts) } else { Ok(host) }
}

/// `host[:port]`, the host a DNS name, an IPv4 address or an IPv6 address in brackets: neither userinfo nor escapes.
fn check(authority: &[u8]) -> Result<(), Reject> {
    let (host, rest) = match authority {
        [b'[', inner @ ..] => {
            let end = inner.iter().position(|&byte| byte == b']').ok_or(Reject::Authority)?;
            (&inner[..end], &inner[end + 1..])
        }
        _ => authority.split_at(authority.iter().position(|&byte| byte == b':').unwrap_or(authority.len())),
    };
    let literal = authority.starts_with(b"[");
    let in_name = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~');
    let in_literal = |byte: &u8| byte.is_ascii_hexdigit() || matches!(byte, b':' | b'.');
    let host_ok =
        !host.is_empty() && if literal { host.iter().all(in_literal) } else { host.iter().all(in_name) };
    let port_ok = match rest {
        [] => true,
        [b':', digits @ ..] => digits.len() <= 5 && digits.iter().all(u8::is_ascii_digit),
        _ => false,
    };
    if host_ok && port_ok && authority.len() <= LONGEST { Ok(()) } else { Err(Reject::Authority) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn authorities_are_a_host_and_a_port() {
        for good in ["a", "a.b-c_d:80", "EXAMPLE.com.", "127.0.0.1:1", "[::1]", "[2001:db8::1]:443", "a:"] {
            assert_eq!(check(good.as_bytes()), Ok(()), "{good}");
        }
        let long = "a".repeat(300);
        for bad in [
            "", ":80", "u@a", "u:p@a", "a b", "a/b", "a,b", "a%20b", "a:8o", "a:123456", "a:1:2", "[::1",
            "[::1]x", "[]", "[u]", "a\\b", "a?b", "a#b", "é", &long,
        ] {
            assert_eq!(check(bad.as_bytes()), Err(Reject::Authority), "{bad}");
        }
    }
}
