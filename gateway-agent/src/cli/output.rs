//! Tables for people, JSON and YAML for programs.

use std::fmt::Display;
use std::io::{self, Write as _};

use anyhow::Context as _;
use clap::ValueEnum;
use comfy_table::{ContentArrangement, Table, presets};
use serde::Serialize;

#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Format {
    #[default]
    Table,
    Json,
    Yaml,
}

/// Prints `value` as JSON or YAML, or as the table that `rows` makes of it.
pub fn print<T: Serialize + ?Sized, R: IntoIterator<Item = Vec<String>>>(
    format: Format,
    value: &T,
    header: &[&str],
    rows: impl FnOnce() -> R,
) -> anyhow::Result<()> {
    match format {
        Format::Json | Format::Yaml => say(structured(format, value)?.trim_end()),
        Format::Table => say(table(header, rows())),
    }
}

/// Whoever read standard output went away, as `head` does.
#[derive(thiserror::Error, Debug)]
#[error("standard output is closed")]
pub struct Closed;

/// A line to standard output.
pub fn say(line: impl Display) -> anyhow::Result<()> {
    match writeln!(io::stdout(), "{line}") {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Err(Closed.into()),
        written => written.context("writing to standard output"),
    }
}

/// A line to standard error, which nobody needs to read.
pub fn note(line: impl Display) {
    let _ = writeln!(io::stderr(), "{line}");
}

/// JSON, or YAML.
pub fn structured<T: Serialize + ?Sized>(format: Format, value: &T) -> anyhow::Result<String> {
    match format {
        Format::Yaml => Ok(serde_saphyr::to_string(&serde_json::to_value(value)?)?),
        Format::Json | Format::Table => Ok(serde_json::to_string_pretty(value)?),
    }
}

/// Columns in kubectl's manner: upper-case heads, no lines, nothing for an empty list but the head.
pub fn table(header: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let mut table = Table::new();
    table
        .load_style(presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Disabled)
        .set_header(header);
    for row in rows {
        table.add_row(row);
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    table.lines().map(|line| line.trim_end().to_owned()).collect::<Vec<_>>().join("\n")
}

/// `1.5s`, `12m`, `3h`, `2d`: the largest unit that says enough.
pub fn age(milliseconds: u64) -> String {
    match milliseconds / 1000 {
        0..=9 => format!("{:.1}s", milliseconds as f64 / 1000.0),
        s @ 10..=119 => format!("{s}s"),
        s @ 120..=7_199 => format!("{}m", s / 60),
        s @ 7_200..=172_799 => format!("{}h", s / 3600),
        s => format!("{}d", s / 86_400),
    }
}

/// `-` for nothing.
pub fn or_dash<T: ToString>(value: Option<T>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| value.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_has_no_lines_and_no_trailing_space() {
        let text = table(&["NAME", "PORT"], [vec!["web".to_owned(), "443".to_owned()]]);
        assert_eq!(text, "NAME  PORT\nweb   443");
    }

    #[test]
    fn ages_are_short() {
        for (milliseconds, text) in [(0, "0.0s"), (1_500, "1.5s"), (61_000, "61s"), (600_000, "10m")] {
            assert_eq!(age(milliseconds), text);
        }
    }
}
