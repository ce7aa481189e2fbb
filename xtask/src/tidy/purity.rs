//! The pure core: same input, same bytes out. No I/O, no clock, no chance, no hash order.

use super::{Finding, Tree};

/// Beginnings of paths of pure modules, without `.rs`.
const PURE: [&str; 12] = [
    "gateway-agent/src/translate",
    "gateway-agent/src/desired",
    "gateway-agent/src/world",
    "gateway-agent/src/object",
    "gateway-agent/src/datapath/plan",
    "gateway-agent/src/device",
    "gateway-agent/src/cli/explain/chain",
    "gateway-common/src/ir",
    "gateway-common/src/abi",
    "gateway-proxy/src/route",
    "gateway-proxy/src/filter",
    "gateway-proxy/src/hygiene",
];

const IMPURE: [(&str, &str); 11] = [
    ("tokio::", "no runtime"),
    ("async fn", "no waiting"),
    ("std::fs", "no files"),
    ("std::net::Tcp", "no sockets"),
    ("std::net::Udp", "no sockets"),
    ("std::os::unix::net", "no sockets"),
    ("std::process", "no processes"),
    ("std::env", "no environment"),
    ("Instant::now", "no clock: take the time as an argument"),
    ("SystemTime", "no clock: take the time as an argument"),
    ("fastrand", "no chance: take the number as an argument"),
];

pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for source in tree.sources.iter().filter(|source| is_pure(&source.path)) {
        for (line, text) in source.code() {
            for (what, why) in IMPURE.iter().filter(|(what, _)| text.contains(what)) {
                findings.push(source.finding(line, "purity", format!("`{what}` in a pure module: {why}")));
            }
            if source.path.starts_with("gateway-agent/") && text.contains("std::collections::Hash") {
                let remedy = "hash order leaks into what others see: use BTreeMap or BTreeSet";
                findings.push(source.finding(line, "purity", remedy));
            }
        }
    }
    findings
}

fn is_pure(path: &str) -> bool {
    let module = path.strip_suffix(".rs").unwrap_or_default();
    PURE.iter()
        .any(|pure| module.strip_prefix(pure).is_some_and(|rest| rest.is_empty() || rest.starts_with('/')))
}

#[cfg(test)]
mod tests {
    use super::super::tests::{places, tree};
    use super::*;

    #[test]
    fn impure_words_are_found_in_pure_modules_only() {
        let impure = "use std::collections::{BTreeMap};\nlet now = Instant::now();\nuse tokio::net;\n";
        let tree = tree(&[
            ("gateway-agent/src/translate/http.rs", impure),
            ("gateway-agent/src/translated.rs", impure),
            ("gateway-proxy/src/route.rs", "use std::collections::HashMap;\nasync fn x() {}\n"),
            ("gateway-agent/src/world.rs", "use std::collections::HashMap;\n"),
        ]);
        assert_eq!(
            places(&check(&tree)),
            [
                "gateway-agent/src/translate/http.rs:2",
                "gateway-agent/src/translate/http.rs:3",
                "gateway-proxy/src/route.rs:2",
                "gateway-agent/src/world.rs:1"
            ]
        );
    }
}
