//! Tests that need what some kernels lack: ignored by default, and run where this kernel can.

use std::process::{Command, Stdio};

/// Whether the test at this path may be ignored.
pub(crate) fn optional(test: &str) -> bool {
    FEATURES.iter().any(|feature| test.contains(feature.mark))
}

struct Feature {
    /// In the path of each test that needs it.
    mark: &'static str,
    what: &'static str,
    module: &'static str,
    /// Succeeds, in a network namespace of its own, where the kernel has it.
    probe: &'static str,
}

const FEATURES: [Feature; 3] = [
    Feature {
        mark: "needs_8021q",
        what: "vlan",
        module: "8021q",
        probe: "ip link add under type veth && ip link add link under name probe type vlan id 100",
    },
    Feature { mark: "needs_bonding", what: "bond", module: "bonding", probe: "ip link add probe type bond" },
    Feature {
        mark: "needs_br_netfilter",
        what: "bridge with netfilter",
        module: "br_netfilter",
        // A link of the kind loads its module; this one has none.
        probe: "modprobe br_netfilter; test -e /proc/sys/net/bridge/bridge-nf-call-iptables",
    },
];

/// What this kernel has.
pub(crate) struct Kernel {
    has: [bool; FEATURES.len()],
}

impl Kernel {
    pub(crate) fn ask() -> Self {
        Self { has: std::array::from_fn(|at| probe(FEATURES[at].probe)) }
    }

    /// The marks of the tests that can run.
    pub(crate) fn marks(&self) -> Vec<&'static str> {
        self.features(true).map(|feature| feature.mark).collect()
    }

    /// None when everything runs.
    pub(crate) fn not_run(&self) -> Option<String> {
        let list = |name: fn(&Feature) -> &'static str| {
            self.features(false).map(name).collect::<Vec<_>>().join(", ")
        };
        let line = || {
            format!("not run: {}: this kernel has no {}", list(|lack| lack.what), list(|lack| lack.module))
        };
        self.features(false).next().map(|_| line())
    }

    fn features(&self, there: bool) -> impl Iterator<Item = &'static Feature> {
        FEATURES.iter().zip(self.has).filter(move |(_, has)| *has == there).map(|(feature, _)| feature)
    }
}

fn probe(script: &str) -> bool {
    let mut command = Command::new("unshare");
    command.args(["--net", "sh", "-c", script]).stdin(Stdio::null());
    command.stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_run_is_said_with_the_reason() {
        let kernel = Kernel { has: [false, false, true] };
        assert_eq!(
            kernel.not_run().as_deref(),
            Some("not run: vlan, bond: this kernel has no 8021q, bonding")
        );
        assert_eq!(kernel.marks(), ["needs_br_netfilter"]);
        assert_eq!(Kernel { has: [true; 3] }.not_run(), None);
    }
}
