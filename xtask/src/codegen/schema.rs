//! The CRDs reduced to what the agent's directory source checks and fills in: the structural schema of `spec`, one kind a
//! line. Descriptions, status and CEL rules go; they are nine tenths of the text.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};
use serde_json::{Map, Value};

/// The kinds that the source reads.
const KINDS: [&str; 7] =
    ["gatewayclasses", "gateways", "httproutes", "tlsroutes", "tcproutes", "udproutes", "referencegrants"];

const KEYWORDS: [&str; 15] = [
    "type",
    "required",
    "enum",
    "default",
    "minimum",
    "maximum",
    "minLength",
    "maxLength",
    "minItems",
    "maxItems",
    "maxProperties",
    "pattern",
    "format",
    "x-kubernetes-list-map-keys",
    "x-kubernetes-int-or-string",
];

/// The text of `gateway-agent/src/source/schema/gateway-api.json`.
pub(super) fn generate(folder: &Path) -> Result<String> {
    let mut schemas = BTreeMap::new();
    for plural in KINDS {
        let path = folder.join(format!("gateway.networking.k8s.io_{plural}.yaml"));
        let text = fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
        let crd: Value =
            serde_saphyr::from_str(&text).with_context(|| format!("parse {}", path.display()))?;
        let (kind, spec) = spec(&crd).with_context(|| format!("{} has no schema of spec", path.display()))?;
        schemas.insert(kind.to_owned(), serde_json::to_string(&reduced(spec))?);
    }
    let lines: Vec<_> = schemas.iter().map(|(kind, schema)| format!("\"{kind}\":{schema}")).collect();
    Ok(format!("{{\n{}\n}}\n", lines.join(",\n")))
}

/// The kind, and its spec's schema in the version that is stored.
fn spec(crd: &Value) -> Option<(&str, &Value)> {
    let kind = crd.pointer("/spec/names/kind")?.as_str()?;
    let versions = crd.pointer("/spec/versions")?.as_array()?;
    let stored = versions.iter().find(|version| version["storage"] == true)?;
    Some((kind, stored.pointer("/schema/openAPIV3Schema/properties/spec")?))
}

fn reduced(schema: &Value) -> Value {
    let Value::Object(schema) = schema else { return schema.clone() };
    let mut kept = Map::new();
    for (key, value) in schema {
        let value = match (key.as_str(), value) {
            ("properties", Value::Object(properties)) => {
                properties.iter().map(|(name, property)| (name.clone(), reduced(property))).collect()
            }
            ("items" | "additionalProperties", value) => reduced(value),
            (key, value) if KEYWORDS.contains(&key) => value.clone(),
            _ => continue,
        };
        kept.insert(key.clone(), value);
    }
    Value::Object(kept)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_named_like_keywords_stay() {
        let schema = serde_json::json!({
            "type": "object", "description": "gone", "x-kubernetes-validations": [],
            "properties": {"description": {"type": "string", "description": "gone"}},
            "additionalProperties": {"type": "string", "title": "gone"},
        });
        let want = serde_json::json!({
            "type": "object",
            "properties": {"description": {"type": "string"}},
            "additionalProperties": {"type": "string"},
        });
        assert_eq!(reduced(&schema), want);
    }
}
