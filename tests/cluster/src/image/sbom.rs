//! What an image's programs are made of, as CycloneDX 1.6: from what Go writes into its programs, and from cargo's tree.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

/// The parts of one image.
pub struct Sbom {
    title: String,
    /// By package URL.
    parts: BTreeMap<String, Part>,
}

#[derive(Clone, Serialize)]
struct Part {
    #[serde(rename = "type")]
    kind: &'static str,
    name: String,
    version: String,
    purl: String,
    #[serde(rename = "bom-ref")]
    reference: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    licenses: Vec<Licence>,
}

#[derive(Clone, Serialize)]
struct Licence {
    expression: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Document<'a> {
    bom_format: &'static str,
    spec_version: &'static str,
    version: u32,
    metadata: Metadata<'a>,
    components: Vec<&'a Part>,
}

#[derive(Serialize)]
struct Metadata<'a> {
    component: Subject<'a>,
}

#[derive(Serialize)]
struct Subject<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    name: &'a str,
}

/// What `go version -m -json` says.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct BuildInfo {
    go_version: String,
    main: Module,
    #[serde(default)]
    deps: Vec<Module>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Module {
    path: String,
    #[serde(default)]
    version: String,
    replace: Option<Box<Module>>,
}

impl Sbom {
    pub fn new(title: &str) -> Self {
        Self { title: title.to_owned(), parts: BTreeMap::new() }
    }

    /// Adds the modules of a Go program and the standard library, from the output of `go version -m -json`.
    pub fn add_go(&mut self, output: &str) -> Result<()> {
        let info: BuildInfo = serde_json::from_str(output).context("what go says of the program")?;
        self.add("golang", "std", info.go_version.trim_start_matches("go"), None);
        for module in std::iter::once(&info.main).chain(&info.deps) {
            let module = module.replace.as_deref().unwrap_or(module);
            // What a build says of a module that it was started in.
            let version = module.version.trim_matches(['(', ')']);
            self.add("golang", &module.path, version, None);
        }
        Ok(())
    }

    /// Adds the crates of a Rust program, from the output of
    /// `cargo tree --edges normal,no-proc-macro --prefix none --format '{p}|{l}'`.
    pub fn add_cargo(&mut self, output: &str) -> Result<()> {
        for line in output.lines().filter(|line| !line.is_empty()) {
            let (package, licence) =
                line.split_once('|').with_context(|| format!("not a package: {line}"))?;
            let mut words = package.split_whitespace();
            let (Some(name), Some(version)) = (words.next(), words.next()) else { continue };
            // Below its first place cargo marks a package with (*).
            let licence = licence.trim_end_matches("(*)").trim();
            self.add(
                "cargo",
                name,
                version.trim_start_matches('v'),
                (!licence.is_empty()).then_some(licence),
            );
        }
        Ok(())
    }

    /// Adds what was linked in from elsewhere, such as `glibc` of the registry `deb/debian`.
    pub fn add_library(&mut self, registry: &str, name: &str, version: &str) {
        self.add(registry, name, version, None);
    }

    fn add(&mut self, registry: &str, name: &str, version: &str, licence: Option<&str>) {
        let purl = format!("pkg:{registry}/{name}@{}", version.replace('+', "%2B"));
        let licence = licence.map(|text| Licence { expression: text.replace('/', " OR ") });
        let part = Part {
            kind: "library",
            name: name.to_owned(),
            version: version.to_owned(),
            purl: purl.clone(),
            reference: purl.clone(),
            licenses: licence.into_iter().collect(),
        };
        self.parts.insert(purl, part);
    }

    pub(super) fn json(&self) -> Result<Vec<u8>> {
        let document = Document {
            bom_format: "CycloneDX",
            spec_version: "1.6",
            version: 1,
            metadata: Metadata { component: Subject { kind: "application", name: &self.title } },
            components: self.parts.values().collect(),
        };
        let mut json = serde_json::to_vec_pretty(&document)?;
        json.push(b'\n');
        Ok(json)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn components(sbom: &Sbom) -> Vec<String> {
        let document: serde_json::Value = serde_json::from_slice(&sbom.json().unwrap()).unwrap();
        assert_eq!(document["bomFormat"], "CycloneDX");
        let list = document["components"].as_array().unwrap();
        list.iter().map(|part| part["purl"].as_str().unwrap().to_owned()).collect()
    }

    #[test]
    fn modules_of_a_go_program_are_parts() {
        let mut sbom = Sbom::new("x");
        sbom.add_go(
            r#"{"GoVersion":"go1.27.3","Path":"a/b","Main":{"Path":"a/b","Version":"(devel)"},"Deps":[
                {"Path":"k8s.io/api","Version":"v0.0.0","Sum":"h1:x","Replace":{"Path":"k8s.io/api","Version":"v0.37.2"}},
                {"Path":"github.com/docker/cli","Version":"v27.0.0+incompatible"}]}"#,
        )
        .unwrap();
        assert_eq!(
            components(&sbom),
            [
                "pkg:golang/a/b@devel",
                "pkg:golang/github.com/docker/cli@v27.0.0%2Bincompatible",
                "pkg:golang/k8s.io/api@v0.37.2",
                "pkg:golang/std@1.27.3"
            ]
        );
    }

    #[test]
    fn crates_of_a_rust_program_are_parts_once() {
        let mut sbom = Sbom::new("x");
        sbom.add_cargo(
            "a v0.1.0 (/x/a)|Apache-2.0\nlog v0.4.2|MIT/Apache-2.0\nlog v0.4.2|MIT/Apache-2.0 (*)\n\n",
        )
        .unwrap();
        assert_eq!(components(&sbom), ["pkg:cargo/a@0.1.0", "pkg:cargo/log@0.4.2"]);
        assert!(String::from_utf8(sbom.json().unwrap()).unwrap().contains("MIT OR Apache-2.0"));
        assert!(sbom.add_cargo("nothing").is_err());
        sbom.add_library("deb/debian", "glibc", "2.36-9+deb12u14");
        assert!(components(&sbom).contains(&"pkg:deb/debian/glibc@2.36-9%2Bdeb12u14".to_owned()));
    }
}
