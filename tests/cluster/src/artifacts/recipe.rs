//! How each component is made: which packages of which module, with which flags. Pure; its text is part of the key that
//! the result is kept under.

use super::component::{Component, Suite};
use crate::image::Image;

/// Everything that is done for one component.
#[derive(Debug)]
pub(super) struct Recipe {
    /// The folder under `modules`.
    pub(super) module: &'static str,
    pub(super) work: Work,
    /// Files that are taken out of modules: module, path in it, path in the result.
    pub(super) copies: Vec<(&'static str, &'static str, &'static str)>,
    /// The image that the result is packed as; programs outside it are not kept.
    pub(super) image: Option<Image>,
}

/// What is compiled.
#[derive(Debug)]
pub(super) enum Work {
    Programs(Programs),
    /// The package's tests as a program of this name.
    Tests(&'static str),
    Nothing,
}

#[derive(Debug, Default)]
pub(super) struct Programs {
    /// Package and the name that the program is kept under.
    pub(super) packages: Vec<(&'static str, &'static str)>,
    /// Further names of a program: name, program.
    pub(super) links: Vec<(&'static str, &'static str)>,
    pub(super) tags: &'static str,
    /// Variables that the linker sets.
    pub(super) variables: Vec<(&'static str, &'static str)>,
}

const GATEWAY_API: &str = "sigs.k8s.io/gateway-api";
const SUITE: &str = "sigs.k8s.io/gateway-api/conformance";

impl Recipe {
    pub(super) fn of(component: Component) -> Self {
        match component {
            Component::Kubernetes => Self::programs("kubernetes", kubernetes()),
            Component::Containerd => Self::programs("containerd", containerd()),
            Component::Cni => Self::programs("cni", cni()),
            Component::Flannel => Self::programs("flannel", single(".", "flanneld")),
            Component::Pause => {
                Self { image: Some(Image::pause()), ..Self::programs("pause", single(".", "pause")) }
            }
            Component::EchoBasic(suite) => Self {
                image: Some(Image::echo_basic(suite)),
                ..Self::programs(conformance(suite), single(echo_basic(suite), "echo-basic"))
            },
            Component::Coredns => {
                Self { image: Some(Image::coredns()), ..Self::programs("coredns", single(".", "coredns")) }
            }
            Component::EchoAdvanced => Self {
                copies: vec![
                    ("istio.io/istio", "tests/testdata/certs/dns/cert-chain.pem", "cert.crt"),
                    ("istio.io/istio", "tests/testdata/certs/dns/key.pem", "cert.key"),
                ],
                image: Some(Image::echo_advanced()),
                ..Self::programs("istio-echo", istio_echo())
            },
            Component::Crds(suite) => Self {
                module: conformance(suite),
                work: Work::Nothing,
                copies: vec![
                    (GATEWAY_API, "config/crd/standard", "standard"),
                    (GATEWAY_API, "config/crd/experimental", "experimental"),
                    (SUITE, "base/manifests.yaml", "base.yaml"),
                    (SUITE, "mesh/manifests.yaml", "mesh.yaml"),
                ],
                image: None,
            },
            Component::Conformance(suite) => Self {
                module: conformance(suite),
                work: Work::Tests("conformance.test"),
                copies: Vec::new(),
                image: None,
            },
        }
    }

    fn programs(module: &'static str, programs: Programs) -> Self {
        Self { module, work: Work::Programs(programs), copies: Vec::new(), image: None }
    }
}

/// The module of a suite.
fn conformance(suite: Suite) -> &'static str {
    match suite {
        Suite::V1_6_3 => "conformance-v1.6.3",
        Suite::V1_7_0 => "conformance-v1.7.0",
    }
}

/// From v1.7 on the backends have a module of their own.
fn echo_basic(suite: Suite) -> &'static str {
    match suite {
        Suite::V1_6_3 => "sigs.k8s.io/gateway-api/conformance/echo-basic",
        Suite::V1_7_0 => "sigs.k8s.io/gateway-api-conformance-images/echo-basic",
    }
}

fn single(package: &'static str, name: &'static str) -> Programs {
    Programs { packages: vec![(package, name)], ..Programs::default() }
}

fn kubernetes() -> Programs {
    const ONE: &str = "kubernetes";
    Programs {
        packages: vec![(".", ONE), ("go.etcd.io/etcd/server/v3", "etcd")],
        links: vec![
            ("kube-apiserver", ONE),
            ("kube-controller-manager", ONE),
            ("kube-proxy", ONE),
            ("kube-scheduler", ONE),
            ("kubectl", ONE),
            ("kubelet", ONE),
        ],
        // Unset, kubelet and API server call themselves v0.0.0-master.
        variables: vec![
            ("k8s.io/component-base/version.gitVersion", "v1.37.2"),
            ("k8s.io/component-base/version.gitMajor", "1"),
            ("k8s.io/component-base/version.gitMinor", "37"),
            ("k8s.io/client-go/pkg/version.gitVersion", "v1.37.2"),
        ],
        ..Programs::default()
    }
}

fn containerd() -> Programs {
    Programs {
        packages: vec![
            ("github.com/containerd/containerd/v2/cmd/containerd", "containerd"),
            ("github.com/containerd/containerd/v2/cmd/containerd-shim-runc-v2", "containerd-shim-runc-v2"),
            ("github.com/containerd/containerd/v2/cmd/ctr", "ctr"),
        ],
        tags: "no_btrfs,no_devmapper,no_zfs",
        variables: vec![("github.com/containerd/containerd/v2/version.Version", "v2.4.2")],
        ..Programs::default()
    }
}

fn cni() -> Programs {
    Programs {
        packages: vec![
            ("github.com/containernetworking/plugins/plugins/ipam/host-local", "host-local"),
            ("github.com/containernetworking/plugins/plugins/main/bridge", "bridge"),
            ("github.com/containernetworking/plugins/plugins/main/loopback", "loopback"),
            ("github.com/containernetworking/plugins/plugins/main/ptp", "ptp"),
            ("github.com/containernetworking/plugins/plugins/meta/portmap", "portmap"),
        ],
        ..Programs::default()
    }
}

fn istio_echo() -> Programs {
    Programs {
        packages: vec![
            ("istio.io/istio/pkg/test/echo/cmd/client", "client"),
            ("istio.io/istio/pkg/test/echo/cmd/server", "server"),
        ],
        ..Programs::default()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_component_has_a_module_and_a_name_of_its_own() {
        let mut names = BTreeSet::new();
        for component in Component::ALL {
            let module = super::super::modules().join(Recipe::of(component).module);
            assert!(module.join("go.mod").exists(), "{component}: {}", module.display());
            assert!(names.insert(component.to_string()), "{component}");
        }
    }

    #[test]
    fn groups_are_parts_of_the_whole() {
        for component in Component::CORE.into_iter().chain(Component::IMAGES) {
            assert!(Component::ALL.contains(&component), "{component}");
        }
        for component in Component::ALL {
            let packed = Recipe::of(component).image.is_some();
            assert_eq!(Component::IMAGES.contains(&component), packed, "{component}");
        }
    }
}
