//! Who may use whom: each outside world has one edge, and the three programs meet in gateway-common only.

use super::{Finding, Tree};

/// A crate, the paths that may use it, and the remedy.
struct Fence {
    library: &'static str,
    /// Paths are seen by this fence if they begin so.
    within: &'static str,
    /// Beginnings of paths that may.
    users: &'static [&'static str],
    remedy: &'static str,
}

const FENCES: [Fence; 12] = [
    Fence {
        library: "aya",
        within: "",
        users: &["gateway-agent/src/datapath", "gateway-common/src/abi/pod.rs", "tests/"],
        remedy: "only the agent's datapath talks to the kernel's BPF",
    },
    Fence {
        library: "aya_ebpf",
        within: "",
        users: &["gateway-ebpf/"],
        remedy: "only the kernel side uses it",
    },
    Fence {
        library: "rtnetlink",
        within: "",
        users: &["gateway-agent/src/announce"],
        remedy: "routes and links are announce's",
    },
    Fence {
        library: "netlink_packet_route",
        within: "",
        users: &["gateway-agent/src/announce"],
        remedy: "routes and links are announce's",
    },
    Fence {
        library: "rustls",
        within: "",
        users: &["gateway-proxy/", "tests/"],
        remedy: "only the proxy speaks TLS",
    },
    Fence {
        library: "tokio_rustls",
        within: "",
        users: &["gateway-proxy/", "tests/"],
        remedy: "only the proxy speaks TLS",
    },
    Fence {
        library: "hyper",
        within: "",
        users: &["gateway-proxy/", "gateway-agent/src/admin", "gateway-agent/src/cli", "tests/"],
        remedy: "HTTP is the proxy's, and the admin sockets'",
    },
    Fence {
        library: "gateway_proxy",
        within: "",
        users: &["gateway-proxy/", "tests/"],
        remedy: "agent and proxy meet in gateway_common::ir",
    },
    Fence {
        library: "gateway_agent",
        within: "",
        users: &["gateway-agent/", "tests/"],
        remedy: "agent and proxy meet in gateway_common::ir",
    },
    Fence {
        library: "gateway_ebpf",
        within: "",
        users: &["gateway-ebpf/"],
        remedy: "agent and kernel meet in gateway_common::abi",
    },
    Fence {
        library: "gateway_common",
        within: "xtask/",
        users: &[],
        remedy: "xtask builds where nothing else does: it imports nothing of ours",
    },
    Fence {
        library: "kube",
        within: "gateway-proxy/",
        users: &[],
        remedy: "the proxy knows no Kubernetes: the agent translates",
    },
];

/// Edges and translation of the agent: none of them uses another.
const ROOMS: [&str; 5] = ["translate", "datapath", "announce", "proxy", "source"];

pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for source in tree.sources.iter().filter(|source| source.is_rust()) {
        for (line, text) in source.code() {
            for fence in broken(&source.path, text) {
                let remedy = format!("`{}`: {}", fence.library, fence.remedy);
                findings.push(source.finding(line, "import", remedy));
            }
            if let Some(other) = other_room(&source.path, text) {
                let remedy =
                    format!("`crate::{other}`: rooms of the agent meet in `desired` and `reconcile`");
                findings.push(source.finding(line, "import", remedy));
            }
        }
    }
    findings
}

fn broken(path: &str, line: &str) -> impl Iterator<Item = &'static Fence> {
    FENCES.iter().filter(move |fence| {
        path.starts_with(fence.within)
            && !fence.users.iter().any(|user| path.starts_with(user))
            && uses(line, fence.library)
    })
}

/// Whether the line names `library` as the first part of a path.
fn uses(line: &str, library: &str) -> bool {
    let line = &without_strings(line);
    line.match_indices(library).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        let rest = &line[at + library.len()..];
        let first = !before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ':');
        first
            && (rest.starts_with("::")
                || line.trim_start().starts_with("use ") && rest.starts_with([';', ' ']))
    })
}

/// The line with nothing between its quotes.
fn without_strings(line: &str) -> String {
    line.split('"').step_by(2).collect::<Vec<_>>().join("\"\"")
}

/// The room of the agent that a file in another room uses.
fn other_room(path: &str, line: &str) -> Option<&'static str> {
    let inside = path.strip_prefix("gateway-agent/src/")?;
    let own = ROOMS
        .into_iter()
        .find(|room| inside.strip_prefix(room).is_some_and(|rest| rest == ".rs" || rest.starts_with('/')))?;
    ROOMS.into_iter().find(|room| {
        *room != own && line.split_once("crate::").is_some_and(|(_, rest)| first_part(rest) == *room)
    })
}

fn first_part(path: &str) -> &str {
    path.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::super::tests::{places, tree};
    use super::*;

    #[test]
    fn fences_hold() {
        let tree = tree(&[
            ("gateway-agent/src/datapath/maps.rs", "use aya::maps::HashMap;\n"),
            ("gateway-agent/src/reconcile.rs", "use aya::maps::HashMap;\nuse hyper_util::rt;\n"),
            ("gateway-proxy/src/http.rs", "use hyper::body;\nlet x = gateway_agent::object::Kind;\n"),
            ("gateway-agent/src/app.rs", "let x = hyper::Request::new(());\n// use rustls::x;\n"),
            ("xtask/src/main.rs", "use gateway_common::abi;\n"),
        ]);
        assert_eq!(
            places(&check(&tree)),
            [
                "gateway-agent/src/reconcile.rs:1",
                "gateway-proxy/src/http.rs:2",
                "gateway-agent/src/app.rs:1",
                "xtask/src/main.rs:1"
            ]
        );
    }

    #[test]
    fn rooms_of_the_agent_do_not_meet() {
        let tree = tree(&[
            (
                "gateway-agent/src/translate/status.rs",
                "use crate::datapath::pins;\nuse crate::desired::Vip;\n",
            ),
            ("gateway-agent/src/reconcile.rs", "use crate::datapath::pins;\n"),
            ("gateway-agent/src/proxy.rs", "use crate::proxy::push;\n"),
        ]);
        assert_eq!(places(&check(&tree)), ["gateway-agent/src/translate/status.rs:1"]);
    }
}
