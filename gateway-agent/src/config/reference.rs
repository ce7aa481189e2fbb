//! Holds `docs/configuration.md` to the settings as the command line knows them.

use clap::{Arg, Args as _, Command};

use super::Flags;

const DOCS: &str = include_str!("../../../docs/configuration.md");

fn row(arg: &Arg) -> String {
    let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
    let (help, default) = match help.split_once(" [default: ") {
        Some((help, default)) => (help.to_owned(), default.trim_end_matches(']').to_owned()),
        None => (help, "–".to_owned()),
    };
    let names = arg.get_possible_values();
    let value = if names.is_empty() {
        arg.get_value_names().unwrap_or_default().join(" ")
    } else {
        names.iter().map(|name| format!("`{}`", name.get_name())).collect::<Vec<_>>().join(", ")
    };
    let env = arg.get_env().map(|env| env.to_string_lossy().into_owned()).unwrap_or_default();
    format!("| `--{}` | `{env}` | {value} | {default} | {help} |", arg.get_long().unwrap_or_default())
}

#[test]
fn every_setting_is_documented() {
    let command = Flags::augment_args(Command::new("run"));
    let missing: Vec<_> =
        command.get_arguments().map(row).filter(|row| !DOCS.contains(row.as_str())).collect();
    assert!(missing.is_empty(), "docs/configuration.md lacks:\n{}", missing.join("\n"));
}

#[test]
fn every_field_of_gateway_parameters_is_documented() {
    fn fields(schema: &serde_json::Value, path: &str, found: &mut Vec<String>) {
        let inner = schema.get("items").unwrap_or(schema);
        match inner.get("properties").and_then(|properties| properties.as_object()) {
            None => found.push(format!("| `{path}` |")),
            Some(properties) => {
                let list = if schema.get("items").is_some() { "[]" } else { "" };
                for (name, property) in properties {
                    let path = if path.is_empty() { name.clone() } else { format!("{path}{list}.{name}") };
                    fields(property, &path, found);
                }
            }
        }
    }
    let crd = &crate::crds::definitions()[0];
    let spec = crd.pointer("/spec/versions/0/schema/openAPIV3Schema/properties/spec").unwrap();
    let mut found = Vec::new();
    fields(spec, "", &mut found);
    let missing: Vec<_> = found.iter().filter(|field| !DOCS.contains(field.as_str())).collect();
    assert!(found.len() > 25 && missing.is_empty(), "docs/configuration.md lacks: {missing:?}");
}
