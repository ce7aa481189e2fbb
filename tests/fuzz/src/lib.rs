//! Everything that reads bytes of strangers, as functions of any bytes that must not panic. Driven by libFuzzer from
//! `fuzz_targets/` and by random bytes from `gateway-proxy/tests/fuzz.rs`, which counts how often a target says that
//! something was understood: what is refused at its first byte tries nothing.

mod answer;
mod flood;
mod input;
mod messages;
mod oracle;
mod table;

use gateway_common::ir::frame::{decode, encode};
use gateway_common::ir::{EscapedSlashes, FromAgent, FromProxy};
use gateway_proxy::client_hello::peek;
use gateway_proxy::path::{Policy, normalize};
use gateway_proxy::proxy_protocol::parse;
use rustls::server::Acceptor;

use input::Input;

/// A header that is whole is incomplete at every shorter length, and what is wrong stays wrong.
pub fn proxy_protocol(data: &[u8]) -> bool {
    const V2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
    let mut input = Input::new(data);
    let bytes = match input.below(7) {
        0 => input.rest().to_vec(),
        1 => [b"PROXY ", input.rest()].concat(),
        2 => {
            let ports = [input.below(256) * input.below(256), input.below(256)];
            format!("PROXY TCP4 192.0.2.{} 198.51.100.7 {} {}\r\n", input.below(256), ports[0], ports[1])
                .into()
        }
        3 => [V2, &[0x21], input.rest()].concat(),
        // As long as it says, with fields behind its addresses that a sender may have meant.
        _ => {
            let (family, addresses) = input.one_of(&[(0x11, 12), (0x21, 36), (0x00, 0), (0x12, 12)]);
            let mut body = vec![7; addresses];
            while !input.is_empty() && body.len() < 400 {
                let value = input.some(12, |input| u8::try_from(input.below(256)).unwrap_or_default());
                body.extend([
                    input.one_of(&[2, 3, 0x20, 1, 0x30]),
                    0,
                    u8::try_from(value.len()).unwrap_or_default(),
                ]);
                body.extend(value);
            }
            let length = u16::try_from(body.len()).unwrap_or_default().to_be_bytes();
            [V2, &[0x21, family], &length, &body].concat()
        }
    };
    let whole = parse(&bytes);
    if let Ok(Some((_, used))) = &whole {
        assert!(*used <= bytes.len());
        assert!((0..*used).all(|cut| parse(&bytes[..cut]) == Ok(None)));
        assert_eq!(parse(&bytes[..*used]), whole);
    }
    for cut in 0..bytes.len().min(64) {
        if parse(&bytes[..cut]).is_err() {
            assert!(whole.is_err());
        }
    }
    matches!(whole, Ok(Some(_)))
}

/// As for [`proxy_protocol`]; and a name that rustls reads is read alike, or refused.
pub fn client_hello(data: &[u8]) -> bool {
    let mut input = Input::new(data);
    let bytes = match input.below(6) {
        0 => input.rest().to_vec(),
        1 => records(&handshake(input.rest()), 1 + input.below(300)),
        shape => {
            let fixed = [&[3, 3][..], &[7; 32], &[0], &[0, 2, 0x13, 1], &[1, 0]].concat();
            let mut extensions = if shape > 2 { server_name(&mut input) } else { Vec::new() };
            // A whole one, with one byte that is not as it should be.
            if shape == 5 && !extensions.is_empty() {
                let at = input.below(extensions.len());
                extensions[at] ^= 1 << input.below(8);
            }
            if shape == 2 {
                extensions.extend(input.rest());
            }
            let length = u16::try_from(extensions.len()).unwrap_or(u16::MAX).to_be_bytes();
            let hello = handshake(&[&fixed[..], &length, &extensions].concat());
            records(&hello, 1 + input.below(256) * 64)
        }
    };
    let whole = peek(&bytes);
    if let Ok(Some(hello)) = &whole {
        for cut in 0..bytes.len() {
            let part = peek(&bytes[..cut]);
            assert!(part == Ok(None) || part.as_ref() == Ok(&Some(hello.clone())), "{cut}: {part:?}");
        }
    }
    let mut acceptor = Acceptor::default();
    let read = acceptor.read_tls(&mut &bytes[..]);
    if let (Ok(_), Ok(Some(accepted))) = (read, acceptor.accept())
        && let Some(name) = accepted.client_hello().server_name()
    {
        // We are stricter: rustls looks at the first name alone. What is refused goes nowhere.
        let Ok(ours) = whole else { return false };
        let ours = ours.and_then(|hello| hello.server_name);
        assert_eq!(ours.as_deref(), Some(&*name.to_ascii_lowercase()));
        return true;
    }
    false
}

/// Extensions with a server name (RFC 6066 §3) among others.
fn server_name(input: &mut Input<'_>) -> Vec<u8> {
    let letters = if input.below(4) == 0 { &b"aB0-.z"[..] } else { b"aB0z" };
    let name = [input.some(40, |input| input.one_of(letters)), b".test".to_vec()].concat();
    let length = |bytes: usize| u16::try_from(bytes).unwrap_or_default().to_be_bytes();
    let versions = input.maybe(|_| vec![0, 43, 0, 3, 2, 3, 4]).unwrap_or_default();
    // rustls reads no further without signature_algorithms.
    let signatures = [0, 13, 0, 4, 0, 2, 8, 4];
    let entry = [&[0][..], &length(name.len()), &name].concat();
    let list = [&length(entry.len())[..], &entry].concat();
    [&versions[..], &[0, 0], &length(list.len()), &list, &signatures].concat()
}

fn handshake(body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len()).unwrap_or(u32::MAX).to_be_bytes();
    [&[1][..], &length[1..], body].concat()
}

fn records(message: &[u8], size: usize) -> Vec<u8> {
    let record = |fragment: &[u8]| {
        let length = u16::try_from(fragment.len()).unwrap_or(u16::MAX).to_be_bytes();
        [&[22, 3, 1][..], &length, fragment].concat()
    };
    message.chunks(size).flat_map(record).collect()
}

/// The normal form is what the written rules make of the path, and its own normal form.
pub fn path(data: &[u8]) -> bool {
    let mut input = Input::new(data);
    let escaped_slashes = if input.below(2) == 0 { EscapedSlashes::Keep } else { EscapedSlashes::Reject };
    let policy = Policy { merge_slashes: input.below(2) == 0, escaped_slashes };
    let text: String = match input.below(2) {
        0 => String::from_utf8_lossy(input.rest()).into_owned(),
        _ => {
            let pieces =
                ["/", ".", "..", "%2e", "%2F", "%5c", "\\", "a", "%41", "%c3", "%25", "é", "%00", "%", "b"];
            // Few of those that spoil a path, or hardly any were none.
            let piece = |&byte: &u8| pieces.get(usize::from(byte) % 128).copied().unwrap_or("/a");
            std::iter::once("/").chain(input.rest().iter().map(piece)).collect()
        }
    };
    let normal = normalize(&text, &policy);
    assert_eq!(normal.as_deref().ok(), oracle::normal(&text, &policy).as_deref(), "{text}");
    if let Ok(normal) = &normal {
        assert_eq!(normalize(normal, &policy).as_deref(), Ok(&**normal));
    }
    normal.is_ok()
}

/// The router finds what a scan of all matches by the written rules finds, after each of several changes.
pub fn matching(data: &[u8]) {
    table::check(&mut Input::new(data));
}

/// An answer is read alike however it is cut, and so is where it ends.
pub fn answer(data: &[u8]) -> bool {
    let mut input = Input::new(data);
    let is_head = input.below(8) == 0;
    let cuts = input.some(20, |input| u8::try_from(input.below(256)).unwrap_or_default());
    let pieces = [
        "HTTP/1.1 200 OK\r\n",
        "HTTP/1.0 200 OK\r\n",
        "HTTP/1.1 100 Continue\r\n\r\n",
        "HTTP/1.1 204 No Content\r\n",
        "content-length: 5\r\n",
        "content-length: 7\r\n",
        "transfer-encoding: chunked\r\n",
        "connection: close\r\n",
        "x: y\r\n",
        "\r\n",
        "\r\n",
        "5\r\nhello\r\n",
        "a;b=c\r\n0123456789\r\n",
        "0\r\n",
        "0\r\nsum: 1\r\n\r\n",
        "hello",
    ];
    let raw = input.below(8) == 0;
    let bytes = if raw {
        input.rest().to_vec()
    } else {
        // Begins as an answer does, because hardly anything else gets past its first line.
        let fields = input.some(4, |input| input.one_of(&pieces[4..9]));
        let rest = input.rest().iter().map(|&byte| pieces[usize::from(byte) % pieces.len()]);
        std::iter::once(pieces[0]).chain(fields).chain(rest).collect::<String>().into_bytes()
    };
    let whole = answer::read(&bytes, is_head, Input::new(&[]));
    let cut = answer::read(&bytes, is_head, Input::new(&cuts));
    assert_eq!(whole, cut, "{}", String::from_utf8_lossy(&bytes));
    matches!(whole, Ok(Some(_)))
}

/// Frames from either side; what is understood is understood again when sent on.
pub fn frames(data: &[u8]) -> bool {
    let framed = [&u32::try_from(data.len()).unwrap_or(u32::MAX).to_be_bytes()[..], data].concat();
    let mut input = Input::new(data);
    let mut damaged = input.one_of(&messages::frames().iter().collect::<Vec<_>>()).clone();
    for _ in 0..input.below(3) {
        let at = input.below(256) * input.below(8) % damaged.len();
        match input.below(3) {
            0 => damaged[at] ^= 1 << input.below(8),
            1 => damaged.truncate(at.max(1)),
            _ => damaged.insert(at, b"0\"},x\\ "[input.below(7)]),
        }
    }
    let mut understood = false;
    for bytes in [data, &framed, &damaged] {
        let mut out = Vec::new();
        if let Ok(Some((message, used))) = decode::<FromAgent>(bytes) {
            understood = true;
            assert!(used <= bytes.len());
            encode(&message, &mut out).expect("a message that was read can be written");
            assert_eq!(decode::<FromAgent>(&out).expect("and read again"), Some((message, out.len())));
        }
        out.clear();
        if let Ok(Some((message, used))) = decode::<FromProxy>(bytes) {
            understood = true;
            assert!(used <= bytes.len());
            encode(&message, &mut out).expect("a message that was read can be written");
            assert_eq!(decode::<FromProxy>(&out).expect("and read again"), Some((message, out.len())));
        }
    }
    understood
}

/// Frames of an HTTP/2 client count alike however they come.
pub fn flood(data: &[u8]) -> bool {
    let Some([parts, whole, within]) = flood::count(Input::new(data)) else { return false };
    assert_eq!((parts, whole), (within, within));
    true
}
