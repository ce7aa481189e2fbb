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
    Flannel,
    /// The images that nodes import.
    Images,
    /// The CRDs of a version of the Gateway API.
    Crds(Suite),
    /// The official conformance suite as a program.
    Conformance(Suite),
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
        for suite in Suite::ALL {
            assert_eq!(suite.to_string().parse::<Suite>().unwrap(), suite);
        }
        for channel in [Channel::Standard, Channel::Experimental] {
            assert_eq!(channel.to_string().parse::<Channel>().unwrap(), channel);
        }
        assert!("v1.5.0".parse::<Suite>().is_err());
        assert!("beta".parse::<Channel>().is_err());
    }
}
