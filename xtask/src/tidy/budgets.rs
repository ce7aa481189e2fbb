//! Every eBPF program has an instruction budget that `cargo xtask verify` holds it to.

use super::{Finding, Tree};

const VERIFY: &str = "tests/src/bin/verify.rs";

pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let budgets =
        tree.sources.iter().filter(|source| source.path.starts_with(VERIFY.trim_end_matches(".rs")));
    let budgets: String = budgets.map(|source| source.text.as_str()).collect();
    let mut findings = Vec::new();
    for source in tree.sources.iter().filter(|source| source.path.starts_with("gateway-ebpf/src/")) {
        let lines: Vec<&str> = source.text.lines().collect();
        for (index, program) in programs(&lines) {
            if !budgets.contains(&format!("\"{program}\"")) && !named_by_constant(tree, &budgets, program) {
                let remedy = format!("give `{program}` an instruction budget in {VERIFY}");
                findings.push(source.finding(index + 1, "budget", remedy));
            }
        }
    }
    findings
}

/// The functions under an attribute that makes them a program.
fn programs<'a>(lines: &'a [&'a str]) -> impl Iterator<Item = (usize, &'a str)> {
    const HOOKS: [&str; 6] = ["classifier", "xdp", "sk_lookup", "sk_reuseport", "sock_ops", "cgroup_"];
    let entry = |line: &str| {
        let attribute = line.trim().strip_prefix("#[");
        attribute.is_some_and(|rest| HOOKS.iter().any(|hook| rest.starts_with(hook)))
    };
    lines.iter().enumerate().filter(move |(_, line)| entry(line)).filter_map(move |(index, _)| {
        let function = lines[index + 1..].iter().find_map(|line| line.split_once("fn "))?.1;
        Some((index, function.split('(').next()?.trim()))
    })
}

/// Whether verify names the program by its constant in `gateway_common::abi::names`.
fn named_by_constant(tree: &Tree, budgets: &str, program: &str) -> bool {
    let names = tree.sources.iter().filter(|source| source.path == "gateway-common/src/abi/names.rs");
    let mut declarations = names.flat_map(|source| source.text.lines());
    declarations.any(|line| {
        let constant = line.strip_prefix("pub const ").and_then(|rest| rest.split(':').next());
        line.contains(&format!("\"{program}\"")) && constant.is_some_and(|name| budgets.contains(name))
    })
}

#[cfg(test)]
mod tests {
    use super::super::tests::{places, tree};
    use super::*;

    #[test]
    fn a_program_without_a_budget_is_found() {
        let tree = tree(&[
            (
                "gateway-ebpf/src/main.rs",
                "#[classifier]\npub fn a(x: X) {}\n#[xdp]\n#[unsafe(no_mangle)]\npub fn b(x: X) {}\n#[sk_lookup]\nfn c() {}\n",
            ),
            ("gateway-common/src/abi/names.rs", "pub const PROGRAM_A: &str = \"a\";\n"),
            (VERIFY, "(names::PROGRAM_A, 100), (\"c\", 5)\n"),
        ]);
        assert_eq!(places(&check(&tree)), ["gateway-ebpf/src/main.rs:3"]);
    }
}
