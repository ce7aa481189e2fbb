//! Regular expressions of matches: RE2 syntax (as the `regex` crate has it), linear time, the whole text must match.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use regex::RegexBuilder;

/// Bytes of one compiled expression, and of the cache that each thread fills while it matches.
const SIZE_LIMIT: usize = 1 << 20;

#[derive(Clone, Debug)]
pub(super) struct Pattern {
    regex: regex::Regex,
    /// Tells patterns apart, and whether this one is in use.
    number: Arc<u64>,
}

/// A thread's own copies: a [`regex::Regex`] that threads share takes a lock to give each of them room to match in.
#[derive(Default)]
struct Copies {
    copies: HashMap<u64, (Weak<u64>, regex::Regex), foldhash::fast::RandomState>,
    /// How many there may be before those of patterns that are gone are looked for.
    most: usize,
}

thread_local! {
    static COPIES: RefCell<Copies> = RefCell::default();
}

impl Pattern {
    pub(super) fn new(expression: &str) -> Result<Self, String> {
        // On its own first: "a)(b" becomes valid inside of the anchors.
        build(expression)?;
        let regex = build(&format!(r"\A(?:{expression})\z"))?;
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Ok(Self { regex, number: Arc::new(NEXT.fetch_add(1, Ordering::Relaxed)) })
    }

    pub(super) fn is_match(&self, text: &str) -> bool {
        COPIES.with_borrow_mut(|copies| copies.of(self).is_match(text))
    }
}

impl Copies {
    fn of(&mut self, pattern: &Pattern) -> &regex::Regex {
        if self.copies.len() >= self.most && !self.copies.contains_key(&pattern.number) {
            self.copies.retain(|_, (number, _)| number.strong_count() > 0);
            self.most = (2 * self.copies.len()).max(64);
        }
        let copy = || (Arc::downgrade(&pattern.number), pattern.regex.clone());
        &self.copies.entry(*pattern.number).or_insert_with(copy).1
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
    fn copies_go_with_their_patterns() {
        let kept = Pattern::new("kept").unwrap();
        for number in 0..1000 {
            let pattern = Pattern::new(&number.to_string()).unwrap();
            assert!(pattern.is_match(&number.to_string()) && kept.is_match("kept") && !kept.is_match("x"));
        }
        COPIES.with_borrow(|copies| assert!(copies.copies.len() <= 128, "{}", copies.copies.len()));
        assert!(std::thread::spawn(move || kept.is_match("kept")).join().unwrap());
    }

    #[test]
    fn what_does_not_stand_alone_is_refused() {
        assert!(Pattern::new("a)(b").is_err());
        assert!(Pattern::new("(?=look)").is_err());
        assert!(Pattern::new(r"\w{1000}{1000}").is_err(), "too large");
    }
}
