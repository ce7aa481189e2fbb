//! Dependencies: named once in the workspace with the reason for each.

use super::{Finding, Tree};

pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let manifests = tree.sources.iter().filter(|source| source.path.ends_with("Cargo.toml"));
    let mut findings = Vec::new();
    for source in manifests {
        let workspace = source.path == "Cargo.toml";
        let mut section = "";
        for (index, line) in source.text.lines().enumerate() {
            if line.starts_with('[') {
                section = line.trim();
                continue;
            }
            let Some((name, value)) = line.split_once('=').filter(|_| !line.starts_with('#')) else {
                continue;
            };
            let name = name.trim();
            if workspace && section == "[workspace.dependencies]" {
                if !value.contains('#') && !value.contains("path = ") {
                    let remedy = format!("say in one line what `{name}` is for: `{name} = \"1\" # why`");
                    findings.push(source.finding(index + 1, "dependency", remedy));
                }
            } else if section.ends_with("dependencies]")
                && !value.contains("workspace = true")
                && !name.ends_with(".workspace")
                && !source.path.starts_with("tests/fuzz/")
            {
                let remedy = format!("take `{name}` from the workspace: `{name}.workspace = true`");
                findings.push(source.finding(index + 1, "dependency", remedy));
            }
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::super::tests::{places, tree};
    use super::*;

    #[test]
    fn every_dependency_has_a_reason_and_one_home() {
        let tree = tree(&[
            (
                "Cargo.toml",
                "[workspace.dependencies]\nserde = \"1\" # data\nlibc = \"0.2\"\nours = { path = \"x\" }\n",
            ),
            (
                "a/Cargo.toml",
                "[package]\nname = \"a\"\n[dependencies]\nserde.workspace = true\nlibc = \"0.2\"\nx = { workspace = true }\n",
            ),
        ]);
        assert_eq!(places(&check(&tree)), ["Cargo.toml:3", "a/Cargo.toml:5"]);
    }
}
