//! What the demonstration consists of.

use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use gatehouse_tests::backend::Backend;
use gatehouse_tests::certificate::{Authority, Pair};
use gatehouse_tests::node::{Name, Node};
use gatehouse_tests::topology::{Topology, Uplink};

pub(crate) const NAMESPACE: &str = "shop";
pub(crate) const GATEWAY: &str = "public";

/// The network, and the Pods that the examples' EndpointSlices name.
pub(crate) struct Place {
    pub(crate) topology: Topology,
    pub(crate) authority: Authority,
    pub(crate) shop: Pair,
    pub(crate) blog: Pair,
    pub(crate) bank: Pair,
    _pods: Vec<Backend>,
}

/// Gatehouse at work in it.
pub(crate) struct Scene<'a> {
    pub(crate) place: &'a Place,
    pub(crate) node: Node<'a>,
    pub(crate) v4: IpAddr,
    pub(crate) v6: IpAddr,
}

impl Place {
    pub(crate) fn new() -> Result<Self> {
        let topology = Topology::new(Uplink::Plain)?;
        let authority = Authority::new()?;
        let shop = authority.issue(&["shop.example.com"])?;
        let blog = authority.issue(&["blog.example.com"])?;
        let bank = authority.issue(&["www.bank.example.com"])?;
        let pods = [("shop", 2, None), ("shop-next", 3, None), ("blog", 4, None), ("bank", 5, Some(&bank))];
        let pods: Result<_> = pods
            .into_iter()
            .map(|(name, host, pair)| Backend::start(&topology.pods, host, name, pair))
            .collect();
        Ok(Self { topology, authority, shop, blog, bank, _pods: pods? })
    }
}

impl<'a> Scene<'a> {
    pub(crate) fn start(place: &'a Place, examples: &Path) -> Result<Self> {
        let mut node = Node::new(&place.topology.node)?;
        for file in files(examples)? {
            let name = file.file_name().context("a file has a name")?.to_string_lossy().into_owned();
            node.write(&name, &fs::read_to_string(&file)?)?;
        }
        let secrets = [place.shop.secret(NAMESPACE, "shop-tls"), place.blog.secret(NAMESPACE, "blog-tls")]
            .join("---\n");
        node.write("secrets.yaml", &secrets)?;
        fs::write(node.folder().join("ca.pem"), place.authority.pem())?;
        node.start()?;
        let (v4, v6) = node.wait_addresses(NAMESPACE, GATEWAY)?;
        for (kind, name) in
            [("HTTPRoute", "shop"), ("TLSRoute", "bank"), ("TCPRoute", "tcp"), ("UDPRoute", "udp")]
        {
            node.wait_condition(&Name { kind, namespace: NAMESPACE, name }, "Accepted", "True")?;
        }
        let v4 = v4.context("the Gateway has no IPv4 address")?;
        let v6 = v6.context("the Gateway has no IPv6 address")?;
        Ok(Self { place, node, v4, v6 })
    }

    pub(crate) fn v4(&self, port: u16) -> SocketAddr {
        SocketAddr::new(self.v4, port)
    }

    pub(crate) fn v6(&self, port: u16) -> SocketAddr {
        SocketAddr::new(self.v6, port)
    }
}

/// The YAML files of a folder.
fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder).with_context(|| format!("read {}", folder.display()))?;
    let mut files: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "yaml"));
    files.sort();
    Ok(files)
}
