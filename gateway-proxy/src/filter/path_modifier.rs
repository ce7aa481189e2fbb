//! How a redirect or a rewrite changes the path.

use gateway_common::ir;

use crate::path;

#[derive(Debug)]
pub(super) enum PathModifier {
    ReplaceFull(Box<str>),
    /// Without a trailing slash, so that `/` is empty.
    ReplacePrefix(Box<str>),
}

impl PathModifier {
    pub(super) fn new(from: &ir::PathModifier) -> Result<Self, String> {
        Ok(match from {
            ir::PathModifier::ReplaceFull(text) => Self::ReplaceFull(normal(text)?.into()),
            ir::PathModifier::ReplacePrefix(text) => {
                Self::ReplacePrefix(normal(text)?.trim_end_matches('/').into())
            }
        })
    }

    /// The path that replaces `path`. `prefix`: how much of it the match's prefix covers.
    pub(super) fn apply(&self, path: &str, prefix: Option<usize>) -> String {
        match self {
            Self::ReplaceFull(full) => full.to_string(),
            Self::ReplacePrefix(replacement) => {
                // The agent refuses ReplacePrefixMatch beside any other match than PathPrefix.
                let rest = prefix.and_then(|prefix| path.get(prefix..)).unwrap_or(path);
                match (&**replacement, rest) {
                    ("", "") => "/".to_owned(),
                    (replacement, rest) => [replacement, rest].concat(),
                }
            }
        }
    }
}

fn normal(text: &str) -> Result<String, String> {
    let absolute = if text.starts_with('/') { text.to_owned() } else { format!("/{text}") };
    let normal = path::normalize(&absolute, &path::Policy::default());
    normal.map(|text| text.into_owned()).map_err(|error| format!("path: `{text}`: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The table in the API's text of ReplacePrefixMatch, and what it leaves out.
    #[test]
    fn prefixes_are_replaced_by_element() {
        for (path, prefix, replacement, want) in [
            ("/foo/bar", "/foo", "/xyz", "/xyz/bar"),
            ("/foo/bar", "/foo", "/xyz/", "/xyz/bar"),
            ("/foo", "/foo", "/xyz", "/xyz"),
            ("/foo/", "/foo", "/xyz", "/xyz/"),
            ("/foo/bar", "/foo", "", "/bar"),
            ("/foo/", "/foo", "", "/"),
            ("/foo", "/foo", "", "/"),
            ("/foo/", "/foo", "/", "/"),
            ("/foo", "/foo", "/", "/"),
            ("/foo/bar", "", "/xyz", "/xyz/foo/bar"),
            ("/", "", "/xyz", "/xyz/"),
            ("/", "", "/", "/"),
            ("/foo/bar", "/foo", "xyz", "/xyz/bar"),
        ] {
            let modifier = PathModifier::new(&ir::PathModifier::ReplacePrefix(replacement.into())).unwrap();
            assert_eq!(modifier.apply(path, Some(prefix.len())), want, "{path} {prefix} {replacement}");
        }
    }

    #[test]
    fn a_full_replacement_ignores_the_path() {
        let modifier = PathModifier::new(&ir::PathModifier::ReplaceFull("/a/../é".into())).unwrap();
        assert_eq!(modifier.apply("/foo", None), "/%C3%A9");
        assert!(PathModifier::new(&ir::PathModifier::ReplaceFull("/a?b".into())).is_err());
    }
}
