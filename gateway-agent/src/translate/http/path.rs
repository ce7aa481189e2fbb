//! Paths of matches, rewrites and redirects.

use gateway_common::ir::{HttpMatch, PathMatch};

/// Sequences that the API forbids: a path that has them never arrives as it was written.
const FORBIDDEN: [&str; 8] = ["//", "/./", "/../", "%2f", "%2F", "#", "?", " "];

pub(super) fn check(text: &str) -> Result<(), String> {
    if !text.starts_with('/') {
        return Err(format!("{text:?} does not start with \"/\""));
    }
    if let Some(found) = FORBIDDEN.iter().find(|sequence| text.contains(**sequence)) {
        return Err(format!("{text:?} contains {found:?}"));
    }
    if text.ends_with("/..") || text.ends_with("/.") {
        return Err(format!("{text:?} ends with a dot segment"));
    }
    Ok(())
}

/// What [`PathMatch::Prefix`] wants: `/a/` and `/a` are the same prefix.
pub(super) fn trim(text: &str) -> String {
    match text.trim_end_matches('/') {
        "" => "/".to_owned(),
        trimmed => trimmed.to_owned(),
    }
}

/// Whether every match has a prefix that a filter can replace.
pub(super) fn is_prefix_only(matches: &[HttpMatch]) -> bool {
    matches.iter().all(|m| matches!(m.path, PathMatch::Prefix(_)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_lose_their_trailing_slash() {
        assert_eq!((trim("/"), trim("/a/"), trim("/a")), ("/".to_owned(), "/a".to_owned(), "/a".to_owned()));
    }

    #[test]
    fn paths_that_never_arrive() {
        for path in ["", "a", "/a//b", "/../a", "/a/..", "/a/.", "/a%2fb", "/a#b", "/a?b"] {
            assert!(check(path).is_err(), "{path}");
        }
        for path in ["/", "/a", "/a/", "/a/b.c", "/a%20b"] {
            assert!(check(path).is_ok(), "{path}");
        }
    }
}
