//! Host names: what a request says, and maps from a listener's or a route's host names.

use std::sync::Arc;

use gateway_common::ir::Hostname;

type Map<V> =
    imbl::GenericHashMap<Arc<str>, V, foldhash::fast::RandomState, imbl::shared_ptr::DefaultSharedPtr>;

/// Longest DNS name in text form, RFC 1035 §2.3.4.
const LONGEST: usize = 253;

/// A request's host in the form that [`HostMap`] is asked with: lower case, no port, no trailing dot.
#[expect(
    clippy::large_enum_variant,
    reason = "lives for one lookup; a box would be an allocation per request"
)]
pub enum Name<'a> {
    Given(&'a str),
    Lowered { bytes: [u8; LONGEST], length: usize },
}

impl<'a> Name<'a> {
    pub fn new(authority: &'a str) -> Self {
        let bare = bare(authority);
        let bare = bare.strip_suffix('.').unwrap_or(bare);
        if bare.len() > LONGEST || !bare.bytes().any(|byte| byte.is_ascii_uppercase()) {
            return Self::Given(bare);
        }
        let mut bytes = [0; LONGEST];
        bytes[..bare.len()].copy_from_slice(bare.as_bytes());
        bytes[..bare.len()].make_ascii_lowercase();
        Self::Lowered { bytes, length: bare.len() }
    }

    pub fn as_str(&self) -> &str {
        match self {
            Self::Given(text) => text,
            Self::Lowered { bytes, length } => str::from_utf8(&bytes[..*length]).unwrap_or_default(),
        }
    }
}

/// The authority without its port; an IPv6 literal keeps its brackets.
pub fn bare(authority: &str) -> &str {
    let end = match authority.strip_prefix('[') {
        Some(_) => authority.find(']').map_or(authority.len(), |at| at + 1),
        None => authority.find(':').unwrap_or(authority.len()),
    };
    &authority[..end]
}

/// Values by host name: exact, wildcard, or for every name. Persistent.
#[derive(Clone, Debug)]
pub struct HostMap<V> {
    exact: Map<V>,
    /// By the suffix after `*.`.
    wildcard: Map<V>,
    any: Option<V>,
}

impl<V> Default for HostMap<V> {
    fn default() -> Self {
        let hasher = foldhash::fast::RandomState::default();
        Self { exact: Map::with_hasher(hasher.clone()), wildcard: Map::with_hasher(hasher), any: None }
    }
}

impl<V: Clone> HostMap<V> {
    /// All values that a name may use, the most specific first.
    pub fn matching<'m, 'n>(&'m self, name: &'n str) -> impl Iterator<Item = &'m V> + use<'m, 'n, V> {
        let exact = if self.exact.is_empty() { None } else { self.exact.get(name) };
        let rest = if self.wildcard.is_empty() { None } else { Some(name) };
        let suffixes = std::iter::successors(rest.and_then(parent), |suffix| parent(suffix));
        exact.into_iter().chain(suffixes.filter_map(|suffix| self.wildcard.get(suffix))).chain(&self.any)
    }

    /// The value of the most specific host name that covers `name`, which is as [`Name`] gives it.
    pub fn find(&self, name: &str) -> Option<&V> {
        self.matching(name).next()
    }

    /// None: the value for every name.
    pub fn insert(&mut self, hostname: Option<&Hostname>, value: V) {
        match slot(hostname) {
            Slot::Exact(name) => drop(self.exact.insert(name.into(), value)),
            Slot::Wildcard(suffix) => drop(self.wildcard.insert(suffix.into(), value)),
            Slot::Any => self.any = Some(value),
        }
    }

    pub fn entry(&mut self, hostname: Option<&Hostname>) -> &mut V
    where
        V: Default,
    {
        match slot(hostname) {
            Slot::Exact(name) => self.exact.entry(name.into()).or_default(),
            Slot::Wildcard(suffix) => self.wildcard.entry(suffix.into()).or_default(),
            Slot::Any => self.any.get_or_insert_default(),
        }
    }

    pub fn get_mut(&mut self, hostname: Option<&Hostname>) -> Option<&mut V> {
        match slot(hostname) {
            Slot::Exact(name) => self.exact.get_mut(name),
            Slot::Wildcard(suffix) => self.wildcard.get_mut(suffix),
            Slot::Any => self.any.as_mut(),
        }
    }

    pub fn remove(&mut self, hostname: Option<&Hostname>) {
        match slot(hostname) {
            Slot::Exact(name) => drop(self.exact.remove(name)),
            Slot::Wildcard(suffix) => drop(self.wildcard.remove(suffix)),
            Slot::Any => self.any = None,
        }
    }

    pub fn is_empty(&self) -> bool {
        self.exact.is_empty() && self.wildcard.is_empty() && self.any.is_none()
    }
}

enum Slot<'a> {
    Exact(&'a str),
    Wildcard(&'a str),
    Any,
}

fn slot(hostname: Option<&Hostname>) -> Slot<'_> {
    match hostname {
        None => Slot::Any,
        Some(name) => name.wildcard_suffix().map_or(Slot::Exact(name.as_str()), Slot::Wildcard),
    }
}

/// The name without its first label.
fn parent(name: &str) -> Option<&str> {
    name.split_once('.').map(|(_, rest)| rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lose_case_port_and_trailing_dot() {
        for (given, want) in [
            ("example.com", "example.com"),
            ("Example.COM:8080", "example.com"),
            ("example.com.", "example.com"),
            ("example.com.:443", "example.com"),
            ("[::1]:8080", "[::1]"),
            ("[2001:DB8::1]", "[2001:db8::1]"),
            ("127.0.0.1:80", "127.0.0.1"),
            ("", ""),
            (":80", ""),
            ("[", "["),
        ] {
            assert_eq!(Name::new(given).as_str(), want, "{given}");
        }
        let long = "A".repeat(300);
        assert_eq!(Name::new(&long).as_str(), long);
    }

    #[test]
    fn the_most_specific_name_comes_first() {
        let mut map = HostMap::default();
        for name in ["a.b.example.com", "*.b.example.com", "*.example.com", "*.com"] {
            map.insert(Some(&Hostname::new(name)), name);
        }
        map.insert(None, "");
        let matching = |name| map.matching(name).copied().collect::<Vec<_>>();
        assert_eq!(
            matching("a.b.example.com"),
            ["a.b.example.com", "*.b.example.com", "*.example.com", "*.com", ""]
        );
        assert_eq!(
            matching("b.example.com"),
            ["*.example.com", "*.com", ""],
            "a wildcard stands for a label"
        );
        assert_eq!(matching("x.y.example.com"), ["*.example.com", "*.com", ""]);
        assert_eq!(matching("example.com"), ["*.com", ""]);
        assert_eq!(matching("com"), [""]);
        assert_eq!(matching(""), [""]);
        map.remove(None);
        assert_eq!(map.find("com"), None);
    }
}
