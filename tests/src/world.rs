//! YAML to a [`World`], taken as it is: what no API server and no source would let through is a test's to try.

use anyhow::{Context as _, Result, bail};
use gateway_agent::object::Object;
use gateway_agent::world::{Event, World};
use serde::de::DeserializeOwned;
use serde_json::Value;

/// The objects of a text, and the documents of kind `Test`.
pub fn read(text: &str) -> Result<(World, Vec<Value>)> {
    let mut world = World::default();
    let mut rest = Vec::new();
    for document in serde_saphyr::from_multiple::<Value>(text).context("YAML")? {
        match object(&document)? {
            Some(object) => {
                world.apply(Event::Apply(object));
            }
            None => rest.push(document),
        }
    }
    Ok((world, rest))
}

/// None: a document of kind `Test`.
pub fn object(document: &Value) -> Result<Option<Object>> {
    fn typed<T: DeserializeOwned>(document: &Value) -> Result<Box<T>> {
        let name = document["metadata"]["name"].as_str().unwrap_or("without a name");
        serde_json::from_value(document.clone()).map(Box::new).with_context(|| format!("object {name}"))
    }
    Ok(Some(match document["kind"].as_str().unwrap_or_default() {
        "GatewayClass" => Object::GatewayClass(typed(document)?),
        "GatewayParameters" => Object::GatewayParameters(typed(document)?),
        "Gateway" => Object::Gateway(typed(document)?),
        "HTTPRoute" => Object::HttpRoute(typed(document)?),
        "TLSRoute" => Object::TlsRoute(typed(document)?),
        "TCPRoute" => Object::TcpRoute(typed(document)?),
        "UDPRoute" => Object::UdpRoute(typed(document)?),
        "ReferenceGrant" => Object::ReferenceGrant(typed(document)?),
        "Namespace" => Object::Namespace(typed(document)?),
        "Service" => Object::Service(typed(document)?),
        "EndpointSlice" => Object::EndpointSlice(typed(document)?),
        "Secret" => Object::Secret(typed(document)?),
        "Test" => return Ok(None),
        other => bail!("kind {other:?} is unknown"),
    }))
}
