//! What a GatewayClass says that it supports, and what that amounts to.

use anyhow::{Context as _, Result};
use serde_json::Value;

use crate::cluster::Kubectl;

/// The features in the status of the GatewayClass; none when there is no such class, or nobody who speaks for it.
pub fn supported_features(kubectl: &Kubectl, class: &str) -> Result<Vec<String>> {
    let text = kubectl.run(&["get", "gatewayclass", class, "--ignore-not-found", "-o", "json"])?;
    if text.trim().is_empty() {
        return Ok(Vec::new());
    }
    Ok(features(&serde_json::from_str(&text).context("kubectl get prints JSON")?))
}

/// Without those of a mesh, which the suite does not take from a GatewayClass either.
fn features(class: &Value) -> Vec<String> {
    let listed = class["status"]["supportedFeatures"].as_array();
    let names = listed.into_iter().flatten().filter_map(|feature| feature["name"].as_str());
    names.filter(|name| !name.starts_with("Mesh")).map(str::to_owned).collect()
}

/// The profiles all of whose core features are among `features`.
pub(super) fn profiles(features: &[String]) -> Vec<String> {
    let supports = |feature: &str| features.iter().any(|other| other == feature);
    if !supports("Gateway") || !supports("ReferenceGrant") {
        return Vec::new();
    }
    let routes = ["HTTP", "GRPC", "TLS", "TCP", "UDP"].into_iter();
    routes
        .filter(|route| supports(&format!("{route}Route")))
        .map(|route| format!("GATEWAY-{route}"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn features_are_those_of_gateways() {
        let class = json!({ "status": { "supportedFeatures":
            [{ "name": "Gateway" }, { "name": "MeshConsumerRoute" }, { "name": "HTTPRoute" }] } });
        assert_eq!(features(&class), ["Gateway", "HTTPRoute"]);
        assert!(features(&json!({ "status": { "conditions": [] } })).is_empty());
    }

    #[test]
    fn a_profile_needs_all_of_its_core() {
        let core = ["Gateway", "ReferenceGrant"];
        assert!(profiles(&names(&core)).is_empty());
        let all = [core.as_slice(), &["HTTPRoute", "TLSRoute", "HTTPRouteMethodMatching"]].concat();
        assert_eq!(profiles(&names(&all)), ["GATEWAY-HTTP", "GATEWAY-TLS"]);
        assert!(profiles(&names(&["Gateway", "HTTPRoute"])).is_empty());
    }
}
