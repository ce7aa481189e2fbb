//! What a run came to. Pure.

use std::fmt;

use super::output::{Event, Verdict};

/// Counts and names of a run.
#[derive(Clone, Default, Debug)]
pub struct Outcome {
    pub passed: Vec<String>,
    pub failed: Vec<String>,
    pub skipped: Vec<String>,
    /// Tests that were asked for by name and did not run.
    pub missed: Vec<String>,
    /// How the suite ended as a whole; None if it did not say.
    pub whole: Option<Verdict>,
}

impl Outcome {
    pub(super) fn take(&mut self, event: &Event) {
        match event {
            Event::Runs(_) => {}
            Event::Ended { test, verdict, .. } => {
                let list = match verdict {
                    Verdict::Pass => &mut self.passed,
                    Verdict::Fail => &mut self.failed,
                    Verdict::Skip => &mut self.skipped,
                };
                list.push(test.clone());
            }
            Event::Whole { verdict, .. } => self.whole = Some(*verdict),
        }
    }

    /// Settles which of the tests `asked` for did not run.
    pub(super) fn settle(&mut self, asked: &[String]) {
        let ran = |name: &String| self.passed.contains(name) || self.failed.contains(name);
        self.missed = asked.iter().filter(|name| !ran(name)).cloned().collect();
    }

    /// Something was tested, and nothing failed.
    pub fn success(&self) -> bool {
        self.whole == Some(Verdict::Pass)
            && self.failed.is_empty()
            && self.missed.is_empty()
            && !self.passed.is_empty()
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (passed, failed, skipped) = (self.passed.len(), self.failed.len(), self.skipped.len());
        write!(f, "{passed} passed, {failed} failed, {skipped} skipped")?;
        if !self.missed.is_empty() {
            write!(f, "; asked for and not run: {}", self.missed.join(", "))?;
        }
        match self.whole {
            None => write!(f, "; the suite ended without a verdict"),
            Some(Verdict::Fail) if self.failed.is_empty() => {
                write!(f, "; the suite failed outside its tests")
            }
            Some(_) if self.passed.is_empty() && self.failed.is_empty() => write!(f, "; nothing was tested"),
            Some(_) => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(ended: &[(&str, Verdict)], whole: Option<Verdict>, asked: &[&str]) -> Outcome {
        let mut outcome = Outcome::default();
        for (test, verdict) in ended {
            let (test, verdict) = ((*test).to_owned(), *verdict);
            outcome.take(&Event::Ended { test, verdict, seconds: 0.0, said: Vec::new() });
        }
        if let Some(verdict) = whole {
            outcome.take(&Event::Whole { verdict, seconds: 0.0, said: Vec::new() });
        }
        outcome.settle(&asked.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>());
        outcome
    }

    #[test]
    fn success_needs_a_test_that_ran() {
        use Verdict::{Fail, Pass, Skip};
        assert!(outcome(&[("A", Pass), ("B", Skip)], Some(Pass), &[]).success());
        for bad in [
            outcome(&[("A", Pass), ("B", Fail)], Some(Fail), &[]),
            outcome(&[("B", Skip)], Some(Pass), &[]),
            outcome(&[("A", Pass)], None, &[]),
            outcome(&[("A", Pass), ("B", Skip)], Some(Pass), &["A", "B"]),
            outcome(&[], Some(Pass), &[]),
        ] {
            assert!(!bad.success(), "{bad}");
        }
    }

    #[test]
    fn it_says_what_is_odd() {
        use Verdict::{Fail, Pass};
        assert_eq!(outcome(&[("A", Pass)], Some(Pass), &[]).to_string(), "1 passed, 0 failed, 0 skipped");
        assert!(outcome(&[], Some(Fail), &[]).to_string().contains("outside its tests"));
        assert!(outcome(&[], None, &[]).to_string().contains("without a verdict"));
        assert!(outcome(&[], Some(Pass), &["X"]).to_string().contains("not run: X"));
    }
}
