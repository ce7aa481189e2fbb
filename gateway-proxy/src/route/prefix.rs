//! PathPrefix matches as a tree of path elements: a lookup costs the depth of the path that is configured, however many
//! prefixes there are.

use std::sync::Arc;

use super::Request;
use super::slot::{Candidate, Slot};

type Children = imbl::GenericHashMap<
    Arc<str>,
    Arc<Node>,
    foldhash::fast::RandomState,
    imbl::shared_ptr::DefaultSharedPtr,
>;

/// The prefix that ends here, and longer ones. The root is `/`.
#[derive(Clone, Debug, Default)]
pub(super) struct Node {
    here: Slot,
    children: Children,
}

impl Node {
    /// `prefix` has no trailing slash.
    pub(super) fn insert(&mut self, prefix: &str, candidate: &Arc<Candidate>) {
        match split(prefix) {
            None => self.here.insert(candidate),
            Some((element, rest)) => {
                let child = self.children.entry(element.into()).or_default();
                Arc::make_mut(child).insert(rest, candidate);
            }
        }
    }

    pub(super) fn remove(&mut self, prefix: &str, candidate: &Candidate) {
        let Some((element, rest)) = split(prefix) else { return self.here.remove(candidate) };
        let Some(child) = self.children.get_mut(element) else { return };
        let child = Arc::make_mut(child);
        child.remove(rest, candidate);
        if child.is_empty() {
            self.children.remove(element);
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.here.is_empty() && self.children.is_empty()
    }

    /// The longest prefix of `path` whose conditions hold. Recurses as deep as prefixes are configured.
    pub(super) fn find(&self, path: &str, request: &Request<'_>) -> Option<&Candidate> {
        let longer = || {
            if self.children.is_empty() {
                return None;
            }
            let (element, rest) = split(path)?;
            self.children.get(element)?.find(rest, request)
        };
        longer().or_else(|| self.here.find(request))
    }
}

/// The first element of a path that begins with `/`, and what follows it; None at the end of the path.
fn split(path: &str) -> Option<(&str, &str)> {
    let path = path.strip_prefix('/')?;
    Some(path.split_at(path.find('/').unwrap_or(path.len())))
}

#[cfg(test)]
mod tests {
    use super::split;

    #[test]
    fn paths_fall_into_elements() {
        assert_eq!(split("/a/b"), Some(("a", "/b")));
        assert_eq!(split("/b"), Some(("b", "")));
        assert_eq!(split("/b/"), Some(("b", "/")));
        assert_eq!(split("/"), Some(("", "")));
        assert_eq!(split("//b"), Some(("", "/b")));
        assert_eq!(split(""), None);
        assert_eq!(split("*"), None);
    }
}
