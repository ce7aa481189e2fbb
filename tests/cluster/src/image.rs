//! Static programs packed as OCI archives, without a container engine. The same input gives the same bytes.
//!
//! An archive is an image layout in a tar file with one image of one uncompressed layer, under any number of names:
//! `ctr images import` takes it. The layer has the programs, `/etc/passwd` and `/etc/group`, an empty `/tmp`, and what the
//! programs are made of as CycloneDX at the path that the label `dev.gatehouse.sbom` names.

mod catalog;
mod document;
mod elf;
mod layer;
mod layout;
mod sbom;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};

pub use elf::is_dynamic;
pub use layout::Digest;
pub use sbom::Sbom;

use layer::Layer;

/// Changes when the same image would be packed as other bytes.
pub const FORM: u32 = 1;

/// Who programs run as unless a manifest says otherwise.
pub const NONROOT: &str = "65532:65532";

/// What is packed.
#[derive(Clone, Debug)]
pub struct Image {
    /// Every name that a manifest may use for it.
    pub names: Vec<String>,
    pub title: &'static str,
    pub description: &'static str,
    pub version: String,
    /// File beside the image's other parts, path in the image.
    pub programs: Vec<(&'static str, &'static str)>,
    /// The same of what is not to be executed.
    pub files: Vec<(&'static str, &'static str)>,
    pub entrypoint: &'static str,
    pub user: &'static str,
}

impl Image {
    /// Packs what is in the folder `parts` into `archive`.
    pub fn pack(&self, parts: &Path, sbom: &Sbom, archive: &Path) -> Result<Digest> {
        let sbom_path = format!("/usr/share/sbom/{}.cdx.json", self.title);
        let mut layer = Layer::new();
        layer.folder("/tmp", 0o1777);
        layer.file(
            "/etc/passwd",
            0o644,
            b"root:x:0:0:root:/root:/\nnonroot:x:65532:65532:nonroot:/:/\n".to_vec(),
        );
        layer.file("/etc/group", 0o644, b"root:x:0:\nnonroot:x:65532:\n".to_vec());
        layer.file(&sbom_path, 0o644, sbom.json()?);
        for (from, to) in &self.programs {
            let program = read(&parts.join(from))?;
            ensure!(!is_dynamic(&program), "{from} asks for a dynamic linker, and the image has none");
            layer.file(to, 0o755, program);
        }
        for (from, to) in &self.files {
            layer.file(to, 0o644, read(&parts.join(from))?);
        }
        layout::write(self, &sbom_path, &layer.tar()?, archive)
            .with_context(|| format!("pack {} as {}", self.title, archive.display()))
    }

    fn labels(&self, sbom: &str) -> BTreeMap<String, String> {
        let labels = [
            ("dev.gatehouse.sbom", sbom),
            ("org.opencontainers.image.description", self.description),
            ("org.opencontainers.image.licenses", "Apache-2.0"),
            ("org.opencontainers.image.title", self.title),
            ("org.opencontainers.image.url", "https://gatehouse.dev"),
            ("org.opencontainers.image.version", &self.version),
        ];
        labels.map(|(name, value)| (name.to_owned(), value.to_owned())).into()
    }
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("read {}", path.display()))
}

#[cfg(test)]
mod tests;
