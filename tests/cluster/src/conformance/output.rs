//! What `go test -test.v=test2json` prints, read line by line. Pure.

use std::collections::{BTreeMap, VecDeque};

/// Begins what the test framework says, so that nothing a test prints is taken for it.
const MARK: char = '\x16';
/// Put around what a test says of its own failure.
const ERROR: [char; 2] = ['\x0f', '\x0e'];
/// The one test that all others are parts of.
const ROOT: &str = "TestConformance";
/// Lines kept of each running test, to be shown if it fails: of its failure, and of what led there.
const KEPT: usize = 24;
const LED: usize = 6;

/// How a test ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    Pass,
    Fail,
    Skip,
}

/// Something that a line says.
#[derive(Clone, PartialEq, Debug)]
pub enum Event {
    /// A test of the suite began or goes on.
    Runs(String),
    /// A test of the suite ended.
    Ended { test: String, verdict: Verdict, seconds: f64, said: Vec<String> },
    /// The suite as a whole ended.
    Whole { verdict: Verdict, seconds: f64, said: Vec<String> },
}

/// What was said of whom so far.
#[derive(Default)]
pub(super) struct Reader {
    /// The test that plain lines belong to, in full.
    speaker: String,
    /// By test of the suite; the suite's own under the empty name.
    said: BTreeMap<String, Said>,
    /// Between the marks of a failure.
    failing: bool,
}

#[derive(Default)]
struct Said {
    last: VecDeque<String>,
    /// What is marked as failure, after what led there. A cleaning up may say much more afterwards.
    failure: Vec<String>,
}

impl Said {
    fn add(&mut self, line: String, failure: bool) {
        if failure && self.failure.len() < KEPT {
            if self.failure.is_empty() {
                self.failure.extend(self.last.iter().rev().take(LED).rev().cloned());
            }
            self.failure.push(line.clone());
        }
        self.last.push_back(line);
        if self.last.len() > KEPT {
            self.last.pop_front();
        }
    }

    fn told(self) -> Vec<String> {
        if self.failure.is_empty() { self.last.into() } else { self.failure }
    }
}

impl Reader {
    /// Takes one line. Words of the framework may follow what a test printed without ending its line.
    pub(super) fn read(&mut self, line: &str) -> Vec<Event> {
        let mut events = Vec::new();
        let mut parts = line.split(MARK);
        // Nothing before a mark at the line's start is no line of the test's.
        if let Some(said) = parts.next().filter(|said| !said.is_empty()) {
            self.hear(said);
        }
        for part in parts {
            match framed(part) {
                Some(Framed::Speaks(test)) => {
                    self.speaker = test.to_owned();
                    events.extend(suite_test(test).map(|name| Event::Runs(name.to_owned())));
                }
                Some(Framed::Ended(verdict, test, seconds)) => {
                    events.extend(self.end(verdict, test, seconds))
                }
                None => self.hear(part),
            }
        }
        events
    }

    fn hear(&mut self, line: &str) {
        let name = top(&self.speaker).unwrap_or_default().to_owned();
        let begins = line.contains(ERROR[0]);
        let said = self.said.entry(name).or_default();
        said.add(plain(line).trim_end().to_owned(), self.failing || begins);
        self.failing = (self.failing || begins) && !line.contains(ERROR[1]);
    }

    fn end(&mut self, verdict: Verdict, test: &str, seconds: f64) -> Option<Event> {
        if test == ROOT {
            let said = self.said.remove("").unwrap_or_default().told();
            return Some(Event::Whole { verdict, seconds, said });
        }
        // Parts of a test are told with it.
        let name = suite_test(test)?;
        let said = self.said.remove(name).unwrap_or_default().told();
        Some(Event::Ended { test: name.to_owned(), verdict, seconds, said })
    }
}

/// A line as a person reads it.
pub(super) fn plain(line: &str) -> String {
    line.replace(MARK, "").replace(ERROR, "")
}

enum Framed<'a> {
    Speaks(&'a str),
    Ended(Verdict, &'a str, f64),
}

fn framed(text: &str) -> Option<Framed<'_>> {
    let text = text.trim();
    if let Some(rest) = text.strip_prefix("=== ") {
        // Nobody is named when the last test has ended.
        let (word, test) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
        return ["RUN", "CONT", "NAME"].contains(&word).then(|| Framed::Speaks(test.trim()));
    }
    let (word, rest) = text.strip_prefix("--- ")?.split_once(": ")?;
    let verdict = match word {
        "PASS" => Verdict::Pass,
        "FAIL" => Verdict::Fail,
        "SKIP" => Verdict::Skip,
        _ => return None,
    };
    let (test, time) = rest.rsplit_once(" (")?;
    Some(Framed::Ended(verdict, test, time.strip_suffix("s)")?.parse().ok()?))
}

/// `TestConformance/NAME`.
fn suite_test(test: &str) -> Option<&str> {
    top(test).filter(|name| test.len() == ROOT.len() + 1 + name.len())
}

/// The test of the suite that this one is, or is part of.
fn top(test: &str) -> Option<&str> {
    test.strip_prefix(ROOT)?.strip_prefix('/')?.split('/').next()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What v1.6.3 printed where there is no cluster.
    const SETUP_FAILS: &str = include_str!("../../testdata/conformance/setup-fails.txt");
    /// What Go 1.27.3 prints of tests that pass, fail, are skipped, run in parallel and imitate it.
    const EVERY_VERDICT: &str = include_str!("../../testdata/conformance/every-verdict.txt");

    fn events(output: &str) -> Vec<Event> {
        let mut reader = Reader::default();
        output.lines().flat_map(|line| reader.read(line)).collect()
    }

    #[test]
    fn a_suite_that_does_not_begin_says_why() {
        let [Event::Whole { verdict: Verdict::Fail, said, .. }] = &events(SETUP_FAILS)[..] else {
            panic!("{:?}", events(SETUP_FAILS));
        };
        assert!(said.iter().any(|line| line.contains("no configuration has been provided")), "{said:?}");
        assert!(said.last().unwrap().ends_with("error loading Kubernetes config"), "{said:?}");
    }

    #[test]
    fn each_test_of_the_suite_ends_once() {
        let ended: Vec<_> = events(EVERY_VERDICT)
            .into_iter()
            .filter_map(|event| match event {
                Event::Ended { test, verdict, seconds, .. } => Some((test, verdict, seconds)),
                Event::Runs(_) | Event::Whole { .. } => None,
            })
            .collect();
        let expected = [
            ("GatewayOne", Verdict::Pass, 0.02),
            ("GatewayTwo", Verdict::Fail, 0.0),
            ("GatewayThree", Verdict::Skip, 0.0),
            ("GatewayFour", Verdict::Pass, 0.01),
        ];
        assert_eq!(ended, expected.map(|(test, verdict, seconds)| (test.to_owned(), verdict, seconds)));
    }

    #[test]
    fn a_failure_comes_with_what_its_parts_said() {
        let failed = events(EVERY_VERDICT).into_iter().find_map(|event| match event {
            Event::Ended { verdict: Verdict::Fail, said, .. } => Some(said),
            Event::Runs(_) | Event::Ended { .. } | Event::Whole { .. } => None,
        });
        let said = failed.unwrap();
        assert!(said[0].ends_with("expected 200, got 503 (after 1.2s)"), "{said:?}");
        assert!(said.iter().any(|line| line.contains("no line end")), "{said:?}");
        assert!(said.last().unwrap().ends_with("not ready yet"), "{said:?}");
    }

    #[test]
    fn what_is_cleaned_up_afterwards_does_not_bury_a_failure() {
        let cleaning = "    apply.go:295: Deleting something\n".repeat(100);
        let output = SETUP_FAILS.replace("\x16--- FAIL", &format!("{cleaning}\x16--- FAIL"));
        let [Event::Whole { said, .. }] = &events(&output)[..] else { panic!("{output}") };
        assert!(said.last().unwrap().ends_with("error loading Kubernetes config"), "{said:?}");
    }

    #[test]
    fn the_framework_is_not_imitated() {
        let text = format!("{:?}", events(EVERY_VERDICT));
        assert!(!text.contains("test: \"Forged\""), "{text}");
    }
}
