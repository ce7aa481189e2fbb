//! Names say what a thing is: a noun of the field, not a drawer.

use super::{Finding, Tree};

/// The kernel's own word for the functions that it offers to eBPF programs.
const BPF_HELPERS: &str = "gateway-ebpf/src/";

const DRAWERS: [&str; 6] = ["util", "utils", "helper", "helpers", "manager", "misc"];

pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    let ours = tree.sources.iter().filter(|source| source.is_rust() && !source.is_generated());
    for source in ours.filter(|source| !source.path.starts_with(BPF_HELPERS)) {
        if let Some(part) = source.path.split('/').find(|part| is_drawer(part.trim_end_matches(".rs"))) {
            let remedy = format!("`{part}` can hold anything: name what is in it");
            findings.push(source.finding(1, "name", remedy));
        }
        for (line, text) in source.code() {
            for name in declared(text).filter(|name| is_drawer(name)) {
                let remedy = format!("`{name}` can do anything: name what it does");
                findings.push(source.finding(line, "name", remedy));
            }
        }
    }
    findings
}

/// Whether one of the name's words is a drawer's.
fn is_drawer(name: &str) -> bool {
    words(name).iter().any(|word| DRAWERS.contains(&word.as_str()))
}

/// `SocketManager` and `socket_manager` both have the words `socket` and `manager`.
fn words(name: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    for c in name.chars() {
        if !c.is_ascii_alphanumeric() || c.is_ascii_uppercase() {
            words.push(String::new());
        }
        if let Some(word) = words.last_mut().filter(|_| c.is_ascii_alphanumeric()) {
            word.push(c.to_ascii_lowercase());
        }
    }
    words
}

/// Names of modules, types and traits that a line declares.
fn declared(line: &str) -> impl Iterator<Item = &str> {
    let mut words = line.split(|c: char| !c.is_alphanumeric() && c != '_').filter(|word| !word.is_empty());
    std::iter::from_fn(move || {
        while let Some(word) = words.next() {
            if ["mod", "struct", "enum", "trait"].contains(&word) {
                return words.next();
            }
        }
        None
    })
}

#[cfg(test)]
mod tests {
    use super::super::tests::{places, tree};
    use super::*;

    #[test]
    fn drawers_are_found_in_paths_and_declarations() {
        let tree = tree(&[
            ("a/src/utils.rs", "//! a\n"),
            ("a/src/b.rs", "pub struct SocketManager;\nuse hyper_util::rt;\nmod http_helpers;\n"),
            ("a/src/utility.rs", "struct Helped;\n"),
        ]);
        assert_eq!(places(&check(&tree)), ["a/src/utils.rs:1", "a/src/b.rs:1", "a/src/b.rs:3"]);
    }
}
