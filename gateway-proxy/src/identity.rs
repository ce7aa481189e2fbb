//! Who the client is, as told to backends: `X-Forwarded-For`, `-Proto`, `-Host`, `-Port` and `Forwarded` (RFC 7239).
//!
//! From a peer that is not trusted, all of them are replaced, and every other field by which backends may believe a client's
//! word about itself, its scheme or its target is dropped, also in the spelling with underscores that CGI cannot tell
//! apart. From a trusted peer, addresses are appended and the rest is kept. What does not change on a connection is
//! rendered once, so that a request costs a few inserts and no allocation.

use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU16;

use http::header::{FORWARDED, HOST, HeaderMap, HeaderName, HeaderValue};
use ipnet::IpNet;

const FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const PORT: HeaderName = HeaderName::from_static("x-forwarded-port");

/// Dropped from untrusted peers beside everything that begins with `x-forwarded`. The URL ones are read by IIS and several
/// frameworks in place of the path that was matched.
const SPOOFABLE: [&str; 11] = [
    "forwarded",
    "front-end-https",
    "true-client-ip",
    "x-client-ip",
    "x-cluster-client-ip",
    "x-envoy-external-address",
    "x-original-host",
    "x-original-url",
    "x-real-ip",
    "x-rewrite-url",
    "x-url-scheme",
];

/// Built once per connection.
#[derive(Clone, Debug)]
pub struct ConnectionIdentity {
    peer: IpAddr,
    trusted: bool,
    scheme: &'static str,
    xff: HeaderValue,
    proto: HeaderValue,
    port: u16,
    port_value: HeaderValue,
    forwarded: HeaderValue,
}

/// What a request's peer and header say together.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Client {
    /// The nearest address that is not a trusted proxy's.
    pub address: IpAddr,
    /// `http` or `https`, as the client used it.
    pub scheme: &'static str,
    /// That the client connected to, as far as it is told.
    pub port: u16,
}

impl ConnectionIdentity {
    /// `peer`: the connection's, or what a PROXY protocol header says in its place. `port`: that the client connected to.
    /// `secure`: the client speaks TLS.
    pub fn new(peer: SocketAddr, port: u16, secure: bool, trusted: &[IpNet]) -> Self {
        let peer = peer.ip().to_canonical();
        let scheme = if secure { "https" } else { "http" };
        let node = match peer {
            IpAddr::V4(address) => address.to_string(),
            IpAddr::V6(address) => format!("\"[{address}]\""),
        };
        Self {
            peer,
            trusted: is_trusted(peer, trusted),
            scheme,
            xff: value(peer.to_string()),
            proto: HeaderValue::from_static(scheme),
            port,
            port_value: HeaderValue::from(port),
            forwarded: value(format!("for={node};proto={scheme}")),
        }
    }

    /// Writes the fields. `trusted`: as [`Self::new`] got it.
    pub fn apply(&self, headers: &mut HeaderMap, trusted: &[IpNet]) -> Client {
        if self.trusted { self.append(headers, trusted) } else { self.replace(headers) }
    }

    fn replace(&self, headers: &mut HeaderMap) -> Client {
        if headers.keys().any(|name| is_spoofable(name.as_str())) {
            drop_spoofable(headers);
        }
        headers.insert(FOR, self.xff.clone());
        headers.insert(PROTO, self.proto.clone());
        headers.insert(PORT, self.port_value.clone());
        headers.insert(FORWARDED, self.forwarded.clone());
        if let Some(host) = headers.get(HOST).cloned() {
            headers.insert(FORWARDED_HOST, host);
        }
        Client { address: self.peer, scheme: self.scheme, port: self.port }
    }

    fn append(&self, headers: &mut HeaderMap, trusted: &[IpNet]) -> Client {
        let address = nearest_untrusted(headers, trusted).unwrap_or(self.peer);
        let scheme = match headers.get(PROTO).map(HeaderValue::as_bytes) {
            Some(b"https") => "https",
            Some(b"http") => "http",
            _ => self.scheme,
        };
        append_to(headers, &FOR, &self.xff);
        append_to(headers, &FORWARDED, &self.forwarded);
        headers.entry(PROTO).or_insert_with(|| self.proto.clone());
        let told = headers.get(PORT).and_then(|port| port.to_str().ok()?.parse::<NonZeroU16>().ok());
        // Whoever ended TLS for the client did not do so on our port.
        let derived = if scheme == self.scheme { self.port } else { well_known_port(scheme) };
        let port = told.map_or(derived, NonZeroU16::get);
        headers.entry(PORT).or_insert_with(|| HeaderValue::from(port));
        if let Some(host) = headers.get(HOST).cloned() {
            headers.entry(FORWARDED_HOST).or_insert(host);
        }
        Client { address, scheme, port }
    }
}

/// Of `http` or `https`.
pub fn well_known_port(scheme: &str) -> u16 {
    if scheme == "https" { 443 } else { 80 }
}

/// Whether a backend may take the field for the truth about the client.
pub(crate) fn is_spoofable(name: &str) -> bool {
    if !matches!(name.as_bytes(), [b'f' | b't' | b'x', ..]) {
        return false;
    }
    let dashed = |given: &[u8], want: &[u8]| {
        given.iter().map(|&byte| if byte == b'_' { b'-' } else { byte }).eq(want.iter().copied())
    };
    let prefix = b"x-forwarded";
    let name = name.as_bytes();
    name.get(..prefix.len()).is_some_and(|start| dashed(start, prefix))
        || SPOOFABLE.iter().any(|want| want.len() == name.len() && dashed(name, want.as_bytes()))
}

fn drop_spoofable(headers: &mut HeaderMap) {
    let names: Vec<HeaderName> = headers.keys().filter(|name| is_spoofable(name.as_str())).cloned().collect();
    for name in names {
        headers.remove(name);
    }
}

/// As one value, because not every reader of these fields joins repeated ones.
fn append_to(headers: &mut HeaderMap, name: &HeaderName, last: &HeaderValue) {
    let mut joined = Vec::new();
    for value in headers.get_all(name).iter().filter(|value| !value.is_empty()) {
        joined.extend_from_slice(value.as_bytes());
        joined.extend_from_slice(b", ");
    }
    joined.extend_from_slice(last.as_bytes());
    // Every part was a valid value.
    if let Ok(value) = HeaderValue::from_maybe_shared(bytes::Bytes::from(joined)) {
        headers.insert(name, value);
    }
}

/// From the right, the first address in `X-Forwarded-For` that no trusted proxy has; if all are trusted, the leftmost. What
/// stands left of something unreadable is not believed.
fn nearest_untrusted(headers: &HeaderMap, trusted: &[IpNet]) -> Option<IpAddr> {
    let mut nearest = None;
    // A value that is not UTF-8 hides what stands left of it.
    for line in headers.get_all(FOR).iter().rev() {
        for entry in line.to_str().ok()?.rsplit(',') {
            let Some(address) = parse_address(entry.trim()) else { return nearest };
            nearest = Some(address);
            if !is_trusted(address, trusted) {
                return nearest;
            }
        }
    }
    nearest
}

/// `192.0.2.1`, `192.0.2.1:80`, `2001:db8::1`, `[2001:db8::1]`, `[2001:db8::1]:80`.
fn parse_address(text: &str) -> Option<IpAddr> {
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    let address = bare.parse().ok().or_else(|| text.parse::<SocketAddr>().ok().map(|address| address.ip()));
    address.as_ref().map(IpAddr::to_canonical)
}

fn is_trusted(address: IpAddr, trusted: &[IpNet]) -> bool {
    trusted.iter().any(|net| net.contains(&address))
}

/// `text` is made of an address and fixed words.
fn value(text: String) -> HeaderValue {
    HeaderValue::try_from(text).unwrap_or_else(|_| HeaderValue::from_static(""))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(fields: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for &(name, value) in fields {
            headers.append(HeaderName::from_static(name), value.parse().unwrap());
        }
        headers
    }

    fn lines(headers: &HeaderMap) -> Vec<String> {
        let each = headers.iter();
        let mut lines: Vec<_> =
            each.map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())).collect();
        lines.sort();
        lines
    }

    fn nets(nets: &[&str]) -> Vec<IpNet> {
        nets.iter().map(|net| net.parse().unwrap()).collect()
    }

    const FORGED: [(&str, &str); 9] = [
        ("host", "example.com"),
        ("x-forwarded-for", "1.1.1.1"),
        ("x-forwarded-for", "2.2.2.2"),
        ("x-forwarded-proto", "https"),
        ("x_forwarded_for", "3.3.3.3"),
        ("x-forwarded-client-cert", "x"),
        ("x-real-ip", "4.4.4.4"),
        ("x-original_url", "/admin"),
        ("forwarded", "for=5.5.5.5"),
    ];

    #[test]
    fn an_untrusted_peer_cannot_say_who_it_is() {
        let mut headers = given(&FORGED);
        let identity =
            ConnectionIdentity::new("192.0.2.1:999".parse().unwrap(), 8080, false, &nets(&["10.0.0.0/8"]));
        let client = identity.apply(&mut headers, &nets(&["10.0.0.0/8"]));
        assert_eq!(client, Client { address: "192.0.2.1".parse().unwrap(), scheme: "http", port: 8080 });
        assert_eq!(
            lines(&headers),
            [
                "forwarded: for=192.0.2.1;proto=http",
                "host: example.com",
                "x-forwarded-for: 192.0.2.1",
                "x-forwarded-host: example.com",
                "x-forwarded-port: 8080",
                "x-forwarded-proto: http",
            ]
        );
    }

    #[test]
    fn a_trusted_peer_is_appended() {
        let trusted = nets(&["192.0.2.0/24", "2001:db8::/32"]);
        let identity = ConnectionIdentity::new("[2001:db8::7]:999".parse().unwrap(), 443, true, &trusted);
        let mut headers = given(&FORGED);
        let client = identity.apply(&mut headers, &trusted);
        assert_eq!(client, Client { address: "2.2.2.2".parse().unwrap(), scheme: "https", port: 443 });
        let lines = lines(&headers);
        for want in [
            "forwarded: for=5.5.5.5, for=\"[2001:db8::7]\";proto=https",
            "x-forwarded-for: 1.1.1.1, 2.2.2.2, 2001:db8::7",
            "x-forwarded-host: example.com",
            "x-forwarded-port: 443",
            "x-forwarded-proto: https",
            "x-real-ip: 4.4.4.4",
        ] {
            assert!(lines.iter().any(|line| line == want), "{want} in {lines:?}");
        }
    }

    #[test]
    fn the_port_of_a_client_whose_tls_ended_before_us_is_not_ours() {
        let trusted = nets(&["192.0.2.0/24"]);
        let identity = ConnectionIdentity::new("192.0.2.1:9".parse().unwrap(), 8080, false, &trusted);
        for (fields, scheme, port) in [
            (&[][..], "http", 8080),
            (&[("x-forwarded-proto", "http")], "http", 8080),
            (&[("x-forwarded-proto", "https")], "https", 443),
            (&[("x-forwarded-proto", "https"), ("x-forwarded-port", "8443")], "https", 8443),
            (&[("x-forwarded-proto", "https"), ("x-forwarded-port", "many")], "https", 443),
            (&[("x-forwarded-proto", "gopher")], "http", 8080),
        ] {
            let client = identity.apply(&mut given(fields), &trusted);
            assert_eq!((client.scheme, client.port), (scheme, port), "{fields:?}");
        }
    }

    #[test]
    fn mapped_addresses_are_what_they_map() {
        let identity = ConnectionIdentity::new("[::ffff:192.0.2.1]:1".parse().unwrap(), 80, false, &[]);
        let mut headers = HeaderMap::new();
        identity.apply(&mut headers, &[]);
        assert_eq!(headers[FOR], "192.0.2.1");
        assert!(!headers.contains_key(FORWARDED_HOST));
    }

    #[test]
    fn the_client_is_behind_the_trusted_hops() {
        let trusted = nets(&["10.0.0.0/8", "fd00::/8"]);
        for (xff, want) in [
            ("9.9.9.9, 8.8.8.8, 10.1.1.1, 10.2.2.2", Some("8.8.8.8")),
            ("9.9.9.9:1234,[fd00::1]:80", Some("9.9.9.9")),
            ("2001:db8::1, fd00::1", Some("2001:db8::1")),
            ("[2001:db8::1]", Some("2001:db8::1")),
            ("10.0.0.1, 10.0.0.2", Some("10.0.0.1")),
            ("9.9.9.9, unknown, 10.0.0.2", Some("10.0.0.2")),
            ("nonsense", None),
            ("", None),
        ] {
            let got = nearest_untrusted(&given(&[("x-forwarded-for", xff)]), &trusted);
            assert_eq!(got, want.map(|text| text.parse().unwrap()), "{xff}");
        }
    }
}
