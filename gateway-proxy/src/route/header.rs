//! Header matches. A repeated field is matched as RFC 9110 §5.3 combines it: its values joined by commas.

use std::borrow::Cow;

use gateway_common::ir::{NameValueMatch, ValueMatch};
use http::HeaderName;
use http::header::{HOST, HeaderValue};

use super::Request;
use super::pattern::Pattern;

#[derive(Debug)]
pub(super) struct HeaderMatch {
    name: HeaderName,
    value: Value,
}

#[derive(Debug)]
enum Value {
    Exact(Box<[u8]>),
    Regex(Pattern),
}

impl HeaderMatch {
    pub(super) fn new(from: &NameValueMatch) -> Result<Self, String> {
        let name = HeaderName::from_bytes(from.name.as_bytes()).map_err(|error| error.to_string())?;
        let value = match &from.value {
            ValueMatch::Exact(text) => Value::Exact(text.as_bytes().into()),
            ValueMatch::Regex(expression) => Value::Regex(Pattern::new(expression)?),
        };
        Ok(Self { name, value })
    }

    pub(super) fn accepts(&self, request: &Request<'_>) -> bool {
        if self.name == HOST {
            // HTTP/2 carries it as :authority.
            return self.value.accepts_one(request.authority.as_bytes());
        }
        let mut values = request.headers.get_all(&self.name).iter();
        let Some(first) = values.next() else { return false };
        match values.next() {
            None => self.value.accepts_one(first.as_bytes()),
            Some(second) => self.value.accepts_joined([first, second].into_iter().chain(values)),
        }
    }
}

impl Value {
    fn accepts_one(&self, value: &[u8]) -> bool {
        match self {
            Self::Exact(want) => **want == *value,
            Self::Regex(pattern) => str::from_utf8(value).is_ok_and(|text| pattern.is_match(text)),
        }
    }

    fn accepts_joined<'a>(&self, values: impl Iterator<Item = &'a HeaderValue>) -> bool {
        match self {
            Self::Exact(want) => equals_joined(want, values),
            Self::Regex(_) => self.accepts_one(&joined(values)),
        }
    }
}

fn equals_joined<'a>(want: &[u8], values: impl Iterator<Item = &'a HeaderValue>) -> bool {
    let mut rest = Some(want);
    for (at, value) in values.enumerate() {
        rest = match at {
            0 => rest,
            _ => rest.and_then(|rest| rest.strip_prefix(b",")),
        };
        rest = rest.and_then(|rest| rest.strip_prefix(value.as_bytes()));
    }
    rest.is_some_and(<[u8]>::is_empty)
}

fn joined<'a>(values: impl Iterator<Item = &'a HeaderValue>) -> Cow<'a, [u8]> {
    Cow::Owned(values.map(HeaderValue::as_bytes).collect::<Vec<_>>().join(&b','))
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::{HeaderMap, Method};

    fn accepts(value: ValueMatch, given: &[&str]) -> bool {
        let headers: HeaderMap =
            given.iter().map(|text| (HeaderName::from_static("x-a"), text.parse().unwrap())).collect();
        let of = HeaderMatch::new(&NameValueMatch { name: "X-A".into(), value }).unwrap();
        let method = Method::GET;
        of.accepts(&Request { authority: "", method: &method, path: "/", query: None, headers: &headers })
    }

    #[test]
    fn repeated_fields_are_one_list() {
        let exact = |text: &str| ValueMatch::Exact(text.into());
        assert!(accepts(exact("one"), &["one"]));
        assert!(!accepts(exact("one"), &["One"]));
        assert!(!accepts(exact("one"), &[]));
        assert!(!accepts(exact("one"), &["one", "two"]));
        assert!(!accepts(exact("onetwo"), &["one", "two"]));
        assert!(accepts(exact("one,two"), &["one", "two"]));
        assert!(!accepts(exact("one,two,"), &["one", "two"]));
        assert!(accepts(exact("one,,two"), &["one", "", "two"]));
        let regex = |text: &str| ValueMatch::Regex(text.into());
        assert!(accepts(regex("o.e"), &["one"]));
        assert!(!accepts(regex("o.e"), &["one", "one"]));
        assert!(accepts(regex("one,t.*"), &["one", "two"]));
    }
}
