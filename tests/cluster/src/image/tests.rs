use std::collections::BTreeMap;
use std::io::Read as _;

use super::*;

fn image() -> Image {
    Image {
        names: vec!["example.test/a:v1".into(), "example.test/b:v2".into()],
        title: "a",
        description: "Something",
        version: "v1".into(),
        programs: vec![("program", "/usr/local/bin/program")],
        files: vec![("data", "/data")],
        entrypoint: "/usr/local/bin/program",
        user: NONROOT,
    }
}

fn pack() -> (Vec<u8>, Digest) {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("program"), "#!/bin/sh\n").unwrap();
    fs::write(folder.path().join("data"), "data").unwrap();
    let mut sbom = Sbom::new("a");
    sbom.add_cargo("log v0.4.2|MIT\n").unwrap();
    let archive = folder.path().join("image.tar");
    let digest = image().pack(folder.path(), &sbom, &archive).unwrap();
    (fs::read(archive).unwrap(), digest)
}

/// Mode, owner, time and content by path.
fn entries(tar: &[u8]) -> BTreeMap<String, (u32, u64, u64, Vec<u8>)> {
    let mut entries = BTreeMap::new();
    for entry in tar::Archive::new(tar).entries().unwrap() {
        let mut entry = entry.unwrap();
        let header = entry.header();
        let path = String::from_utf8(entry.path_bytes().into_owned()).unwrap();
        let facts = (header.mode().unwrap(), header.uid().unwrap(), header.mtime().unwrap());
        let mut content = Vec::new();
        entry.read_to_end(&mut content).unwrap();
        entries.insert(path, (facts.0, facts.1, facts.2, content));
    }
    entries
}

fn blob(archive: &BTreeMap<String, (u32, u64, u64, Vec<u8>)>, descriptor: &serde_json::Value) -> Vec<u8> {
    let digest = descriptor["digest"].as_str().unwrap();
    let content = &archive[&digest.replacen("sha256:", "blobs/sha256/", 1)].3;
    assert_eq!(descriptor["size"], content.len());
    let hex: String =
        <sha2::Sha256 as sha2::Digest>::digest(content).iter().map(|b| format!("{b:02x}")).collect();
    assert_eq!(digest, format!("sha256:{hex}"));
    content.clone()
}

fn json(content: &[u8]) -> serde_json::Value {
    serde_json::from_slice(content).unwrap()
}

#[test]
fn the_same_parts_give_the_same_bytes() {
    assert_eq!(pack(), pack());
}

#[test]
fn the_archive_is_an_image_layout() {
    let (bytes, digest) = pack();
    let archive = entries(&bytes);
    assert_eq!(json(&archive["oci-layout"].3)["imageLayoutVersion"], "1.0.0");
    let index = json(&archive["index.json"].3);
    let manifests = index["manifests"].as_array().unwrap();
    let names: Vec<_> = manifests.iter().map(|one| &one["annotations"]["io.containerd.image.name"]).collect();
    assert_eq!(names, ["example.test/a:v1", "example.test/b:v2"]);
    assert!(manifests.iter().all(|one| one["digest"] == digest.to_string()));
    let manifest = json(&blob(&archive, &manifests[0]));
    let config = json(&blob(&archive, &manifest["config"]));
    assert_eq!(config["config"]["User"], NONROOT);
    assert_eq!(config["config"]["Entrypoint"][0], "/usr/local/bin/program");
    assert_eq!(config["config"]["Labels"]["org.opencontainers.image.version"], "v1");
    assert_eq!(config["rootfs"]["diff_ids"][0], manifest["layers"][0]["digest"]);
}

#[test]
fn the_layer_has_parts_users_and_the_list_of_parts() {
    let (bytes, _) = pack();
    let archive = entries(&bytes);
    let index = json(&archive["index.json"].3);
    let manifest = json(&blob(&archive, &index["manifests"][0]));
    let layer = entries(&blob(&archive, &manifest["layers"][0]));
    assert!(layer.values().all(|(_, owner, time, _)| (*owner, *time) == (0, 0)));
    let modes: Vec<_> = layer.iter().map(|(path, facts)| (path.as_str(), facts.0)).collect();
    assert_eq!(
        modes,
        [
            ("data", 0o644),
            ("etc/", 0o755),
            ("etc/group", 0o644),
            ("etc/passwd", 0o644),
            ("tmp/", 0o1777),
            ("usr/", 0o755),
            ("usr/local/", 0o755),
            ("usr/local/bin/", 0o755),
            ("usr/local/bin/program", 0o755),
            ("usr/share/", 0o755),
            ("usr/share/sbom/", 0o755),
            ("usr/share/sbom/a.cdx.json", 0o644),
        ]
    );
    let labels = &manifest["annotations"];
    let sbom = labels["dev.gatehouse.sbom"].as_str().unwrap().trim_start_matches('/');
    assert_eq!(json(&layer[sbom].3)["components"][0]["purl"], "pkg:cargo/log@0.4.2");
}

#[test]
fn a_dynamic_program_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    fs::copy(std::env::current_exe().unwrap(), folder.path().join("program")).unwrap();
    fs::write(folder.path().join("data"), "data").unwrap();
    let error = image().pack(folder.path(), &Sbom::new("a"), &folder.path().join("image.tar")).unwrap_err();
    assert!(error.to_string().contains("dynamic linker"), "{error:#}");
}
