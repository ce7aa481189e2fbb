//! What `go test -test.v=test2json` prints, read line by line. Pure.

/// Begins what the test framework says, so that nothing a test prints is taken for it.
const MARK: char = '\x16';
/// The one test that all others are parts of.
const ROOT: &str = "TestConformance";
/// Lines kept of each running test, to be shown if it fails.
const KEPT: usize = 24;

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
    /// The last lines by test of the suite; the suite's own under the empty name.
    said: std::collections::BTreeMap<String, Vec<String>>,
}

impl Reader {
    /// Takes one line. Words of the framework may follow what a test printed without ending its line.
    pub(super) fn read(&mut self, line: &str) -> Vec<Event> {
        let mut events = Vec::new();
        let mut parts = line.split(MARK);
        // Nothing before a mark at the line's start is no line of the test's.
        if let Some(plain) = parts.next().filter(|plain| !plain.is_empty()) {
            self.hear(plain);
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
        let lines = self.said.entry(name).or_default();
        lines.push(line.trim_end().to_owned());
        if lines.len() > KEPT {
            lines.remove(0);
        }
    }

    fn end(&mut self, verdict: Verdict, test: &str, seconds: f64) -> Option<Event> {
        if test == ROOT {
            let said = self.said.remove("").unwrap_or_default();
            return Some(Event::Whole { verdict, seconds, said });
        }
        // Parts of a test are told with it.
        let name = suite_test(test)?;
        let said = self.said.remove(name).unwrap_or_default();
        Some(Event::Ended { test: name.to_owned(), verdict, seconds, said })
    }
}

enum Framed<'a> {
    Speaks(&'a str),
    Ended(Verdict, &'a str, f64),
}

fn framed(text: &str) -> Option<Framed<'_>> {
    let text = text.trim();
    if let Some(rest) = text.strip_prefix("=== ") {
        let (word, test) = rest.split_once(char::is_whitespace)?;
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
