//! What kind of cluster is wanted. Pure.

use std::fmt::{self, Display};
use std::str::FromStr;

use anyhow::{Error, bail, ensure};
use serde::{Deserialize, Serialize};

use super::hosts::MOST_NODES;
use crate::artifacts::{Channel, Component, Suite};

/// How Pods get their network.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Cni {
    /// A veth pair per Pod and a route per node, as on one flat network.
    #[default]
    Ptp,
    /// The same within a node; flanneld with VXLAN between the nodes.
    Flannel,
}

/// Who makes ClusterIPs work.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum KubeProxy {
    #[default]
    Nftables,
    Iptables,
    /// Nobody: Pods do not reach ClusterIPs, the API server's included.
    None,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Options {
    pub nodes: u8,
    #[serde(with = "text")]
    pub cni: Cni,
    /// Pods and Services have both families; the nodes' network always has.
    pub dual_stack: bool,
    #[serde(with = "text")]
    pub kube_proxy: KubeProxy,
    #[serde(with = "text")]
    pub gateway_api: Suite,
    #[serde(with = "text")]
    pub channel: Channel,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            nodes: 3,
            cni: Cni::default(),
            dual_stack: true,
            kube_proxy: KubeProxy::default(),
            gateway_api: Suite::default(),
            channel: Channel::default(),
        }
    }
}

impl Options {
    pub(crate) fn check(&self) -> Result<(), Error> {
        ensure!((1..=MOST_NODES).contains(&self.nodes), "a cluster has 1 to {MOST_NODES} nodes");
        Ok(())
    }

    /// CIDRs of all Pods.
    pub(crate) fn pod_cidrs(&self) -> &'static str {
        if self.dual_stack { "10.244.0.0/16,fd00:244::/56" } else { "10.244.0.0/16" }
    }

    /// CIDRs of ClusterIPs.
    pub(crate) fn service_cidrs(&self) -> &'static str {
        if self.dual_stack { "10.96.0.0/16,fd00:96::/112" } else { "10.96.0.0/16" }
    }

    /// What has to be built for it.
    pub(crate) fn components(&self) -> Vec<Component> {
        let mut components = Component::CORE.to_vec();
        components.extend(Component::IMAGES);
        components.push(Component::Crds(self.gateway_api));
        if self.cni == Cni::Flannel {
            components.push(Component::Flannel);
        }
        components.sort();
        components.dedup();
        components
    }
}

impl Display for Cni {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ptp => "ptp",
            Self::Flannel => "flannel",
        })
    }
}

impl FromStr for Cni {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        match text {
            "ptp" => Ok(Self::Ptp),
            "flannel" => Ok(Self::Flannel),
            _ => bail!("a CNI is `ptp` or `flannel`"),
        }
    }
}

impl Display for KubeProxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Nftables => "nftables",
            Self::Iptables => "iptables",
            Self::None => "none",
        })
    }
}

impl FromStr for KubeProxy {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        match text {
            "nftables" => Ok(Self::Nftables),
            "iptables" => Ok(Self::Iptables),
            "none" => Ok(Self::None),
            _ => bail!("kube-proxy's mode is `nftables`, `iptables` or `none`"),
        }
    }
}

/// Values on disk as they are on the command line.
mod text {
    use std::fmt::Display;
    use std::str::FromStr;

    use anyhow::Error;
    use serde::{Deserialize as _, Deserializer, Serializer, de};

    pub(super) fn serialize<S: Serializer>(value: &impl Display, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(value)
    }

    pub(super) fn deserialize<'a, D: Deserializer<'a>, T: FromStr<Err = Error>>(
        from: D,
    ) -> Result<T, D::Error> {
        String::deserialize(from)?.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_survive_the_disk() {
        let options = Options {
            cni: Cni::Flannel,
            kube_proxy: KubeProxy::None,
            dual_stack: false,
            ..Options::default()
        };
        let text = serde_json::to_string(&options).unwrap();
        assert!(text.contains(r#""gateway_api":"v1.7.0""#), "{text}");
        assert_eq!(serde_json::from_str::<Options>(&text).unwrap(), options);
    }

    #[test]
    fn a_cluster_has_nodes_but_not_too_many() {
        for (nodes, good) in [(0, false), (1, true), (MOST_NODES, true), (MOST_NODES + 1, false)] {
            assert_eq!(Options { nodes, ..Options::default() }.check().is_ok(), good, "{nodes}");
        }
    }
}
