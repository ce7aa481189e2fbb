//! Hostnames of listeners and routes, and the names that both agree on.

use gateway_common::ir::Hostname;

/// The longest DNS name (RFC 1035 §3.1).
const LONGEST: usize = 253;

/// A DNS name, or `*.` and a DNS name; in lower case. None: neither.
pub(super) fn parse(text: &str) -> Option<Hostname> {
    let name = text.strip_prefix("*.").unwrap_or(text);
    let valid =
        name.len() <= LONGEST && name.parse::<std::net::IpAddr>().is_err() && name.split('.').all(is_label);
    valid.then(|| Hostname::new(text.to_ascii_lowercase()))
}

/// A name without a wildcard.
pub(super) fn parse_precise(text: &str) -> Option<String> {
    parse(text).filter(|name| name.wildcard_suffix().is_none()).map(|name| name.as_str().to_owned())
}

fn is_label(label: &str) -> bool {
    let bytes = label.as_bytes();
    !bytes.is_empty()
        && bytes.len() <= 63
        && bytes.iter().all(|b| b.is_ascii_alphanumeric() || *b == b'-')
        && bytes[0] != b'-'
        && bytes[bytes.len() - 1] != b'-'
}

/// The names of a route of which a listener has any, as the route says them, each once and ordered; empty: every name.
/// None: they have no name in common. Precedence is by these, and not by what both agree on: the
/// feature GatewayRouteHostnameIntersectionPrecedence.
pub(super) fn shared(listener: Option<&Hostname>, route: &[Hostname]) -> Option<Vec<Hostname>> {
    let mut names: Vec<_> = route.iter().filter(|name| overlap(listener, Some(name))).cloned().collect();
    names.sort();
    names.dedup();
    (route.is_empty() || !names.is_empty()).then_some(names)
}

/// Whether some name belongs to both; None is every name.
pub(super) fn overlap(a: Option<&Hostname>, b: Option<&Hostname>) -> bool {
    match (a, b) {
        (Some(a), Some(b)) => a.covers(b) || b.covers(a),
        (None, _) | (_, None) => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(listener: Option<&str>, route: &[&str], want: Option<&[&str]>) {
        let name = |text: &&str| parse(text).unwrap();
        let route: Vec<_> = route.iter().map(name).collect();
        let got = shared(listener.as_ref().map(name).as_ref(), &route);
        let want = want.map(|names| names.iter().map(name).collect::<Vec<_>>());
        assert_eq!(got, want, "{listener:?} {route:?}");
    }

    #[test]
    fn a_route_s_names_are_kept_as_they_are() {
        check(None, &[], Some(&[]));
        check(Some("a.test"), &[], Some(&[]));
        check(None, &["b.test", "a.test", "b.test"], Some(&["a.test", "b.test"]));
        check(Some("a.test"), &["a.test", "b.test"], Some(&["a.test"]));
        check(Some("*.test"), &["a.test", "x.y.test", "test"], Some(&["a.test", "x.y.test"]));
        check(Some("a.test"), &["*.test", "a.test"], Some(&["*.test", "a.test"]));
        check(Some("*.test"), &["*.a.test"], Some(&["*.a.test"]));
        check(Some("*.a.test"), &["*.test"], Some(&["*.test"]));
        check(Some("*.test"), &["*.test"], Some(&["*.test"]));
        check(Some("*.test"), &["test"], None);
        check(Some("*.a.test"), &["*.b.test", "ba.test"], None);
        check(Some("a.test"), &["b.test"], None);
    }

    #[test]
    fn names_that_are_none() {
        for text in
            ["", "*", "*.", "a..b", "-a", "a-", "a_b", "a.*.b", "192.0.2.1", "::1", "a b", "**.a", "a."]
        {
            assert_eq!(parse(text), None, "{text}");
        }
        assert_eq!(parse("A.Test").unwrap().as_str(), "a.test");
        assert_eq!(parse_precise("*.a"), None);
    }

    #[test]
    fn overlap_is_symmetric() {
        let names = ["a.test", "*.test", "*.a.test", "x.a.test", "b.test"];
        for a in names {
            for b in names {
                let (a, b) = (parse(a), parse(b));
                assert_eq!(overlap(a.as_ref(), b.as_ref()), overlap(b.as_ref(), a.as_ref()));
            }
        }
        assert!(overlap(None, parse("a.test").as_ref()));
    }
}
