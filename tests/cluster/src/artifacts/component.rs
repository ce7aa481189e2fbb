//! The parts that are built, each as a whole, and the programs in them.

use std::fmt;
use std::str::FromStr;

use anyhow::{Error, bail};

/// One part: what one build makes, and what is kept or thrown away together.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Component {
    /// The control plane, etcd, kubelet, kube-proxy and kubectl.
    Kubernetes,
    Containerd,
    /// The reference CNI plugins.
    Cni,
    /// The image of a Pod's first process.
    Pause,
    /// The image of the suite's backends.
    EchoBasic(Suite),
    /// The image of the cluster's DNS, and of the suite's UDP backend up to v1.6.
    Coredns,
    /// The image of the mesh profiles' clients and backends.
    EchoAdvanced,
    Flannel,
    /// The CRDs of the Gateway API, and what its suite applies first.
    Crds(Suite),
    /// The official conformance suite as a program.
    Conformance(Suite),
}

impl Component {
    /// What a node needs to be Ready and to run a Pod.
    pub const CORE: [Self; 4] = [Self::Kubernetes, Self::Containerd, Self::Cni, Self::Pause];

    /// The images that the suites' manifests and the cluster's DNS name.
    pub const IMAGES: [Self; 5] = [
        Self::Pause,
        Self::EchoBasic(Suite::V1_6_3),
        Self::EchoBasic(Suite::V1_7_0),
        Self::Coredns,
        Self::EchoAdvanced,
    ];

    pub const ALL: [Self; 13] = [
        Self::Kubernetes,
        Self::Containerd,
        Self::Cni,
        Self::Pause,
        Self::EchoBasic(Suite::V1_6_3),
        Self::EchoBasic(Suite::V1_7_0),
        Self::Coredns,
        Self::EchoAdvanced,
        Self::Flannel,
        Self::Crds(Suite::V1_6_3),
        Self::Crds(Suite::V1_7_0),
        Self::Conformance(Suite::V1_6_3),
        Self::Conformance(Suite::V1_7_0),
    ];
}

impl FromStr for Component {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let Some(component) = Self::ALL.into_iter().find(|one| one.to_string() == text) else {
            let names: Vec<String> = Self::ALL.iter().map(Self::to_string).collect();
            bail!("there are {}", names.join(", "));
        };
        Ok(component)
    }
}

/// As its folder in the cache begins.
impl fmt::Display for Component {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kubernetes => f.write_str("kubernetes"),
            Self::Containerd => f.write_str("containerd"),
            Self::Cni => f.write_str("cni"),
            Self::Pause => f.write_str("pause"),
            Self::EchoBasic(suite) => write!(f, "echo-basic-{suite}"),
            Self::Coredns => f.write_str("coredns"),
            Self::EchoAdvanced => f.write_str("echo-advanced"),
            Self::Flannel => f.write_str("flannel"),
            Self::Crds(suite) => write!(f, "crds-{suite}"),
            Self::Conformance(suite) => write!(f, "conformance-{suite}"),
        }
    }
}

/// A version of the Gateway API and its conformance suite.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub enum Suite {
    V1_6_3,
    #[default]
    V1_7_0,
}

/// Which of the Gateway API's CRDs.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub enum Channel {
    Standard,
    #[default]
    Experimental,
}

impl Suite {
    pub const ALL: [Self; 2] = [Self::V1_6_3, Self::V1_7_0];

    /// As its Go module is tagged.
    pub fn version(self) -> &'static str {
        match self {
            Self::V1_6_3 => "v1.6.3",
            Self::V1_7_0 => "v1.7.0",
        }
    }
}

impl fmt::Display for Suite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.version())
    }
}

impl FromStr for Suite {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let Some(suite) = Self::ALL.into_iter().find(|suite| suite.version() == text) else {
            bail!("no such version here: take v1.7.0 or v1.6.3");
        };
        Ok(suite)
    }
}

impl fmt::Display for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Standard => "standard",
            Self::Experimental => "experimental",
        })
    }
}

impl FromStr for Channel {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        match text {
            "standard" => Ok(Self::Standard),
            "experimental" => Ok(Self::Experimental),
            _ => bail!("a channel is `standard` or `experimental`"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_they_are_written() {
        for component in Component::ALL {
            assert_eq!(component.to_string().parse::<Component>().unwrap(), component);
        }
        for suite in Suite::ALL {
            assert_eq!(suite.to_string().parse::<Suite>().unwrap(), suite);
        }
        for channel in [Channel::Standard, Channel::Experimental] {
            assert_eq!(channel.to_string().parse::<Channel>().unwrap(), channel);
        }
        assert!("v1.5.0".parse::<Suite>().is_err());
        assert!("everything".parse::<Component>().is_err());
        assert!("beta".parse::<Channel>().is_err());
    }
}
