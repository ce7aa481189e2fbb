//! An image layout in a tar file.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::path::Path;

use anyhow::Result;
use serde::Serialize;
use sha2::{Digest as _, Sha256};
use tar::{Builder, EntryType};

use super::Image;
use super::document::{
    CONFIG, Config, Descriptor, INDEX, Index, LAYER, Layout, MANIFEST, Manifest, Platform, Process, RootFs,
};
use super::layer::append;

/// Of an image's manifest, as registries name it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Digest(String);

impl Digest {
    fn of(content: &[u8]) -> Self {
        let hex: String = Sha256::digest(content).iter().map(|byte| format!("{byte:02x}")).collect();
        Self(hex)
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256:{}", self.0)
    }
}

const ARCHITECTURE: &str = if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" };

/// Blobs by their path in the layout.
#[derive(Default)]
struct Blobs(BTreeMap<String, Vec<u8>>);

impl Blobs {
    fn add(&mut self, media_type: &'static str, content: Vec<u8>) -> Descriptor {
        let digest = Digest::of(&content);
        let size = content.len();
        self.0.insert(format!("blobs/sha256/{}", digest.0), content);
        let annotations = BTreeMap::new();
        Descriptor { media_type, digest: digest.to_string(), size, platform: None, annotations }
    }

    fn json(&mut self, media_type: &'static str, document: &impl Serialize) -> Result<Descriptor> {
        Ok(self.add(media_type, serde_json::to_vec(document)?))
    }
}

/// Writes `archive` and gives the digest of the image's manifest.
pub(super) fn write(image: &Image, sbom: &str, layer: &[u8], archive: &Path) -> Result<Digest> {
    let mut blobs = Blobs::default();
    let labels = image.labels(sbom);
    let layer = blobs.add(LAYER, layer.to_vec());
    let config = Config {
        created: "1970-01-01T00:00:00Z",
        architecture: ARCHITECTURE,
        os: "linux",
        config: Process {
            user: image.user,
            env: vec!["PATH=/usr/local/bin:/usr/bin:/bin"],
            entrypoint: vec![image.entrypoint],
            working_dir: "/",
            labels: labels.clone(),
        },
        rootfs: RootFs { kind: "layers", diff_ids: vec![layer.digest.clone()] },
    };
    let config = blobs.json(CONFIG, &config)?;
    let manifest = Manifest {
        schema_version: 2,
        media_type: MANIFEST,
        config,
        layers: vec![layer],
        annotations: labels,
    };
    let manifest = serde_json::to_vec(&manifest)?;
    let digest = Digest::of(&manifest);
    let manifest = blobs.add(MANIFEST, manifest);
    let index = Index {
        schema_version: 2,
        media_type: INDEX,
        manifests: image.names.iter().map(|name| named(&manifest, name)).collect(),
    };
    blobs.0.insert("index.json".into(), serde_json::to_vec(&index)?);
    blobs.0.insert("oci-layout".into(), serde_json::to_vec(&Layout { image_layout_version: "1.0.0" })?);
    let mut builder = Builder::new(Vec::new());
    for (path, content) in &blobs.0 {
        append(&mut builder, path, EntryType::Regular, 0o644, content)?;
    }
    fs::write(archive, builder.into_inner()?)?;
    Ok(digest)
}

/// The image under one of its names, as containerd reads it and as the specification has it.
fn named(manifest: &Descriptor, name: &str) -> Descriptor {
    let tag = name.rsplit_once(':').map_or("latest", |(_, tag)| tag);
    let annotations = [("io.containerd.image.name", name), ("org.opencontainers.image.ref.name", tag)];
    Descriptor {
        platform: Some(Platform { architecture: ARCHITECTURE, os: "linux" }),
        annotations: annotations.map(|(key, value)| (key.to_owned(), value.to_owned())).into(),
        ..manifest.clone()
    }
}
