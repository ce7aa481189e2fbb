//! YAML and JSON as trees that know the line of every value. Pure.

mod path;

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::Spanned;

pub(crate) use path::{Path, Step};

#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Node {
    pub(crate) line: u32,
    pub(crate) value: Value,
}

#[derive(Clone, PartialEq, Debug)]
pub(crate) enum Value {
    Null,
    Scalar(serde_json::Value),
    Seq(Vec<Node>),
    Map(Vec<(String, Node)>),
}

/// Why a text is no YAML.
#[derive(Debug)]
pub(crate) struct SyntaxError {
    pub(crate) line: Option<u32>,
    pub(crate) message: String,
}

/// The documents of a file that are not empty.
pub(crate) fn read(text: &str) -> Result<Vec<Node>, SyntaxError> {
    // The size of the text bounds what it holds (a document has 4 bytes at least, an empty item 2, for 3 events), and
    // whoever reads files bounds that; the alias limits of the parser bound what it can unfold to.
    let length = text.len();
    let budget = serde_saphyr::budget! {
        max_documents: length + 1,
        max_events: 4 * length + 64,
        max_nodes: 2 * length + 64,
        max_total_scalar_bytes: length + (64 << 20),
    };
    let options = serde_saphyr::options! {
        budget: budget,
        alias_limits: serde_saphyr::alias_limits! { max_total_replayed_events: 100_000 },
        strict_booleans: true,
        with_snippet: false,
    };
    let documents = serde_saphyr::from_multiple_with_options::<Spanned<Value>>(text, options);
    Ok(documents.map_err(syntax_error)?.into_iter().map(Node::from).collect())
}

fn syntax_error(error: serde_saphyr::Error) -> SyntaxError {
    let line = error.location().map(|l| u32::try_from(l.line()).unwrap_or(u32::MAX)).filter(|l| *l > 0);
    let text = error.without_snippet().to_string();
    // What follows is for who calls the library.
    let message = text.lines().next().unwrap_or_default();
    let message = message.split(", set DuplicateKeyPolicy").next().unwrap_or_default().to_owned();
    SyntaxError { line, message }
}

impl Node {
    pub(crate) fn get(&self, key: &str) -> Option<&Self> {
        match &self.value {
            Value::Map(entries) => entries.iter().find(|(name, _)| name == key).map(|(_, node)| node),
            Value::Null | Value::Scalar(_) | Value::Seq(_) => None,
        }
    }

    pub(crate) fn is_null(&self) -> bool {
        matches!(self.value, Value::Null)
    }

    pub(crate) fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Scalar(scalar) => scalar.as_str(),
            Value::Null | Value::Seq(_) | Value::Map(_) => None,
        }
    }

    /// The line of a field, or of the nearest thing around it that exists.
    pub(crate) fn line_of(&self, path: &Path) -> u32 {
        let mut node = self;
        for step in &path.0 {
            let next = match (step, &node.value) {
                (Step::Key(key), _) => node.get(key),
                (Step::Index(index), Value::Seq(items)) => items.get(*index),
                (Step::Index(_), Value::Null | Value::Scalar(_) | Value::Map(_)) => None,
            };
            match next {
                Some(next) => node = next,
                None => break,
            }
        }
        node.line
    }

    /// Without the lines, and without fields that are null: the API takes those as absent.
    pub(crate) fn to_json(&self) -> serde_json::Value {
        match &self.value {
            Value::Null => serde_json::Value::Null,
            Value::Scalar(scalar) => scalar.clone(),
            Value::Seq(items) => items.iter().map(Self::to_json).collect(),
            Value::Map(entries) => {
                let present = entries.iter().filter(|(_, node)| node.value != Value::Null);
                present.map(|(key, node)| (key.clone(), node.to_json())).collect()
            }
        }
    }
}

impl From<Spanned<Value>> for Node {
    fn from(spanned: Spanned<Value>) -> Self {
        Self { line: u32::try_from(spanned.referenced.line()).unwrap_or(u32::MAX), value: spanned.value }
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ValueVisitor)
    }
}

struct ValueVisitor;

impl<'de> Visitor<'de> for ValueVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a YAML value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        Value::deserialize(deserializer)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Scalar(value.into()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Scalar(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Scalar(value.into()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Value::Scalar(value.into()))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::Scalar(value.into()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = access.next_element::<Spanned<Value>>()? {
            items.push(item.into());
        }
        Ok(Value::Seq(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut entries = Vec::new();
        while let Some((key, value)) = access.next_entry::<String, Spanned<Value>>()? {
            entries.push((key, value.into()));
        }
        Ok(Value::Map(entries))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_kept_and_nulls_left_out() {
        let documents = read("---\n# one\na:\n  b: [1, x,\n    true]\n  c:\n---\n---\nd: 0.5\n").unwrap();
        assert_eq!(documents.len(), 2);
        assert_eq!(documents[0].to_json(), serde_json::json!({"a": {"b": [1, "x", true]}}));
        let path = |name: &str| Path::key("a").then(name);
        assert_eq!(documents[0].line_of(&path("b").at(2)), 5);
        assert_eq!(documents[0].line_of(&path("b").at(7)), 4);
        assert_eq!(documents[0].line_of(&path("c")), 6);
        assert_eq!(documents[0].line_of(&Path::default()), 3);
        assert_eq!(documents[1].to_json(), serde_json::json!({"d": 0.5}));
    }

    #[test]
    fn json_with_tabs_is_yaml_too() {
        let documents = read("{\n\t\"a\": {\n\t\t\"b\": null,\n\t\t\"c\": \"on\"\n\t}\n}\n").unwrap();
        assert_eq!(documents[0].to_json(), serde_json::json!({"a": {"c": "on"}}));
    }

    #[test]
    fn syntax_errors_have_a_line() {
        let error = read("a: 1\nb: [1, 2\nc: 3\n").unwrap_err();
        assert!(error.line.is_some_and(|line| (2..=4).contains(&line)), "{error:?}");
        let error = read("a: 1\nb: 2\na: 3\n").unwrap_err();
        assert_eq!(error.line, Some(3), "{error:?}");
    }

    #[test]
    fn aliases_cannot_unfold_without_bound() {
        let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        for level in 1..10 {
            let inner = vec![format!("*a{}", level - 1); 10].join(", ");
            text.push_str(&format!("a{level}: &a{level} [{inner}]\n"));
        }
        assert!(read(&text).is_err());
    }
}
