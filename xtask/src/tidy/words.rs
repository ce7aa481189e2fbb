//! Every file says what it is; nothing is left for later, switched off or left over.

use super::{Finding, Source, Tree};

pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let ours = tree.sources.iter().filter(|source| source.is_rust() && !source.is_generated());
    ours.flat_map(|source| header(source).into_iter().chain(left(source))).collect()
}

fn header(source: &Source) -> Option<Finding> {
    // The tests of a module have its header.
    let tests = source.path.ends_with("/tests.rs");
    (!tests && !source.text.starts_with("//!"))
        .then(|| source.finding(1, "header", "begin with `//!`: what the file is, what it must never do"))
}

/// Written in two parts, so that this file does not find itself.
const LEFT: [(&str, &str, &str); 8] = [
    ("todo", "!(", "write it, or leave its place in the types"),
    ("unimplemented", "!(", "write it, or leave its place in the types"),
    ("dbg", "!(", "remove it"),
    ("#[ign", "ore", "a test that does not run looks green: make it run or remove it"),
    ("#[all", "ow(", "use #[expect(.., reason = \"..\")], which ends when it is not needed"),
    ("#![all", "ow(", "use #![expect(.., reason = \"..\")], which ends when it is not needed"),
    ("TO", "DO", "do it or file it"),
    ("FIX", "ME", "do it or file it"),
];

fn left(source: &Source) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (index, line) in source.text.lines().enumerate() {
        for (a, b, remedy) in LEFT {
            let word = format!("{a}{b}");
            if line.contains(&word) && !generated_parent(source) && !asks_for_a_kernel(line) {
                let remedy = format!("`{word}`: {remedy}");
                findings.push(source.finding(index + 1, "left-over", remedy));
            }
        }
    }
    findings
}

/// A test that `cargo xtask test` runs wherever the kernel can, and names where it cannot.
fn asks_for_a_kernel(line: &str) -> bool {
    line.trim().starts_with(concat!("#[ign", "ore = \"needs a kernel with "))
}

/// The module over the generated ones, which switches lints off for them.
fn generated_parent(source: &Source) -> bool {
    source.path == "gateway-agent/api/src/lib.rs"
}

#[cfg(test)]
mod tests {
    use super::super::tests::{places, tree};
    use super::*;

    #[test]
    fn a_file_without_a_header_is_found() {
        assert_eq!(
            places(&check(&tree(&[("a.rs", "fn a() {}\n"), ("b.rs", "//! b\n"), ("c.md", "")]))),
            ["a.rs:1"]
        );
    }

    #[test]
    fn a_test_may_ask_for_a_kernel() {
        let test = |reason: &str| format!("//! a\n    #[ign{}{reason}]\n", "ore");
        assert!(check(&tree(&[("a.rs", &test(" = \"needs a kernel with bonding\""))])).is_empty());
        assert_eq!(check(&tree(&[("a.rs", &test(" = \"slow\""))])).len(), 1);
    }

    #[test]
    fn what_is_left_is_found_in_tests_too() {
        let text = LEFT.map(|(a, b, _)| format!("{a}{b}x\n")).concat();
        let found = check(&tree(&[("a.rs", &format!("//! a\n#[cfg(test)]\n{text}"))]));
        assert_eq!(found.len(), LEFT.len(), "{found:?}");
        assert!(check(&tree(&[("gateway-agent/api/src/x.rs", &text)])).is_empty());
    }
}
