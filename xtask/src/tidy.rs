//! `cargo xtask tidy`: the rules of the house that compiler and clippy do not know. Rules are pure; this file reads.
#![expect(clippy::print_stdout, reason = "a task talks to its user")]

use std::collections::BTreeSet;
use std::fmt;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::workspace;

mod budgets;
mod docs;
mod imports;
mod manifest;
mod names;
mod purity;
mod size;
mod words;

/// One tracked text file, its path relative to the root.
pub(crate) struct Source {
    path: String,
    text: String,
}

/// Everything that rules look at.
pub(crate) struct Tree {
    sources: Vec<Source>,
    /// All tracked paths.
    paths: BTreeSet<String>,
}

/// A rule that is broken somewhere.
#[derive(PartialEq, Eq, Debug)]
pub(crate) struct Finding {
    path: String,
    line: usize,
    rule: &'static str,
    remedy: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}: {}", self.path, self.line, self.rule, self.remedy)
    }
}

impl Source {
    fn is_rust(&self) -> bool {
        self.path.ends_with(".rs")
    }

    /// Types that a tool writes; their form is not ours.
    fn is_generated(&self) -> bool {
        self.path.starts_with("gateway-agent/api/")
    }

    fn finding(&self, line: usize, rule: &'static str, remedy: impl Into<String>) -> Finding {
        Finding { path: self.path.clone(), line, rule, remedy: remedy.into() }
    }

    /// Lines of code with their numbers: before the tests at the end, without comments.
    fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        let text = if self.path.ends_with("/tests.rs") { "" } else { self.text.as_str() };
        let all = text.lines().enumerate().map(|(index, line)| (index + 1, line));
        all.take_while(|(_, line)| *line != "#[cfg(test)]")
            .filter(|(_, line)| !line.trim_start().starts_with("//"))
    }
}

const RULES: [fn(&Tree) -> Vec<Finding>; 8] = [
    size::check,
    names::check,
    words::check,
    imports::check,
    purity::check,
    manifest::check,
    docs::check,
    budgets::check,
];

pub(crate) fn run() -> Result<()> {
    let findings = findings()?;
    for finding in &findings {
        println!("{finding}");
    }
    if !findings.is_empty() {
        bail!("tidy: {} findings", findings.len());
    }
    println!("tidy: no findings");
    Ok(())
}

/// Everything wrong in the checkout, in the order of the rules.
pub(crate) fn findings() -> Result<Vec<Finding>> {
    let tree = read(workspace::root())?;
    Ok(RULES.iter().flat_map(|rule| rule(&tree)).collect())
}

/// What git knows or would add.
fn read(root: &Path) -> Result<Tree> {
    let output = Command::new("git")
        .current_dir(root)
        .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
        .output()
        .context("start git")?;
    if !output.status.success() {
        bail!("git ls-files: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    let listed = String::from_utf8(output.stdout).context("git lists a path that is not UTF-8")?;
    let mut tree = Tree { sources: Vec::new(), paths: BTreeSet::new() };
    for path in listed.split_terminator('\0').filter(|path| root.join(path).exists()) {
        // A path whose file is not text has no lines to look at.
        if let Ok(text) = std::fs::read_to_string(root.join(path)) {
            tree.sources.push(Source { path: path.to_owned(), text });
        }
        tree.paths.insert(path.to_owned());
    }
    Ok(tree)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// The tree of these files.
    pub(crate) fn tree(files: &[(&str, &str)]) -> Tree {
        let source = |&(path, text): &(&str, &str)| Source { path: path.to_owned(), text: text.to_owned() };
        Tree {
            sources: files.iter().map(source).collect(),
            paths: files.iter().map(|(path, _)| (*path).to_owned()).collect(),
        }
    }

    /// `path:line` of what a rule finds.
    pub(crate) fn places(findings: &[Finding]) -> Vec<String> {
        findings.iter().map(|finding| format!("{}:{}", finding.path, finding.line)).collect()
    }

    #[test]
    fn code_ends_at_the_tests_and_has_no_comments() {
        let source = Source {
            path: "a.rs".into(),
            text: "//! a\nfn b() {}\n    // c\n#[cfg(test)]\nmod tests {}\n".into(),
        };
        assert_eq!(source.code().collect::<Vec<_>>(), [(2, "fn b() {}")]);
    }
}
