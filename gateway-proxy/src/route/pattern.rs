//! Regular expressions of matches: RE2 syntax (as the `regex` crate has it), linear time, the whole text must match.

use regex::RegexBuilder;

/// Bytes of one compiled expression, and of the cache that each thread fills while it matches.
const SIZE_LIMIT: usize = 1 << 20;

#[derive(Clone, Debug)]
pub(super) struct Pattern(regex::Regex);

impl Pattern {
    pub(super) fn new(expression: &str) -> Result<Self, String> {
        // On its own first: "a)(b" becomes valid inside of the anchors.
        build(expression)?;
        build(&format!(r"\A(?:{expression})\z")).map(Self)
    }

    pub(super) fn is_match(&self, text: &str) -> bool {
        self.0.is_match(text)
    }
}

fn build(expression: &str) -> Result<regex::Regex, String> {
    let built = RegexBuilder::new(expression).size_limit(SIZE_LIMIT).dfa_size_limit(SIZE_LIMIT).build();
    built.map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_whole_text_must_match() {
        let pattern = Pattern::new("/v[0-9]+|/latest").unwrap();
        assert!(pattern.is_match("/v12"));
        assert!(pattern.is_match("/latest"));
        assert!(!pattern.is_match("/v12/x"));
        assert!(!pattern.is_match("/x/latest"));
        assert!(!pattern.is_match("/v12\n"));
    }

    #[test]
    fn what_does_not_stand_alone_is_refused() {
        assert!(Pattern::new("a)(b").is_err());
        assert!(Pattern::new("(?=look)").is_err());
        assert!(Pattern::new(r"\w{1000}{1000}").is_err(), "too large");
    }
}
