//! One rule of the API per directory of `testdata/translate`: `in.yaml` must translate into `want.yaml`.
//!
//! `BLESS=1 cargo test -p gatehouse-tests --test translate_golden` writes what comes out; read the diff before it is
//! committed. A document of kind `Test` in `in.yaml` sets parameters and outcomes.
#![expect(clippy::unwrap_used, reason = "a test that cannot set itself up fails")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use gatehouse_tests::world;
use gateway_agent::desired::{Datapath, Outcomes, Proxy};
use gateway_agent::object::{Kind, Object};
use gateway_agent::translate::{Params, Translation, status, translate};
use gateway_agent::world::{Event, World};
use gateway_common::ir::{GatewayId, Key, Resource, Settings};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde_json::{Map, Value, json};

const CONTROLLER: &str = "gatehouse.dev/gateway-controller";
const NOW: &str = "2026-01-02T03:04:05Z";

#[test]
fn every_case_translates_as_wanted() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/translate");
    let mut cases: Vec<PathBuf> = fs::read_dir(&root).unwrap().map(|entry| entry.unwrap().path()).collect();
    cases.sort();
    assert!(cases.len() >= 40, "cases are missing from {}", root.display());
    let bless = std::env::var_os("BLESS").is_some();
    let failures: Vec<_> = cases.iter().filter_map(|case| check(case, bless).err()).collect();
    assert!(failures.is_empty(), "{} of {} cases:\n{}", failures.len(), cases.len(), failures.join("\n"));
}

fn check(case: &Path, bless: bool) -> Result<(), String> {
    let name = case.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let text =
        fs::read_to_string(case.join("in.yaml")).map_err(|error| format!("{name}/in.yaml: {error}"))?;
    let got = run(&text).map_err(|error| format!("{name}/in.yaml: {error:#}"))?;
    let file = case.join("want.yaml");
    if bless {
        return fs::write(&file, got).map_err(|error| format!("{name}/want.yaml: {error}"));
    }
    let want = fs::read_to_string(&file).map_err(|error| format!("{name}/want.yaml: {error}"))?;
    if got == want { Ok(()) } else { Err(format!("--- {name}\n{}", difference(&want, &got))) }
}

/// Lines that only one of the two has, each side in order.
fn difference(want: &str, got: &str) -> String {
    let only = |mark: char, a: &str, b: &str| -> String {
        a.lines()
            .filter(|line| !b.lines().any(|other| other == *line))
            .map(|line| format!("{mark} {line}\n"))
            .collect()
    };
    let lines = only('-', want, got) + &only('+', got, want);
    if lines.is_empty() { "the same lines in another order\n".to_owned() } else { lines }
}

fn run(text: &str) -> anyhow::Result<String> {
    let (mut world, tests) = world::read(&with_certificates(text))?;
    let shows_classes = !world.gateway_classes.is_empty();
    if !shows_classes {
        world.apply(Event::Apply(default_class()?));
    }
    let test = tests.into_iter().next().unwrap_or_default();
    let params = Params {
        controller_name: CONTROLLER.to_owned(),
        pools: serde_json::from_value(test.get("pools").cloned().unwrap_or(json!(["192.0.2.0/28"])))?,
        devices: serde_json::from_value(test.get("devices").cloned().unwrap_or(json!({})))?,
        held: serde_json::from_value(test.get("held").cloned().unwrap_or(json!({})))?,
    };
    let translation = translate(&world, &params);
    let outcomes = outcomes(test.get("outcomes").unwrap_or(&json!({})))?;
    Ok(serde_saphyr::to_string(&show(&world, &translation, &outcomes, shows_classes)?)?)
}

/// Private keys do not belong into a repository: `{{chain}}` and `{{key}}` are made up anew, `{{other-key}}` does not fit.
fn with_certificates(text: &str) -> String {
    let pair = || {
        let key = rcgen::KeyPair::generate().unwrap();
        let chain =
            rcgen::CertificateParams::new(vec!["a.test".to_owned()]).unwrap().self_signed(&key).unwrap();
        (json!(chain.pem()).to_string(), json!(key.serialize_pem()).to_string())
    };
    let (chain, key) = pair();
    let (_, other) = pair();
    text.replace("{{chain}}", &chain).replace("{{key}}", &key).replace("{{other-key}}", &other)
}

fn default_class() -> anyhow::Result<Object> {
    Ok(Object::GatewayClass(Box::new(serde_json::from_value(
        json!({"metadata": {"name": "gatehouse"}, "spec": {"controllerName": CONTROLLER}}),
    )?)))
}

fn outcomes(spec: &Value) -> anyhow::Result<Outcomes> {
    let mut outcomes = Outcomes {
        proxy: match spec.get("proxy").and_then(Value::as_str) {
            None => Proxy::Serving,
            Some("silent") => Proxy::Silent,
            Some(_) => Proxy::Absent,
        },
        unacknowledged: serde_json::from_value(spec.get("unacknowledged").cloned().unwrap_or(json!([])))?,
        vips: serde_json::from_value(spec.get("vips").cloned().unwrap_or(json!({})))?,
        ..Outcomes::default()
    };
    let list = |name: &str| spec.get(name).and_then(Value::as_array).cloned().unwrap_or_default();
    for entry in list("problems") {
        let key: Key = serde_json::from_value(entry["key"].clone())?;
        outcomes.proxy_problems.insert(key, entry["why"].as_str().unwrap_or_default().to_owned());
    }
    for entry in list("sockets") {
        let id = serde_json::from_value(entry["id"].clone())?;
        outcomes.sockets.insert(id, entry["why"].as_str().unwrap_or_default().to_owned());
    }
    Ok(outcomes)
}

/// What a reader wants to see, and all of it.
fn show(
    world: &World,
    translation: &Translation,
    outcomes: &Outcomes,
    classes: bool,
) -> anyhow::Result<Value> {
    let mut shown = Map::new();
    let resources: Vec<_> = translation.resources.values().map(resource).collect::<Result<_, _>>()?;
    shown.insert("resources".to_owned(), json!(resources));
    shown.insert("datapath".to_owned(), datapath(&translation.datapath));
    let held: BTreeMap<&str, _> = translation.held.iter().map(|(id, a)| (GatewayId::as_str(id), a)).collect();
    shown.insert("held".to_owned(), json!(held));
    let now: Time = serde_json::from_value(json!(NOW))?;
    let mut statuses = Map::new();
    for (key, mut value) in status(world, &translation.verdicts, outcomes, &now) {
        if classes || key.kind != Kind::GatewayClass {
            compact(&mut value);
            statuses.insert(key.to_string(), value);
        }
    }
    shown.insert("status".to_owned(), Value::Object(statuses));
    Ok(Value::Object(shown))
}

fn resource(resource: &Resource) -> anyhow::Result<Value> {
    let mut value = serde_json::to_value(resource)?;
    match resource {
        Resource::Certificate(certificate) => return Ok(json!({ "certificate": certificate.id })),
        Resource::Gateway(gateway) if gateway.settings == Settings::default() => {
            value["gateway"].as_object_mut().map(|map| map.remove("settings"));
        }
        Resource::Gateway(_) | Resource::Route(_) | Resource::Backend(_) => {}
    }
    Ok(value)
}

fn datapath(datapath: &Datapath) -> Value {
    let vips: BTreeMap<_, _> = datapath
        .vips
        .iter()
        .map(|(a, vip)| (a.to_string(), format!("{} {:?}", vip.gateway, vip.no_listener)))
        .collect();
    let ports: BTreeMap<_, _> = datapath
        .ports
        .iter()
        .map(|(port, socket)| {
            (format!("{} {:?} {}", port.address, port.proto, port.port), socket.to_string())
        })
        .collect();
    json!({ "vips": vips, "ports": ports })
}

/// Conditions as one line each: `Accepted: "True Accepted @1: message"`, with the time when it is not now.
fn compact(value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.values_mut().for_each(compact);
            if let Some(Value::Array(conditions)) = map.get("conditions") {
                let lines: Map<_, _> = conditions.iter().map(line).collect();
                map.insert("conditions".to_owned(), Value::Object(lines));
            }
        }
        Value::Array(items) => items.iter_mut().for_each(compact),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn line(condition: &Value) -> (String, Value) {
    let text = |name: &str| condition[name].as_str().unwrap_or_default();
    let since = match text("lastTransitionTime") {
        NOW => String::new(),
        time => format!(" since {time}"),
    };
    let generation = &condition["observedGeneration"];
    let line = format!("{} {} @{generation}{since}: {}", text("status"), text("reason"), text("message"));
    (text("type").to_owned(), Value::String(line))
}
