//! What both header modifiers do: remove, then set, then add.

use gateway_common::ir::{HeaderEdit, HeaderModifier as Spec};
use http::header::{HeaderMap, HeaderName, HeaderValue};

use crate::hygiene::hop_by_hop;

#[derive(Debug)]
pub(super) struct HeaderModifier {
    remove: Box<[HeaderName]>,
    set: Box<[(HeaderName, HeaderValue)]>,
    add: Box<[(HeaderName, HeaderValue)]>,
}

impl HeaderModifier {
    pub(super) fn new(from: &Spec) -> Result<Self, String> {
        let removals = from.remove.iter().enumerate();
        let remove = removals.map(|(at, text)| name(text).map_err(|error| format!("remove[{at}]: {error}")));
        Ok(Self {
            remove: remove.collect::<Result<_, _>>()?,
            set: edits("set", &from.set)?,
            add: edits("add", &from.add)?,
        })
    }

    /// Names that only [`Self::set`](Spec::set) may name.
    pub(super) fn refuse_but_set(&self, refused: &HeaderName) -> Result<(), String> {
        if self.remove.contains(refused) || self.add.iter().any(|(name, _)| name == refused) {
            return Err(format!("`{refused}` can be set, not added or removed"));
        }
        Ok(())
    }

    pub(super) fn apply(&self, headers: &mut HeaderMap) {
        for name in &self.remove {
            headers.remove(name);
        }
        for (name, value) in &self.set {
            headers.insert(name, value.clone());
        }
        for (name, value) in &self.add {
            headers.append(name, value.clone());
        }
    }
}

fn edits(field: &str, from: &[HeaderEdit]) -> Result<Box<[(HeaderName, HeaderValue)]>, String> {
    let each = from.iter().enumerate();
    each.map(|(at, edit)| parse(edit).map_err(|error| format!("{field}[{at}]: {error}"))).collect()
}

fn parse(edit: &HeaderEdit) -> Result<(HeaderName, HeaderValue), String> {
    let value = HeaderValue::from_str(edit.value.trim_matches([' ', '\t']));
    Ok((
        name(&edit.name)?,
        value.map_err(|_| format!("the value of `{}` has control characters", edit.name))?,
    ))
}

fn name(text: &str) -> Result<HeaderName, String> {
    let name =
        HeaderName::from_bytes(text.as_bytes()).map_err(|_| format!("`{text}` is not a header name"))?;
    if hop_by_hop::is_framing(&name) {
        return Err(format!("`{name}` frames the message and is the proxy's own; leave it out"));
    }
    Ok(name)
}
