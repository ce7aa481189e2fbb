use std::sync::Arc;

use proptest::prelude::*;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, RootCertStore};

use super::*;

/// What a rustls client says first.
fn hello(name: &str, alpn: &[&str]) -> Vec<u8> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let mut config = config.with_root_certificates(RootCertStore::empty()).with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let mut client = ClientConnection::new(Arc::new(config), name).unwrap();
    let mut bytes = Vec::new();
    client.write_tls(&mut bytes).unwrap();
    bytes
}

/// The same message in records of at most `size` bytes.
fn in_records(bytes: &[u8], size: usize) -> Vec<u8> {
    let fragments = bytes[RECORD_HEADER..].chunks(size);
    fragments.flat_map(|fragment| [&record_header(fragment.len())[..], fragment].concat()).collect()
}

fn record_header(length: usize) -> [u8; RECORD_HEADER] {
    let [high, low] = u16::try_from(length).unwrap().to_be_bytes();
    [HANDSHAKE, 3, 1, high, low]
}

/// A hello without extensions but those given.
fn with_extensions(extensions: &[(u16, &[u8])]) -> Vec<u8> {
    let counted = |bytes: &[u8]| [&u16::try_from(bytes.len()).unwrap().to_be_bytes()[..], bytes].concat();
    let list = extensions.iter().flat_map(|(kind, body)| [&kind.to_be_bytes()[..], &counted(body)].concat());
    let fixed = [&[3, 1][..], &[7; 32], &[0], &[0, 2, 0x13, 1], &[1, 0]].concat();
    let body = [fixed, counted(&list.collect::<Vec<_>>())].concat();
    let message =
        [&[CLIENT_HELLO][..], &u32::try_from(body.len()).unwrap().to_be_bytes()[1..], &body].concat();
    [&record_header(message.len())[..], &message].concat()
}

fn sni(names: &[&[u8]]) -> Vec<u8> {
    let entries =
        names.iter().flat_map(|name| [&[HOST_NAME, 0, u8::try_from(name.len()).unwrap()][..], name].concat());
    let entries: Vec<u8> = entries.collect();
    [&u16::try_from(entries.len()).unwrap().to_be_bytes()[..], &entries].concat()
}

#[test]
fn a_real_hello_is_read_once_it_is_whole() {
    let bytes = hello("App.Example.com", &["h2", "http/1.1"]);
    let want = ClientHello {
        server_name: Some("app.example.com".into()),
        alpn: vec![b"h2".to_vec(), b"http/1.1".to_vec()],
    };
    assert_eq!(peek(&bytes), Ok(Some(want.clone())));
    for cut in 0..bytes.len() {
        assert_eq!(peek(&bytes[..cut]), Ok(None), "{cut}");
    }
    for size in [1, 3, 100, 1000] {
        let records = in_records(&bytes, size);
        assert_eq!(peek(&records), Ok(Some(want.clone())), "records of {size}");
        assert_eq!(peek(&records[..records.len() - 1]), Ok(None), "records of {size}");
    }
    let more = [&bytes[..], b"early data"].concat();
    assert_eq!(peek(&more), Ok(Some(want)));
}

#[test]
fn a_hello_may_name_nobody() {
    assert_eq!(peek(&hello("192.0.2.1", &[])), Ok(Some(ClientHello::default())));
    assert_eq!(peek(&with_extensions(&[])), Ok(Some(ClientHello::default())));
    assert_eq!(
        peek(&with_extensions(&[(0x0a0a, b"x"), (SERVER_NAME, &[0, 0])])),
        Ok(Some(ClientHello::default()))
    );
}

#[test]
fn names_are_dns_names() {
    let name = |name: &[u8]| peek(&with_extensions(&[(SERVER_NAME, &sni(&[name]))]));
    assert_eq!(name(b"A_1-x.example.").unwrap().unwrap().server_name.as_deref(), Some("a_1-x.example"));
    for bad in [&b""[..], b".", b"a b", b"a\0b", b"\xc3\xa9.example", b"*.example", b"a/b", &[b'a'; 254]] {
        assert_eq!(name(bad), Err(Error::ServerName), "{bad:?}");
    }
}

#[test]
fn what_could_be_read_twice_is_refused() {
    let one = sni(&[b"a.example"]);
    assert_eq!(peek(&with_extensions(&[(SERVER_NAME, &one), (SERVER_NAME, &one)])), Err(Error::Malformed));
    assert_eq!(peek(&with_extensions(&[(SERVER_NAME, &sni(&[b"a", b"b"]))])), Err(Error::Malformed));
    assert_eq!(peek(&with_extensions(&[(SERVER_NAME, &[&one[..], b"x"].concat())])), Err(Error::Malformed));
    assert_eq!(peek(&with_extensions(&[(ALPN, &[0, 1, 0])])), Err(Error::Malformed));
    assert_eq!(peek(&with_extensions(&[(ALPN, &[0, 9, 2, b'h', b'2'])])), Err(Error::Malformed));
}

#[test]
fn nothing_else_is_waited_for() {
    for other in
        [&b"GET / HTTP/1.1\r\n"[..], b"\x15\x03\x01\x00\x02\x01\x00", b"\x16\x02", b"\x80\x2e\x01\x03\x01"]
    {
        assert_eq!(peek(other), Err(Error::NotTls), "{other:?}");
    }
    assert_eq!(peek(b"\x16\x03\x01\x00\x01\x02"), Err(Error::NotTls), "another handshake message");
    assert_eq!(peek(b"\x16\x03\x01\x00\x00"), Err(Error::Malformed), "empty fragment");
    assert_eq!(peek(b"\x16\x03\x01\xff\xff"), Err(Error::Malformed), "fragment too long");
    assert_eq!(peek(b"\x16\x03\x01\x00\x10\x01\x01\x00\x00"), Err(Error::TooLong));
    let crumbs = [&record_header(1)[..], &[CLIENT_HELLO], &record_header(3), &[0, 0x3f, 0]].concat();
    let crumbs = [crumbs, [&record_header(1)[..], &[0]].concat().repeat(LONGEST)].concat();
    assert_eq!(peek(&crumbs[..LONGEST]), Err(Error::TooLong));
}

proptest! {
    #[test]
    fn a_broken_hello_never_panics(at in 0usize..300, with: u8, cut in 0usize..300) {
        let mut bytes = hello("app.example.com", &["h2"]);
        let at = at % bytes.len();
        bytes[at] = with;
        let _ = peek(&bytes);
        let _ = peek(&bytes[..cut.min(bytes.len())]);
    }
}
