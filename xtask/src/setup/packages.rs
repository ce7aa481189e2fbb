//! Programs of the system, and the Debian packages that have them.

use std::fs;

use anyhow::Result;
use gatehouse_cluster::image::is_dynamic;

use super::{Lack, Remedy, find};

/// What something is needed for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    Build,
    Test,
    Bench,
    Kernels,
    Cluster,
}

/// Program, package, purpose, reason.
const PROGRAMS: [(&str, &str, Purpose, &str); 20] = [
    ("cc", "build-essential", Purpose::Build, "links every program and compiles the cryptography"),
    ("ip", "iproute2", Purpose::Test, "lays out network namespaces"),
    ("nsenter", "util-linux", Purpose::Test, "enters them"),
    ("curl", "curl", Purpose::Test, "asks the gateway as a user would"),
    ("openssl", "openssl", Purpose::Test, "asks the gateway for certificates as a user would"),
    ("haproxy", "haproxy", Purpose::Bench, "is compared with"),
    ("nginx", "nginx-light", Purpose::Bench, "is compared with, and serves as the backend"),
    ("wrk", "wrk", Purpose::Bench, "generates HTTP/1.1 load"),
    ("h2load", "nghttp2-client", Purpose::Bench, "generates HTTP/2 load"),
    ("qemu-system-x86_64", "qemu-system-x86", Purpose::Kernels, "boots other kernels"),
    ("busybox", "busybox-static", Purpose::Kernels, "is the user space of those kernels"),
    ("cpio", "cpio", Purpose::Kernels, "packs their initial file system"),
    ("modprobe", "kmod", Purpose::Kernels, "lists the modules that they need"),
    ("pip3", "python3-pip", Purpose::Cluster, "installs the Go that compiles Kubernetes"),
    ("ip", "iproute2", Purpose::Cluster, "lays out the nodes' networks"),
    ("runc", "runc", Purpose::Cluster, "runs the containers of the nodes"),
    ("nft", "nftables", Purpose::Cluster, "is kube-proxy's way to ClusterIPs"),
    ("iptables", "iptables", Purpose::Cluster, "is kube-proxy's other way to ClusterIPs"),
    ("conntrack", "conntrack", Purpose::Cluster, "shows what a node's connections become"),
    ("busybox", "busybox-static", Purpose::Cluster, "is the user space of test Pods"),
];

/// Run where there is nothing else: Debian has them also in need of its libraries, under the same name.
const STATIC: [&str; 1] = ["busybox"];

/// The programs that `purposes` need and the system lacks.
pub(super) fn lacks(purposes: &[Purpose]) -> Result<Vec<Lack>> {
    let wanted: Vec<_> = PROGRAMS.iter().filter(|(_, _, purpose, _)| purposes.contains(purpose)).collect();
    let names: Vec<&str> = wanted.iter().map(|(program, ..)| *program).collect();
    let found = find(&names)?;
    let fits = |program: &str| {
        let path = found.iter().find(|path| path.file_name().is_some_and(|name| name == program));
        path.is_some_and(|path| !STATIC.contains(&program) || fs::read(path).is_ok_and(|it| !is_dynamic(&it)))
    };
    let lack = |&(program, package, _, why): &(&str, &str, Purpose, &'static str)| Lack {
        what: program.to_owned(),
        why,
        remedy: Remedy::Packages(vec![package.to_owned()]),
    };
    Ok(wanted.into_iter().filter(|(program, ..)| !fits(program)).map(lack).collect())
}
