use gateway_common::ir::ProxyProtocolOut;
use proptest::prelude::*;

use super::*;

fn addresses(source: &str, destination: &str) -> Addresses {
    Addresses { source: source.parse().unwrap(), destination: destination.parse().unwrap() }
}

fn header(addresses: Option<Addresses>) -> Header {
    Header { addresses, ..Header::default() }
}

/// A v2 header of `body` after the fixed part, the length set.
fn v2(command: u8, family: u8, body: &[u8]) -> Vec<u8> {
    let length = u16::try_from(body.len()).unwrap().to_be_bytes();
    [v2::SIGNATURE, &[command, family], &length, body].concat()
}

const V4: [u8; 12] = [192, 0, 2, 1, 198, 51, 100, 1, 0xc0, 0x00, 0x00, 0x50];

#[test]
fn text_headers() {
    let v4 = addresses("192.0.2.1:49152", "198.51.100.1:80");
    let v6 = addresses("[2001:db8::1]:1", "[2001:db8::2]:65535");
    for (text, want) in [
        ("PROXY TCP4 192.0.2.1 198.51.100.1 49152 80\r\n", Some(v4)),
        ("PROXY TCP6 2001:db8::1 2001:db8::2 1 65535\r\n", Some(v6)),
        ("PROXY UNKNOWN\r\n", None),
        ("PROXY UNKNOWN ffff:f...f:ffff ffff:f...f:ffff 65535 65535\r\n", None),
    ] {
        let bytes = [text.as_bytes(), b"GET /"].concat();
        assert_eq!(parse(&bytes), Ok(Some((header(want), text.len()))), "{text}");
        for cut in 0..text.len() {
            assert_eq!(parse(&bytes[..cut]), Ok(None), "{text} at {cut}");
        }
    }
}

#[test]
fn bad_text_headers() {
    for text in [
        "PROXY TCP4 192.0.2.1 198.51.100.1 49152 80\n",
        "PROXY TCP4  192.0.2.1 198.51.100.1 49152 80\r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.1 49152\r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.1 49152 80 \r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.1 49152 080\r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.1 49152 +80\r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.1 49152 65536\r\n",
        "PROXY TCP4 192.0.2.01 198.51.100.1 49152 80\r\n",
        "PROXY TCP4 2001:db8::1 2001:db8::2 1 2\r\n",
        "PROXY TCP6 192.0.2.1 198.51.100.1 1 2\r\n",
        "PROXY UDP4 192.0.2.1 198.51.100.1 1 2\r\n",
        "PROXY tcp4 192.0.2.1 198.51.100.1 1 2\r\n",
        "PROXY \r\n",
        "PROXY \u{e9}\r\n",
    ] {
        assert_eq!(parse(text.as_bytes()), Err(Error::Text), "{text}");
    }
    let endless = [&b"PROXY UNKNOWN "[..], &[b'x'; 200]].concat();
    assert_eq!(parse(&endless[..106]), Ok(None));
    assert_eq!(parse(&endless[..107]), Err(Error::Text), "no wait beyond the longest line");
    for text in ["GET / HTTP/1.1", "PROXYX", "proxy ", "\r\n\r\nX", "\x16\x03\x01"] {
        assert_eq!(parse(text.as_bytes()), Err(Error::Missing), "{text}");
    }
}

#[test]
fn binary_headers() {
    let v4 = Some(addresses("192.0.2.1:49152", "198.51.100.1:80"));
    let v6 =
        [&[0x20, 1, 0xd, 0xb8][..], &[0; 11], &[1], &[0x20, 1, 0xd, 0xb8], &[0; 11], &[2], &[0, 1, 0, 2]]
            .concat();
    let name = [&V4[..], &[0x02, 0, 3], b"a.b"].concat();
    let unknown = [&V4[..], &[0xe0, 0, 1, 7, 0x04, 0, 0]].concat();
    let tls = [&V4[..], &[0x20, 0, 5, 1, 0, 0, 0, 0]].concat();
    let plain = [&V4[..], &[0x20, 0, 5, 0, 0, 0, 0, 1]].concat();
    for (bytes, want) in [
        (v2(0x21, 0x11, &V4), header(v4)),
        (v2(0x21, 0x21, &v6), header(Some(addresses("[2001:db8::1]:1", "[2001:db8::2]:2")))),
        (v2(0x20, 0x00, &[]), header(None)),
        (v2(0x20, 0x11, &name), header(None)),
        (v2(0x21, 0x00, &[]), header(None)),
        (v2(0x21, 0x31, &[0; 216]), header(None)),
        (v2(0x21, 0x11, &name), Header { addresses: v4, authority: Some("a.b".into()), tls: false }),
        (v2(0x21, 0x11, &unknown), header(v4)),
        (v2(0x21, 0x11, &tls), Header { addresses: v4, authority: None, tls: true }),
        (v2(0x21, 0x11, &plain), header(v4)),
    ] {
        let sent = [&bytes[..], b"GET /"].concat();
        assert_eq!(parse(&sent), Ok(Some((want, bytes.len()))), "{bytes:x?}");
        for cut in 0..bytes.len() {
            assert_eq!(parse(&sent[..cut]), Ok(None), "{bytes:x?} at {cut}");
        }
    }
}

#[test]
fn bad_binary_headers() {
    let half_field = [&V4[..], &[0x02, 0]].concat();
    let long_field = [&V4[..], &[0x02, 0, 4], b"a.b"].concat();
    let no_text = [&V4[..], &[0x02, 0, 1, 0xff]].concat();
    let empty_ssl = [&V4[..], &[0x20, 0, 0]].concat();
    for (bytes, want) in [
        (v2(0x11, 0x11, &V4), Error::Command),
        (v2(0x22, 0x11, &V4), Error::Command),
        (v2(0x21, 0x12, &V4), Error::Transport),
        (v2(0x21, 0x41, &V4), Error::Transport),
        (v2(0x21, 0x10, &V4), Error::Transport),
        (v2(0x21, 0x11, &V4[..11]), Error::Truncated),
        (v2(0x21, 0x21, &[0; 35]), Error::Truncated),
        (v2(0x21, 0x31, &[0; 215]), Error::Truncated),
        (v2(0x21, 0x11, &half_field), Error::Truncated),
        (v2(0x21, 0x11, &long_field), Error::Truncated),
        (v2(0x21, 0x11, &no_text), Error::Authority),
        (v2(0x21, 0x11, &empty_ssl), Error::Truncated),
        (v2(0x21, 0x11, &[0; 5000])[..16].to_vec(), Error::TooLong),
    ] {
        assert_eq!(parse(&bytes), Err(want), "{bytes:x?}");
    }
}

#[test]
fn a_checksum_must_hold() {
    let mut bytes = v2(0x21, 0x11, &[&V4[..], &[0x03, 0, 4, 0, 0, 0, 0], &[0xe0, 0, 0]].concat());
    let at = v2::FIXED + V4.len() + 3;
    let sum = crc32c::finish(crc32c::update(crc32c::START, &bytes));
    bytes[at..at + 4].copy_from_slice(&sum.to_be_bytes());
    assert!(matches!(parse(&bytes), Ok(Some(_))));
    for byte in (v2::FIXED..v2::FIXED + V4.len()).chain(at..at + 4) {
        let mut broken = bytes.clone();
        broken[byte] ^= 1;
        assert_eq!(parse(&broken), Err(Error::Checksum), "byte {byte}");
    }
    let short = v2(0x21, 0x11, &[&V4[..], &[0x03, 0, 3, 0, 0, 0]].concat());
    assert_eq!(parse(&short), Err(Error::Checksum));
}

#[test]
fn families_that_differ_are_written_as_ipv6() {
    let mixed = addresses("192.0.2.1:1", "[2001:db8::2]:2");
    let mut out = Vec::new();
    write(ProxyProtocolOut::V1, &mixed, None, &mut out);
    assert_eq!(str::from_utf8(&out), Ok("PROXY TCP6 ::ffff:192.0.2.1 2001:db8::2 1 2\r\n"));
    let mapped = addresses("[::ffff:192.0.2.1]:1", "198.51.100.1:2");
    out.clear();
    write(ProxyProtocolOut::V1, &mapped, None, &mut out);
    assert_eq!(str::from_utf8(&out), Ok("PROXY TCP4 192.0.2.1 198.51.100.1 1 2\r\n"));
}

fn any_address(v6: bool) -> impl Strategy<Value = SocketAddr> {
    // Not a mapped one, which is written as IPv4.
    let ip = if v6 {
        (0x2000u128 << 112..0x4000u128 << 112).prop_map(|bits| IpAddr::V6(bits.into())).boxed()
    } else {
        any::<u32>().prop_map(|bits| IpAddr::V4(bits.into())).boxed()
    };
    (ip, any::<u16>()).prop_map(|(ip, port)| SocketAddr::new(ip, port))
}

proptest! {
    #[test]
    fn what_is_written_is_read(
        (source, destination) in any::<bool>().prop_flat_map(|v6| (any_address(v6), any_address(v6))),
        authority in proptest::option::of("[a-z.]{1,40}"),
    ) {
        let addresses = Addresses { source, destination };
        let mut text = Vec::new();
        write(ProxyProtocolOut::V1, &addresses, authority.as_deref(), &mut text);
        prop_assert_eq!(parse(&text), Ok(Some((header(Some(addresses)), text.len()))));
        let mut binary = Vec::new();
        write(ProxyProtocolOut::V2, &addresses, authority.as_deref(), &mut binary);
        let want = Header { addresses: Some(addresses), authority, tls: false };
        prop_assert_eq!(parse(&binary), Ok(Some((want, binary.len()))));
    }
}
