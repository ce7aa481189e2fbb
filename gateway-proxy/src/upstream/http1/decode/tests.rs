use super::*;

fn decode(text: &str) -> Result<Option<(Head, String)>, Invalid> {
    decode_to(text, false)
}

fn decode_to(text: &str, is_head: bool) -> Result<Option<(Head, String)>, Invalid> {
    let mut read = BytesMut::from(text);
    let mut spare = HeaderMap::new();
    spare.insert("x-of-the-request", HeaderValue::from_static("1"));
    let head = head(&mut read, is_head, &mut spare, &mut Vec::new())?;
    Ok(head.map(|head| (head, String::from_utf8(read.to_vec()).unwrap())))
}

fn read(text: &str) -> Head {
    decode(text).unwrap().unwrap().0
}

#[test]
fn a_header_is_taken_and_the_rest_is_left() {
    let (head, rest) =
        decode("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-A: 1\r\nx-a: 2\r\n\r\nok").unwrap().unwrap();
    assert_eq!((head.parts.status, head.keep, &*rest), (StatusCode::OK, true, "ok"));
    assert!(matches!(head.framing, Framing::Length(2)));
    let fields: Vec<_> =
        head.parts.headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
    assert_eq!(fields, [("content-length", &b"2"[..]), ("x-a", b"1"), ("x-a", b"2")]);
}

#[test]
fn a_part_of_a_header_is_none_yet() {
    let whole = "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
    for cut in 0..whole.len() {
        assert!(decode(&whole[..cut]).unwrap().is_none(), "{cut}");
    }
    let endless = format!("HTTP/1.1 200 OK\r\na: {}", "a".repeat(MOST_BYTES));
    assert_eq!(decode(&endless).err(), Some(Invalid::TooLarge));
}

#[test]
fn the_end_of_the_body_is_found_by_the_rules() {
    let framing = |text: &str| format!("{:?}", read(text).framing);
    let close = "Close";
    assert_eq!(framing("HTTP/1.1 200 OK\r\n\r\n"), close);
    assert_eq!(framing("HTTP/1.0 200 OK\r\n\r\n"), close);
    assert!(framing("HTTP/1.1 200 OK\r\ntransfer-encoding: Chunked\r\n\r\n").starts_with("Chunked"));
    for none in ["204 No Content", "304 Not Modified", "101 Switching Protocols"] {
        let text = format!("HTTP/1.1 {none}\r\ncontent-length: 5\r\n\r\n");
        assert_eq!(framing(&text), "Length(0)", "{none}");
    }
    let head = decode_to("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n", true).unwrap().unwrap().0;
    assert!(matches!(head.framing, Framing::Length(0)) && head.keep);
    assert_eq!(head.parts.headers[CONTENT_LENGTH], "5");
}

#[test]
fn a_connection_is_kept_when_nothing_speaks_against_it() {
    let keeps = |fields: &str| read(&format!("HTTP/1.{fields}\r\ncontent-length: 0\r\n\r\n")).keep;
    assert!(keeps("1 200 OK"));
    assert!(!keeps("1 200 OK\r\nconnection: close"));
    assert!(!keeps("1 200 OK\r\nconnection: x, Close\r\nconnection: keep-alive"));
    assert!(!keeps("0 200 OK"));
    assert!(keeps("0 200 OK\r\nconnection: Keep-Alive"));
    assert!(!keeps("1 101 Switching Protocols"));
    assert!(!read("HTTP/1.1 200 OK\r\n\r\n").keep, "its end is the answer's end");
}

#[test]
fn interim_answers_are_skipped() {
    let text = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n";
    assert!(decode(text).unwrap().is_none());
    let head = read(&format!("{text}HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n"));
    assert_eq!(head.parts.status, StatusCode::NOT_FOUND);
    assert!(!head.parts.headers.contains_key("link"));
}

#[test]
fn what_could_be_read_in_two_ways_is_refused() {
    let error = |fields: &str| decode(&format!("HTTP/1.1 200 OK\r\n{fields}\r\n\r\n")).err();
    for length in ["", "+1", "-1", "1, 1", "1 1", "0x1", "99999999999999999999"] {
        assert_eq!(error(&format!("content-length: {length}")), Some(Invalid::Length), "{length}");
    }
    assert_eq!(error("content-length: 1\r\ncontent-length: 2"), Some(Invalid::Length));
    for coding in ["gzip", "gzip, chunked", "identity", "chunked\r\ntransfer-encoding: chunked"] {
        assert_eq!(error(&format!("transfer-encoding: {coding}")), Some(Invalid::Coding), "{coding}");
    }
    let old = decode("HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\n\r\n");
    assert_eq!(old.err(), Some(Invalid::Coding));
    for line in ["HTTP/2 200 OK", "HTTP/1.1 20 OK", "HTTP/1.1 099 Low", "http/1.1 200 OK"] {
        assert!(decode(&format!("{line}\r\n\r\n")).is_err(), "{line}");
    }
    for field in ["a : 1", " folded: 1", "a", "a: \0"] {
        assert!(matches!(error(field), Some(Invalid::Syntax(_))), "{field}");
    }
}

#[test]
fn a_length_that_is_said_twice_is_passed_on_once() {
    let head = read("HTTP/1.1 200 OK\r\ncontent-length: 3\r\ncontent-length: 3\r\n\r\n");
    assert_eq!(head.parts.headers.get_all(CONTENT_LENGTH).iter().count(), 1);
    let head = read("HTTP/1.1 200 OK\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n\r\n");
    assert!(matches!(head.framing, Framing::Chunked(_)) && !head.keep);
    assert!(!head.parts.headers.contains_key(CONTENT_LENGTH));
}
