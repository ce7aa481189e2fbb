//! Where things of a cluster are: everything follows from its name. Pure.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use anyhow::{Error, ensure};

/// A folder per cluster. Not below `/run`: a node's own `/run` would hide it, and images do not belong in memory.
pub const ROOT: &str = "/var/lib/gatehouse-cluster";
/// Where iproute2 keeps its names.
pub const NAMESPACES: &str = "/run/netns";

/// A cluster's name: a short DNS label.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Name(String);

impl FromStr for Name {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let plain = text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        let begins = text.starts_with(|c: char| c.is_ascii_lowercase());
        ensure!(
            plain && begins && text.len() <= 20 && !text.ends_with('-'),
            "`{text}`: a cluster's name is a lower-case letter, then letters, digits and dashes; at most 20"
        );
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Name {
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Everything else of the cluster is in here.
    pub fn folder(&self) -> PathBuf {
        Path::new(ROOT).join(&self.0)
    }

    /// The command that works on the cluster holds this file's lock.
    pub(crate) fn lock(&self) -> PathBuf {
        Path::new(ROOT).join(format!("{}.lock", self.0))
    }

    pub(crate) fn record(&self) -> PathBuf {
        self.folder().join("record")
    }

    pub(crate) fn pki(&self) -> PathBuf {
        self.folder().join("pki")
    }

    /// The administrator's.
    pub fn kubeconfig(&self) -> PathBuf {
        self.kubeconfig_of("admin")
    }

    pub(crate) fn kubeconfig_of(&self, user: &str) -> PathBuf {
        self.pki().join(format!("{user}.kubeconfig"))
    }

    /// What the process `NAME`, or `NODE/NAME`, prints.
    pub fn log(&self, process: &str) -> PathBuf {
        self.folder().join("logs").join(format!("{process}.log"))
    }

    /// A folder per node.
    pub(crate) fn nodes(&self) -> PathBuf {
        self.folder().join("nodes")
    }

    /// Everything of a node.
    pub(crate) fn node(&self, node: &str) -> PathBuf {
        self.nodes().join(node)
    }

    /// The name of a host's network namespace. Neither name has a dot, so that it is nobody else's.
    pub fn netns(&self, host: &str) -> String {
        format!("ghc-{}.{host}", self.0)
    }

    /// The cluster that a network namespace of that name belongs to.
    pub(crate) fn of_netns(netns: &str) -> Option<Self> {
        netns.strip_prefix("ghc-")?.split_once('.')?.0.parse().ok()
    }

    pub fn netns_path(&self, host: &str) -> PathBuf {
        Path::new(NAMESPACES).join(self.netns(host))
    }

    /// The name of its directory in each cgroup hierarchy.
    pub(crate) fn cgroup(&self) -> String {
        format!("ghc-{}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_short_labels() {
        for good in ["a", "default", "run-12"] {
            assert!(good.parse::<Name>().is_ok(), "{good}");
        }
        for bad in ["", "A", "1a", "a-", "a/b", "..", "a.b", "abcdefghijklmnopqrstu"] {
            assert!(bad.parse::<Name>().is_err(), "{bad}");
        }
    }

    #[test]
    fn no_cluster_is_inside_another() {
        let (a, b): (Name, Name) = ("a".parse().unwrap(), "a-n1".parse().unwrap());
        assert!(!b.folder().starts_with(a.folder()));
        assert_ne!(a.netns("n1"), b.netns("n1"));
        let far: Name = "a-far".parse().unwrap();
        assert_ne!(a.netns("far-client"), far.netns("client"));
        for name in [&a, &b, &far] {
            assert_eq!(Name::of_netns(&name.netns("far-client")).as_ref(), Some(name));
        }
        for other in ["n1", "ghc-", "ghc-a", "cni-1.2", "ghc-A.b"] {
            assert_eq!(Name::of_netns(other), None, "{other}");
        }
    }
}
