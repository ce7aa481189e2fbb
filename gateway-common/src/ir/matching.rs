//! Conditions of an HTTP rule; all parts of one match must hold.

use serde::{Deserialize, Serialize};

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct HttpMatch {
    pub path: PathMatch,
    /// Upper case.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<String>,
    /// Names in lower case, each once.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub headers: Vec<NameValueMatch>,
    /// Names as written, each once.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub query: Vec<NameValueMatch>,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum PathMatch {
    Exact(String),
    /// By path element; no trailing slash unless it is `/`.
    Prefix(String),
    /// RE2 syntax as the `regex` crate has it; must match the whole path.
    Regex(String),
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct NameValueMatch {
    pub name: String,
    pub value: ValueMatch,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ValueMatch {
    Exact(String),
    Regex(String),
}
