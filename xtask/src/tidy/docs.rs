//! Documents: relative links lead somewhere, and nothing names one person's machine.

use super::{Finding, Source, Tree};

pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for source in tree.sources.iter().filter(|source| source.path.ends_with(".md")) {
        for (index, line) in source.text.lines().enumerate() {
            for target in links(line).filter(|target| !leads_somewhere(tree, source, target)) {
                let remedy = format!("link to `{target}`, which is not there");
                findings.push(source.finding(index + 1, "link", remedy));
            }
            for home in ["/home/", "/root/", "/Users/", "/work/"].into_iter().filter(|home| names(line, home))
            {
                let remedy = format!("`{home}…` is a path of one machine: write it relative to the checkout");
                findings.push(source.finding(index + 1, "machine-path", remedy));
            }
        }
    }
    findings
}

/// Targets of `[text](target)`.
fn links(line: &str) -> impl Iterator<Item = &str> {
    line.split("](").skip(1).filter_map(|rest| rest.split(')').next())
}

fn leads_somewhere(tree: &Tree, source: &Source, target: &str) -> bool {
    let path = target.split('#').next().unwrap_or_default();
    if path.is_empty() || path.contains("://") || path.starts_with("mailto:") {
        return true;
    }
    let Some(resolved) = resolve(&source.path, path) else { return false };
    let folder = format!("{resolved}/");
    resolved.is_empty()
        || tree.paths.contains(&resolved)
        || tree.paths.iter().any(|known| known.starts_with(&folder))
}

/// `target` as seen from the folder of `from`, relative to the root; None when it leaves the checkout.
fn resolve(from: &str, target: &str) -> Option<String> {
    let mut parts: Vec<&str> = from.split('/').collect();
    parts.pop();
    for part in target.trim_end_matches('/').split('/') {
        match part {
            "." => {}
            ".." => drop(parts.pop()?),
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

/// Whether an absolute path begins with `home` here.
fn names(line: &str, home: &str) -> bool {
    let begins = |at: usize| {
        !line[..at].chars().next_back().is_some_and(|c| c.is_alphanumeric() || "/.-_".contains(c))
    };
    line.match_indices(home).any(|(at, _)| begins(at))
}

#[cfg(test)]
mod tests {
    use super::super::tests::{places, tree};
    use super::*;

    #[test]
    fn links_lead_somewhere() {
        let tree = tree(&[
            ("README.md", "[a](docs/a.md#b) [b](docs/) [c](docs/c.md)\n[d](https://x.test/) [e](#f)\n"),
            ("docs/a.md", "[r](../README.md) [s](../../README.md)\n"),
        ]);
        assert_eq!(places(&check(&tree)), ["README.md:1", "docs/a.md:1"]);
    }

    #[test]
    fn machine_paths_are_found() {
        let tree = tree(&[("a.md", "see /home/me/x\nsee docs/home/x and example.com/work/x\n")]);
        assert_eq!(places(&check(&tree)), ["a.md:1"]);
    }
}
