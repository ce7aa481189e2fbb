//! The JSON documents of an image layout. Structs with fixed fields and ordered maps: the same image, the same bytes. (The
//! crate oci-spec keeps labels in hash maps, whose order differs from run to run.)

use std::collections::BTreeMap;

use serde::Serialize;

pub(super) const INDEX: &str = "application/vnd.oci.image.index.v1+json";
pub(super) const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub(super) const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
pub(super) const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";

type Map = BTreeMap<String, String>;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Layout {
    pub(super) image_layout_version: &'static str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Index {
    pub(super) schema_version: u32,
    pub(super) media_type: &'static str,
    pub(super) manifests: Vec<Descriptor>,
}

#[derive(Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Descriptor {
    pub(super) media_type: &'static str,
    pub(super) digest: String,
    pub(super) size: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) platform: Option<Platform>,
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub(super) annotations: Map,
}

#[derive(Clone, Serialize)]
pub(super) struct Platform {
    pub(super) architecture: &'static str,
    pub(super) os: &'static str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Manifest {
    pub(super) schema_version: u32,
    pub(super) media_type: &'static str,
    pub(super) config: Descriptor,
    pub(super) layers: Vec<Descriptor>,
    pub(super) annotations: Map,
}

#[derive(Serialize)]
pub(super) struct Config {
    pub(super) created: &'static str,
    pub(super) architecture: &'static str,
    pub(super) os: &'static str,
    pub(super) config: Process,
    pub(super) rootfs: RootFs,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Process {
    pub(super) user: &'static str,
    pub(super) env: Vec<&'static str>,
    pub(super) entrypoint: Vec<&'static str>,
    pub(super) working_dir: &'static str,
    pub(super) labels: Map,
}

#[derive(Serialize)]
pub(super) struct RootFs {
    #[serde(rename = "type")]
    pub(super) kind: &'static str,
    pub(super) diff_ids: Vec<String>,
}
