//! A condition of an object, as `.status.conditions` or a list elsewhere in it has it.

use std::fmt;

use anyhow::Result;
use serde_json::Value;

use crate::cluster::Kubectl;

/// `Condition::of("deployment", "web").within("test").is("Available")`.
#[derive(Clone, Debug)]
pub struct Condition {
    kind: String,
    name: String,
    namespace: Option<String>,
    pointer: String,
    condition: String,
    status: String,
}

impl Condition {
    /// That the object of that kind is `Ready`.
    pub fn of(kind: &str, name: &str) -> Self {
        Self {
            kind: kind.to_owned(),
            name: name.to_owned(),
            namespace: None,
            pointer: "/status/conditions".to_owned(),
            condition: "Ready".to_owned(),
            status: "True".to_owned(),
        }
    }

    /// The object's namespace.
    pub fn within(self, namespace: &str) -> Self {
        Self { namespace: Some(namespace.to_owned()), ..self }
    }

    /// Another list of conditions, as a JSON pointer: `/status/parents/0/conditions`.
    pub fn at(self, pointer: &str) -> Self {
        Self { pointer: pointer.to_owned(), ..self }
    }

    pub fn is(self, condition: &str) -> Self {
        self.has(condition, "True")
    }

    /// A status other than True.
    pub fn has(self, condition: &str, status: &str) -> Self {
        Self { condition: condition.to_owned(), status: status.to_owned(), ..self }
    }

    /// None when it holds; what is so instead otherwise.
    pub(super) fn look(&self, kubectl: &Kubectl) -> Result<Option<String>> {
        let mut what = vec![self.kind.as_str(), self.name.as_str(), "--request-timeout=10s"];
        if let Some(namespace) = &self.namespace {
            what.extend(["-n", namespace]);
        }
        Ok(self.judge(&kubectl.get(&what)?))
    }

    fn judge(&self, object: &Value) -> Option<String> {
        let conditions = object.pointer(&self.pointer).and_then(Value::as_array);
        let found = conditions.into_iter().flatten().find(|one| one["type"] == *self.condition);
        match found {
            // What was said of an earlier generation says nothing.
            Some(one) if is_stale(one, object) => Some(format!("stale: {one}")),
            Some(one) if one["status"] == *self.status => None,
            Some(one) => Some(one.to_string()),
            None => Some(format!("no {} in {}", self.condition, object["status"])),
        }
    }
}

fn is_stale(condition: &Value, object: &Value) -> bool {
    let generation = object["metadata"]["generation"].as_i64();
    condition["observedGeneration"].as_i64().zip(generation).is_some_and(|(seen, now)| seen < now)
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, name, namespace, condition, status, .. } = self;
        let namespace = namespace.as_deref().map(|namespace| format!("{namespace}/")).unwrap_or_default();
        write!(f, "{kind} {namespace}{name}: {condition}={status}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_condition_is_its_type_its_status_and_its_generation() {
        let object = |status: &str, seen: i64| {
            json!({ "metadata": { "generation": 2 }, "status": { "parents": [{ "conditions": [
                { "type": "Accepted", "status": status, "observedGeneration": seen } ] }] } })
        };
        let accepted = Condition::of("httproute", "a").at("/status/parents/0/conditions").is("Accepted");
        assert_eq!(accepted.judge(&object("True", 2)), None);
        assert!(accepted.judge(&object("True", 1)).unwrap().starts_with("stale"));
        assert!(accepted.judge(&object("False", 2)).is_some());
        assert_eq!(accepted.has("Accepted", "False").judge(&object("False", 2)), None);
        assert!(Condition::of("httproute", "a").judge(&object("True", 2)).unwrap().starts_with("no Ready"));
    }
}
