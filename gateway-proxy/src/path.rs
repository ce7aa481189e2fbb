//! The one form of a path that is matched and forwarded (RFC 3986 §6.2.2): dot segments resolved, unreserved characters not
//! escaped, escapes in upper case. What a backend could read as another path than the one that was matched is refused or
//! escaped. A path that has this form already is not copied.

use std::borrow::Cow;

use gateway_common::ir::EscapedSlashes;
use thiserror::Error;

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Policy {
    pub merge_slashes: bool,
    pub escaped_slashes: EscapedSlashes,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum Invalid {
    #[error("path does not begin with a slash")]
    NotAbsolute,
    #[error("path has a character that must be percent-encoded")]
    Character,
    #[error("path has a percent sign without two hexadecimal digits")]
    Escape,
    #[error("path has an encoded NUL")]
    Nul,
    #[error("path has an encoded slash or backslash")]
    Slash,
    #[error("path has `..` beside an encoded slash or backslash")]
    Climb,
}

/// `*` (of OPTIONS) is normal.
pub fn normalize<'a>(path: &'a str, policy: &Policy) -> Result<Cow<'a, str>, Invalid> {
    if path == "*" {
        return Ok(path.into());
    }
    if !path.starts_with('/') {
        return Err(Invalid::NotAbsolute);
    }
    let normal: Cow<'a, str> = if is_normal(path.as_bytes(), policy)? {
        path.into()
    } else {
        let resolved = resolve(&reescape(path.as_bytes()), policy.merge_slashes);
        String::from_utf8_lossy(&resolved).into_owned().into()
    };
    if climbs(&normal) { Err(Invalid::Climb) } else { Ok(normal) }
}

/// Whether a backend that decodes slashes before it resolves dots would leave the path that was matched.
fn climbs(normal: &str) -> bool {
    let separates = |text: &str| text.starts_with("%2F") || text.starts_with("%5C") || text.starts_with('/');
    let ends = |text: &str| text.ends_with("%2F") || text.ends_with("%5C") || text.ends_with('/');
    let mut dots = normal.match_indices("..");
    normal.contains('%')
        && dots.any(|(at, _)| {
            let after = &normal[at + 2..];
            ends(&normal[..at]) && (after.is_empty() || separates(after))
        })
}

/// The value of a hexadecimal digit.
pub(crate) fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

/// Also finds what no form can mend.
fn is_normal(path: &[u8], policy: &Policy) -> Result<bool, Invalid> {
    let mut normal = true;
    let mut before = 0;
    for (at, &byte) in path.iter().enumerate() {
        match byte {
            b'/' if before == b'/' => normal &= !policy.merge_slashes,
            b'.' if before == b'/' => normal &= !begins_with_dots(&path[at..]),
            b'%' => normal &= escape_is_normal(&path[at..], policy)?,
            b'\\' if policy.escaped_slashes == EscapedSlashes::Reject => return Err(Invalid::Slash),
            b'\\' | 0x80.. => normal = false,
            ..=b' ' | b'?' | b'#' | 0x7f => return Err(Invalid::Character),
            _ => {}
        }
        before = byte;
    }
    Ok(normal)
}

/// Whether the first segment of `rest` is `.` or `..`.
fn begins_with_dots(rest: &[u8]) -> bool {
    matches!(rest, [b'.'] | [b'.', b'/', ..] | [b'.', b'.'] | [b'.', b'.', b'/', ..])
}

fn escape_is_normal(rest: &[u8], policy: &Policy) -> Result<bool, Invalid> {
    let (byte, upper) = match *rest {
        [_, high, low, ..] => match (hex(high), hex(low)) {
            (Some(a), Some(b)) => (a << 4 | b, !high.is_ascii_lowercase() && !low.is_ascii_lowercase()),
            _ => return Err(Invalid::Escape),
        },
        _ => return Err(Invalid::Escape),
    };
    match byte {
        0 => Err(Invalid::Nul),
        b'/' | b'\\' if policy.escaped_slashes == EscapedSlashes::Reject => Err(Invalid::Slash),
        _ => Ok(upper && !is_unreserved(byte)),
    }
}

/// RFC 3986 §2.3.
fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

/// Unreserved characters as themselves, everything that needs it as an escape in upper case.
fn reescape(path: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(path.len() + 16);
    let mut rest = path;
    while let [byte, after @ ..] = rest {
        rest = after;
        match (byte, after) {
            (b'%', [high, low, after @ ..]) => {
                rest = after;
                match hex(*high).zip(hex(*low)).map(|(high, low)| high << 4 | low) {
                    Some(byte) if is_unreserved(byte) => out.push(byte),
                    _ => out.extend([b'%', high.to_ascii_uppercase(), low.to_ascii_uppercase()]),
                }
            }
            (b'\\' | 0x80.., _) => out.extend(format!("%{byte:02X}").bytes()),
            _ => out.push(*byte),
        }
    }
    out
}

/// Without dot segments (RFC 3986 §5.2.4); a `..` at the root stays there.
fn resolve(path: &[u8], merge_slashes: bool) -> Vec<u8> {
    let mut out = Vec::with_capacity(path.len());
    let mut segments = path.split(|&byte| byte == b'/').skip(1).peekable();
    while let Some(segment) = segments.next() {
        let last = segments.peek().is_none();
        match segment {
            b"." => {}
            b".." => out.truncate(out.iter().rposition(|&byte| byte == b'/').unwrap_or(0)),
            b"" if merge_slashes => {}
            _ => {
                out.push(b'/');
                out.extend_from_slice(segment);
                continue;
            }
        }
        if last {
            out.push(b'/');
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const PLAIN: Policy = Policy { merge_slashes: false, escaped_slashes: EscapedSlashes::Keep };
    const STRICT: Policy = Policy { merge_slashes: true, escaped_slashes: EscapedSlashes::Reject };

    #[test]
    fn a_normal_path_is_not_copied() {
        for path in
            ["/", "/a/b.c/", "/.well-known/x", "/a//b", "/%2F", "/a%20b", "/..a/...", "*", "/a;x=1,b@c:d"]
        {
            assert!(matches!(normalize(path, &PLAIN), Ok(Cow::Borrowed(same)) if same == path), "{path}");
        }
    }

    #[test]
    fn other_forms_become_the_normal_one() {
        for (given, want) in [
            ("/a/../b", "/b"),
            ("/a/./b", "/a/b"),
            ("/a/b/..", "/a/"),
            ("/a/b/.", "/a/b/"),
            ("/..", "/"),
            ("/.", "/"),
            ("/../../x", "/x"),
            ("/a/%2e%2E/b", "/b"),
            ("/a/.%2e/b", "/b"),
            ("/a//../b", "/a/b"),
            ("/%61dmin", "/admin"),
            ("/caf%c3%a9", "/caf%C3%A9"),
            ("/café", "/caf%C3%A9"),
            ("/a\\b", "/a%5Cb"),
            ("/a%2fb", "/a%2Fb"),
            ("/a..%2fb", "/a..%2Fb"),
            ("/%252e%252e/", "/%252e%252e/"),
        ] {
            assert_eq!(normalize(given, &PLAIN).as_deref(), Ok(want), "{given}");
        }
        for (given, want) in
            [("//", "/"), ("/a//b", "/a/b"), ("/a//", "/a/"), ("///a/..//b", "/b"), ("/a//..", "/")]
        {
            assert_eq!(normalize(given, &STRICT).as_deref(), Ok(want), "{given}");
        }
    }

    #[test]
    fn what_cannot_be_normal_is_refused() {
        for (given, want) in [
            ("", Invalid::NotAbsolute),
            ("a", Invalid::NotAbsolute),
            ("**", Invalid::NotAbsolute),
            ("/%", Invalid::Escape),
            ("/%1", Invalid::Escape),
            ("/%zz", Invalid::Escape),
            ("/%u0041", Invalid::Escape),
            ("/%+1", Invalid::Escape),
            ("/%00", Invalid::Nul),
            ("/a b", Invalid::Character),
            ("/a\tb", Invalid::Character),
            ("/a#b", Invalid::Character),
            ("/a/..%2fb", Invalid::Climb),
            ("/a%2f../b", Invalid::Climb),
            ("/a%5C%2e%2e", Invalid::Climb),
            ("/a\\..\\b", Invalid::Climb),
        ] {
            assert_eq!(normalize(given, &PLAIN), Err(want), "{given}");
        }
        for given in ["/%2f", "/%5C", "/a\\b"] {
            assert_eq!(normalize(given, &STRICT), Err(Invalid::Slash), "{given}");
        }
    }

    proptest! {
        #[test]
        fn normal_form_is_stable_and_has_no_dots(
            path in "/([./%\\\\25eEfFaé]|%2[eEfF]){0,24}",
            merge_slashes: bool,
        ) {
            let policy = Policy { merge_slashes, escaped_slashes: EscapedSlashes::Keep };
            if let Ok(normal) = normalize(&path, &policy) {
                prop_assert!(matches!(normalize(&normal, &policy), Ok(Cow::Borrowed(_))), "{normal}");
                prop_assert!(normal.split('/').all(|segment| segment != "." && segment != ".."));
                prop_assert!(!(merge_slashes && normal.contains("//")));
                prop_assert!(normal.starts_with('/') && normal.is_ascii());
            }
        }
    }
}
