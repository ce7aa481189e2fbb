//! Query parameter matches: by the first parameter of the name, as the API recommends. Names and values are compared
//! percent-decoded; `+` is itself (RFC 3986 §3.4), so what a form sends as a space is written `%20` by whoever matches it.

use std::borrow::Cow;

use gateway_common::ir::{NameValueMatch, ValueMatch};

use super::pattern::Pattern;

#[derive(Debug)]
pub(super) struct QueryMatch {
    name: Box<str>,
    value: Value,
}

#[derive(Debug)]
enum Value {
    Exact(Box<str>),
    Regex(Pattern),
}

impl QueryMatch {
    pub(super) fn new(from: &NameValueMatch) -> Result<Self, String> {
        let value = match &from.value {
            ValueMatch::Exact(text) => Value::Exact(text.as_str().into()),
            ValueMatch::Regex(expression) => Value::Regex(Pattern::new(expression)?),
        };
        Ok(Self { name: from.name.as_str().into(), value })
    }

    pub(super) fn accepts(&self, query: &str) -> bool {
        let parameters = query.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
        let named = parameters.into_iter().find(|(name, _)| equals_decoded(name, &self.name));
        let Some((_, given)) = named else { return false };
        match &self.value {
            Value::Exact(want) => equals_decoded(given, want),
            Value::Regex(pattern) => str::from_utf8(&decoded(given)).is_ok_and(|text| pattern.is_match(text)),
        }
    }
}

fn equals_decoded(given: &str, want: &str) -> bool {
    if given.len() < want.len() {
        return false;
    }
    if given.len() == want.len() && !given.contains('%') {
        return given == want;
    }
    Decode(given.as_bytes()).eq(want.bytes())
}

fn decoded(given: &str) -> Cow<'_, [u8]> {
    if given.contains('%') {
        Cow::Owned(Decode(given.as_bytes()).collect())
    } else {
        Cow::Borrowed(given.as_bytes())
    }
}

/// Percent-decoded bytes; a `%` that is no escape is itself.
struct Decode<'a>(&'a [u8]);

impl Iterator for Decode<'_> {
    type Item = u8;

    fn next(&mut self) -> Option<u8> {
        let (byte, used) = match *self.0 {
            [b'%', high, low, ..] => match (crate::path::hex(high), crate::path::hex(low)) {
                (Some(high), Some(low)) => (high << 4 | low, 3),
                _ => (b'%', 1),
            },
            [byte, ..] => (byte, 1),
            [] => return None,
        };
        self.0 = &self.0[used..];
        Some(byte)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_parameter_of_a_name_decides() {
        let exact = |query: &str, name: &str, value: &str| {
            QueryMatch::new(&NameValueMatch { name: name.into(), value: ValueMatch::Exact(value.into()) })
                .unwrap()
                .accepts(query)
        };
        assert!(exact("a=1&b=2", "b", "2"));
        assert!(exact("a=1&a=2", "a", "1"));
        assert!(!exact("a=1&a=2", "a", "2"));
        assert!(!exact("", "a", "1"));
        assert!(!exact("A=1", "a", "1"));
        assert!(!exact("ab=1", "a", "1"));
        assert!(exact("a%20b=%31", "a b", "1"));
        assert!(exact("x=a%2Bb", "x", "a+b"));
        assert!(exact("x=a+b", "x", "a+b"));
        assert!(!exact("x=a+b", "x", "a b"));
        assert!(exact("x=50%", "x", "50%"));
        assert!(exact("x=50%25", "x", "50%"));
        assert!(exact("x=a=b", "x", "a=b"));
        let regex = NameValueMatch { name: "x".into(), value: ValueMatch::Regex("a .".into()) };
        let regex = QueryMatch::new(&regex).unwrap();
        assert!(regex.accepts("x=a%20b"));
        assert!(!regex.accepts("x=a%20bc"));
        assert!(!regex.accepts("x=%ff"), "not UTF-8");
    }
}
