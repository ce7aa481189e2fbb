//! Counts what passed and what failed.

use std::fmt;

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Tally {
    pub(crate) passed: u64,
    pub(crate) failed: u64,
}

impl Tally {
    /// One check.
    pub(crate) fn whole(success: bool) -> Self {
        Self { passed: u64::from(success), failed: u64::from(!success) }
    }

    /// The sum of libtest's result lines. An ignored test that is not `optional` did not run, so it failed;
    /// so does a run that ended badly without a failed test, as when something does not compile, and one without a test.
    pub(crate) fn libtest(output: &str, success: bool, optional: fn(&str) -> bool) -> Self {
        let mut tally = Self::default();
        let mut ignored = 0;
        for line in output.lines().filter_map(|line| line.trim().strip_prefix("test result: ")) {
            tally.passed += count(line, "passed");
            tally.failed += count(line, "failed");
            ignored += count(line, "ignored");
        }
        if ignored > 0 {
            tally.failed += ignored.saturating_sub(named(output, optional));
        }
        if tally.failed == 0 && (!success || tally.passed == 0) {
            tally.failed = 1;
        }
        tally
    }

    pub(crate) fn add(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} passed, {} failed", self.passed, self.failed)
    }
}

/// How many tests the output names that `wanted` wants. A child's words may stand around the name.
fn named(output: &str, wanted: fn(&str) -> bool) -> u64 {
    let names = output.lines().flat_map(|line| line.split("test ").skip(1));
    let names = names.filter_map(|rest| rest.split_once(" ... ")).filter(|(name, _)| wanted(name));
    u64::try_from(names.count()).unwrap_or(u64::MAX)
}

/// The number before `word`.
fn count(line: &str, word: &str) -> u64 {
    let words: Vec<&str> = line.split(|c: char| !c.is_alphanumeric()).collect();
    let at = words.iter().position(|other| *other == word);
    at.and_then(|at| words.get(at.checked_sub(1)?)?.parse().ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(output: &str, success: bool, passed: u64, failed: u64) {
        assert_eq!(
            Tally::libtest(output, success, |name| name.contains("needs_x")),
            Tally { passed, failed },
            "{output}"
        );
    }

    #[test]
    fn result_lines_are_summed() {
        let output = "running 3 tests\n\
            test result: ok. 3 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.01s\n\
            test result: FAILED. 10 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out; finished in 1.00s\n";
        check(output, false, 13, 2);
    }

    #[test]
    fn only_a_test_that_says_what_it_needs_may_be_ignored() {
        let result = "test result: ok. 1 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out\n";
        let run = |line: &str| format!("test a::b ... ok\n{line}\n{result}");
        check(&run("test needs_x::c ... ignored, needs a kernel with x"), true, 1, 0);
        check(&run("a child's words test needs_x::c ... more words\nignored, needs x"), true, 1, 0);
        check(&run("test slow::c ... ignored"), true, 1, 1);
    }

    #[test]
    fn a_run_without_a_test_fails() {
        check("error: aborting", false, 0, 1);
        check("test result: ok. 0 passed; 0 failed; 0 ignored; 0 measured; 9 filtered out", true, 0, 1);
    }

    #[test]
    fn the_last_line_is_as_promised() {
        assert_eq!(Tally { passed: 12, failed: 0 }.to_string(), "12 passed, 0 failed");
    }
}
