//! Our own kinds, group `gatehouse.dev`.

pub mod duration;
pub mod field_error;
pub mod gateway_parameters;

use kube::CustomResourceExt as _;

/// The CustomResourceDefinitions to install, by file name.
pub fn definitions() -> Vec<(String, serde_json::Value)> {
    let mut definition = serde_json::json!(gateway_parameters::GatewayParameters::crd());
    drop_integer_formats(&mut definition);
    vec![("gatehouse.dev_gatewayparameters.yaml".to_owned(), definition)]
}

/// The API server warns about `format: uint32`, which OpenAPI does not know; minimum and maximum say the same.
fn drop_integer_formats(value: &mut serde_json::Value) {
    match value {
        serde_json::Value::Object(map) => {
            if map.get("format").and_then(|f| f.as_str()).is_some_and(|f| f.starts_with("uint")) {
                map.remove("format");
            }
            map.values_mut().for_each(drop_integer_formats);
        }
        serde_json::Value::Array(items) => items.iter_mut().for_each(drop_integer_formats),
        serde_json::Value::Null
        | serde_json::Value::Bool(_)
        | serde_json::Value::Number(_)
        | serde_json::Value::String(_) => {}
    }
}
