//! Durations as the Gateway API writes them: <https://gateway-api.sigs.k8s.io/geps/gep-2257/>.

use std::fmt;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One to four numbers with a unit, as `10s`, `1m30s` or `250ms`.
///
/// Kept as it was written: a value that is no duration must reach validation, which names its field.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct DurationText(#[schemars(regex(pattern = r"^([0-9]{1,5}(h|m|s|ms)){1,4}$"))] pub String);

impl DurationText {
    pub fn parse(&self) -> Option<Duration> {
        parse(&self.0)
    }
}

impl fmt::Display for DurationText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The duration that a GEP-2257 text stands for; None if it is none.
pub fn parse(text: &str) -> Option<Duration> {
    let mut rest = text;
    let mut total = Duration::ZERO;
    for _ in 0..4 {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        if !(1..=5).contains(&digits) {
            return None;
        }
        let number: u64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let unit_len = rest.bytes().take_while(u8::is_ascii_alphabetic).count();
        total += match &rest[..unit_len] {
            "h" => Duration::from_secs(number * 3600),
            "m" => Duration::from_secs(number * 60),
            "s" => Duration::from_secs(number),
            "ms" => Duration::from_millis(number),
            _ => return None,
        };
        rest = &rest[unit_len..];
        if rest.is_empty() {
            return Some(total);
        }
    }
    None
}

/// The shortest GEP-2257 text of whole milliseconds.
pub fn format(duration: Duration) -> String {
    let ms = duration.as_millis();
    let parts = [(ms / 3_600_000, "h"), (ms / 60_000 % 60, "m"), (ms / 1_000 % 60, "s"), (ms % 1_000, "ms")];
    let text: String = parts.iter().filter(|(n, _)| *n > 0).map(|(n, unit)| format!("{n}{unit}")).collect();
    if text.is_empty() { "0s".to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn texts_of_the_gep() {
        let cases: [(&str, Option<u64>); 18] = [
            ("0h", Some(0)),
            ("0s", Some(0)),
            ("0h0m0s", Some(0)),
            ("1h", Some(3_600_000)),
            ("30m", Some(1_800_000)),
            ("10s", Some(10_000)),
            ("500ms", Some(500)),
            ("2h30m", Some(9_000_000)),
            ("150m", Some(9_000_000)),
            ("1h30m10s200ms", Some(5_410_200)),
            ("99999h", Some(359_996_400_000)),
            ("", None),
            ("1", None),
            ("1d", None),
            ("1.5h", None),
            ("-15m", None),
            ("100000s", None),
            ("1h1m1s1ms1ms", None),
        ];
        for (text, want) in cases {
            assert_eq!(parse(text), want.map(Duration::from_millis), "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_formatted_parses_to_the_same(ms in 0..359_996_400_000u64) {
            let duration = Duration::from_millis(ms);
            prop_assert_eq!(parse(&format(duration)), Some(duration));
        }

        #[test]
        fn any_text_is_taken_or_refused(text in ".{0,24}") {
            let _ = parse(&text);
        }
    }
}
