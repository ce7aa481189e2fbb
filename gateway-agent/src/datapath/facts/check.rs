//! From facts to findings: pure. Each names what it is about and what to do.

use serde::{Deserialize, Serialize};

use gateway_common::abi::Proto;
use gateway_common::abi::names::PROGRAM_LOOKUP;

use super::{DeviceFacts, Facts};

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Severity {
    /// As it should be, or worth knowing.
    Info,
    /// Works, but costs something or may surprise.
    Warning,
    /// Traffic of VIPs is lost or would be.
    Error,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Finding {
    pub severity: Severity,
    /// A sysctl, a device, a program, `kernel` or `bpffs`.
    pub subject: String,
    pub text: String,
    /// Empty when nothing needs to be done.
    pub remedy: String,
}

/// The worst first; within a severity in the order in which a packet meets them.
pub fn check(facts: &Facts) -> Vec<Finding> {
    let mut findings = Vec::new();
    kernel(facts, &mut findings);
    pins(facts, &mut findings);
    devices(facts, &mut findings);
    programs(facts, &mut findings);
    sysctls(facts, &mut findings);
    findings.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
    findings
}

fn push(
    findings: &mut Vec<Finding>,
    severity: Severity,
    subject: &str,
    text: impl Into<String>,
    remedy: impl Into<String>,
) {
    findings.push(Finding {
        severity,
        subject: subject.to_owned(),
        text: text.into(),
        remedy: remedy.into(),
    });
}

fn kernel(facts: &Facts, findings: &mut Vec<Finding>) {
    let Some(features) = facts.features else { return };
    let kernel = &facts.kernel;
    if !features.sk_lookup {
        let text = format!("{kernel} has no sk_lookup programs: no VIP can be served");
        push(findings, Severity::Error, "kernel", text, "run Linux 5.15 or later, better 6.6 or later");
        return;
    }
    if features.tcx && features.assign_reuseport {
        push(findings, Severity::Info, "kernel", format!("{kernel} has all that is used"), "");
        return;
    }
    let mut lacks = Vec::new();
    if !features.tcx {
        lacks.push("TCX: the order among TC programs is not certain (clsact is used)");
    }
    if !features.assign_reuseport {
        lacks.push(
            "bpf_sk_assign for reuseport groups: sk_lookup chooses the socket, TC only counts and filters",
        );
    }
    let text = format!("{kernel} lacks {}", lacks.join("; "));
    push(findings, Severity::Info, "kernel", text, "Linux 6.6 or later has it; nothing breaks without");
}

fn pins(facts: &Facts, findings: &mut Vec<Finding>) {
    let root = &facts.pin_root;
    if !facts.bpffs {
        let text = format!("no BPF file system under {root}: nothing can be pinned");
        push(findings, Severity::Error, "bpffs", text, "mount -t bpf bpf /sys/fs/bpf");
    } else if !facts.pinned {
        let text = format!("nothing is pinned under {root}: no agent of this version has run here");
        push(findings, Severity::Error, "bpffs", text, "start gateway-agent, or name its pin root");
    }
}

fn devices(facts: &Facts, findings: &mut Vec<Finding>) {
    if facts.devices.is_empty() {
        let text = "no device carries an address of the node or a default route";
        push(findings, Severity::Warning, "devices", text, "name the devices in the agent's configuration");
    }
    for device in &facts.devices {
        device_state(facts, device, findings);
    }
    let mut mtus: Vec<u32> = facts.devices.iter().map(|device| device.mtu).collect();
    mtus.sort_unstable();
    mtus.dedup();
    if mtus.len() > 1 {
        let list: Vec<String> =
            facts.devices.iter().map(|device| format!("{} {}", device.name, device.mtu)).collect();
        let text = format!("different MTUs: {}", list.join(", "));
        let remedy = "let ICMP fragmentation needed and packet too big reach the VIPs";
        push(findings, Severity::Info, "MTU", text, remedy);
    }
}

fn device_state(facts: &Facts, device: &DeviceFacts, findings: &mut Vec<Finding>) {
    let name = &device.name;
    if !device.up || !device.carrier {
        let text = if device.up { "has no carrier" } else { "is down" };
        push(
            findings,
            Severity::Warning,
            name,
            text,
            format!("ip link set {name} up, and look at the cable"),
        );
    }
    if facts.pinned && !device.attached {
        let text =
            "does not carry the TC program: sk_lookup still serves, but nothing is counted or filtered";
        push(findings, Severity::Warning, name, text, "look at the agent's log for the error on this device");
    }
    let ours = facts.programs.iter().filter(|program| program.ours);
    if let Some(id) = device.xdp.filter(|id| ours.clone().all(|program| program.id != *id)) {
        let text = format!("carries a foreign XDP program (id {id}); it sees VIP packets before us");
        push(
            findings,
            Severity::Info,
            name,
            text,
            "XDP of Gatehouse cannot be attached to this device beside it",
        );
    }
}

fn programs(facts: &Facts, findings: &mut Vec<Finding>) {
    if let Some(error) = &facts.programs_error {
        let remedy = "run as root, or with CAP_BPF, CAP_SYS_ADMIN and CAP_NET_ADMIN";
        push(findings, Severity::Warning, "programs", format!("cannot be listed: {error}"), remedy);
        return;
    }
    let lookup = facts.programs.iter().find(|program| program.ours && program.hook == "sk_lookup");
    if facts.pinned && lookup.is_none() {
        let text = "is not attached: connections from the node and its Pods are refused";
        push(findings, Severity::Error, PROGRAM_LOOKUP, text, "restart gateway-agent");
    }
    for program in facts.programs.iter().filter(|program| !program.ours) {
        let at = program.device.as_ref().map_or_else(String::new, |device| format!(" on {device}"));
        let subject = format!("program {} (id {})", program.name, program.id);
        let (position, of) = program.position.unwrap_or((0, 0));
        let text = format!("shares {}{at}, number {position} of {of}", program.hook);
        // The last sk_lookup program that selects a socket wins; at TC the first decides.
        let ours = facts
            .programs
            .iter()
            .find(|other| other.ours && other.hook == program.hook && other.device == program.device);
        let before_us = ours.and_then(|ours| ours.position).is_some_and(|(place, _)| position < place);
        let wins = if program.hook == "sk_lookup" { !before_us } else { before_us };
        if wins {
            let remedy =
                "restart gateway-agent to take its place again, or see what the program does to VIPs";
            push(findings, Severity::Warning, &subject, format!("{text}: it can overrule us"), remedy);
        } else {
            push(findings, Severity::Info, &subject, text, "");
        }
    }
}

fn sysctls(facts: &Facts, findings: &mut Vec<Finding>) {
    let value = |name: &str| facts.sysctls.get(name).map(String::as_str);
    let number = |name: &str| value(name).and_then(|value| value.parse::<u64>().ok());
    arp(facts, findings);
    let strict = facts.sysctls.iter().filter(|(name, value)| name.ends_with("rp_filter") && *value == "1");
    for (name, _) in strict {
        let text =
            "strict: fine for VIPs, but packets that come in by another way than answers go out are dropped";
        push(findings, Severity::Info, name, text, format!("sysctl -w {name}=2 where routing is asymmetric"));
    }
    if number("net.ipv4.conf.all.src_valid_mark") == Some(1) {
        let text = "set, as VPN software does; no mark is used here, so VIPs do not suffer";
        push(findings, Severity::Info, "net.ipv4.conf.all.src_valid_mark", text, "");
    }
    if number("net.ipv4.tcp_syncookies") == Some(0) {
        let text = "off: a SYN flood fills the listeners' queues and clients are lost";
        push(
            findings,
            Severity::Warning,
            "net.ipv4.tcp_syncookies",
            text,
            "sysctl -w net.ipv4.tcp_syncookies=1",
        );
    }
    if let Some(somaxconn) = number("net.core.somaxconn").filter(|n| *n < 1024) {
        let text = format!("{somaxconn}: bursts of new connections overflow the accept queues");
        push(findings, Severity::Warning, "net.core.somaxconn", text, "sysctl -w net.core.somaxconn=4096");
    }
    if number("net.ipv6.conf.all.disable_ipv6") == Some(1) {
        let text = "IPv6 is off: VIPs of that family are not served";
        push(
            findings,
            Severity::Warning,
            "net.ipv6.conf.all.disable_ipv6",
            text,
            "sysctl -w net.ipv6.conf.all.disable_ipv6=0",
        );
    }
    for family in ["iptables", "ip6tables"] {
        let name = format!("net.bridge.bridge-nf-call-{family}");
        if number(&name) == Some(1) && facts.devices.iter().any(|device| device.kind == "bridge") {
            let text =
                "bridged packets pass netfilter; rules of the FORWARD chain may drop what is for a VIP";
            push(findings, Severity::Info, &name, text, "");
        }
    }
    local_ports(facts, findings);
}

/// A kernel that answers ARP for VIPs on every node is the classic of two nodes that fight for an address.
fn arp(facts: &Facts, findings: &mut Vec<Finding>) {
    let number = |name: &str| facts.sysctls.get(name).and_then(|value| value.parse::<u8>().ok()).unwrap_or(0);
    let all = number("net.ipv4.conf.all.arp_ignore");
    for device in &facts.devices {
        let name = format!("net.ipv4.conf.{}.arp_ignore", device.name.replace('.', "/"));
        if all.max(number(&name)) == 0 {
            let text = "0: this node answers ARP for every VIP that it serves, whoever owns the address";
            let remedy = format!("on a network shared with other nodes: sysctl -w {name}=1");
            push(findings, Severity::Info, &name, text, remedy);
        }
    }
}

/// UDP listeners are bound to their port; a client socket that the kernel gave the same one would be in the way.
fn local_ports(facts: &Facts, findings: &mut Vec<Finding>) {
    let name = "net.ipv4.ip_local_port_range";
    let Some((low, high)) = facts.sysctls.get(name).and_then(|value| value.split_once(' ')) else { return };
    let (Ok(low), Ok(high)) = (low.parse::<u16>(), high.parse::<u16>()) else { return };
    let inside: Vec<String> = facts
        .ports
        .iter()
        .filter(|(proto, port)| *proto == Proto::Udp && (low..=high).contains(port))
        .map(|(_, port)| port.to_string())
        .collect();
    if !inside.is_empty() {
        let ports = inside.join(",");
        let text =
            format!("{low} to {high} contains the UDP listener ports {ports}: a client socket may take them");
        let remedy = format!("sysctl -w net.ipv4.ip_local_reserved_ports={ports}");
        push(findings, Severity::Warning, name, text, remedy);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::datapath::Features;
    use crate::datapath::programs::Program;

    fn program(
        name: &str,
        hook: &str,
        device: Option<&str>,
        position: (usize, usize),
        ours: bool,
    ) -> Program {
        Program {
            name: name.into(),
            id: 7 + position.0 as u32,
            hook: hook.into(),
            device: device.map(Into::into),
            position: Some(position),
            ours,
            verified_instructions: None,
            jitted_bytes: 0,
            run_count: 0,
            run_time_ns: 0,
        }
    }

    fn healthy() -> Facts {
        let sysctls = [
            ("net.ipv4.conf.all.arp_ignore", "1"),
            ("net.ipv4.conf.all.rp_filter", "2"),
            ("net.ipv4.tcp_syncookies", "1"),
            ("net.core.somaxconn", "4096"),
            ("net.ipv4.ip_local_port_range", "32768 60999"),
        ];
        Facts {
            kernel: "6.18.0".into(),
            features: Some(Features { tcx: true, sk_lookup: true, assign_reuseport: true }),
            sysctls: sysctls.map(|(name, value)| (name.into(), value.into())).into(),
            bpffs: true,
            pin_root: "/sys/fs/bpf/gatehouse".into(),
            pinned: true,
            devices: vec![DeviceFacts {
                name: "eth0".into(),
                mtu: 1500,
                up: true,
                carrier: true,
                attached: true,
                ..DeviceFacts::default()
            }],
            programs: vec![
                program("gh_lookup", "sk_lookup", None, (1, 1), true),
                program("gh_ingress", "tcx ingress", Some("eth0"), (1, 1), true),
            ],
            ports: vec![(Proto::Tcp, 40_000), (Proto::Udp, 53)],
            ..Facts::default()
        }
    }

    /// Subjects of what is worse than information.
    fn subjects(facts: &Facts) -> Vec<(Severity, String)> {
        let findings = check(facts);
        assert!(
            findings.iter().all(|f| f.severity == Severity::Info || !f.remedy.is_empty()),
            "{findings:?}"
        );
        findings
            .into_iter()
            .filter(|f| f.severity > Severity::Info)
            .map(|f| (f.severity, f.subject))
            .collect()
    }

    #[test]
    fn a_healthy_node_has_nothing_to_do() {
        assert_eq!(subjects(&healthy()), []);
    }

    #[test]
    fn each_trap_is_found() {
        type Break = fn(&mut Facts);
        let cases: [(Break, Severity, &str); 12] = [
            (
                |f| f.features = Some(Features { tcx: false, sk_lookup: false, assign_reuseport: false }),
                Severity::Error,
                "kernel",
            ),
            (|f| f.bpffs = false, Severity::Error, "bpffs"),
            (|f| f.programs.truncate(0), Severity::Error, "gh_lookup"),
            (|f| f.devices[0].carrier = false, Severity::Warning, "eth0"),
            (|f| f.devices[0].attached = false, Severity::Warning, "eth0"),
            (|f| f.devices.clear(), Severity::Warning, "devices"),
            (|f| f.programs_error = Some("EPERM".into()), Severity::Warning, "programs"),
            (|f| put(f, "net.ipv4.tcp_syncookies", "0"), Severity::Warning, "net.ipv4.tcp_syncookies"),
            (|f| put(f, "net.core.somaxconn", "128"), Severity::Warning, "net.core.somaxconn"),
            (
                |f| put(f, "net.ipv6.conf.all.disable_ipv6", "1"),
                Severity::Warning,
                "net.ipv6.conf.all.disable_ipv6",
            ),
            (|f| f.ports.push((Proto::Udp, 40_000)), Severity::Warning, "net.ipv4.ip_local_port_range"),
            (
                |f| f.programs.push(program("tubular", "sk_lookup", None, (2, 2), false)),
                Severity::Warning,
                "program tubular (id 9)",
            ),
        ];
        for (n, (spoil, severity, subject)) in cases.into_iter().enumerate() {
            let mut facts = healthy();
            spoil(&mut facts);
            assert_eq!(subjects(&facts), [(severity, subject.to_owned())], "case {n}");
        }
    }

    fn put(facts: &mut Facts, name: &str, value: &str) {
        facts.sysctls.insert(name.into(), value.into());
    }

    #[test]
    fn foreign_programs_matter_by_their_place() {
        let mut facts = healthy();
        facts.programs.push(program("cil_from_netdev", "tcx ingress", Some("eth0"), (2, 2), false));
        assert_eq!(subjects(&facts), [], "behind us at TC");
        facts.programs[2].position = Some((0, 2));
        assert_eq!(subjects(&facts).len(), 1, "before us at TC");
    }

    #[test]
    fn the_worst_comes_first() {
        let mut facts = healthy();
        facts.bpffs = false;
        put(&mut facts, "net.ipv4.tcp_syncookies", "0");
        put(&mut facts, "net.ipv4.conf.all.src_valid_mark", "1");
        let severities: Vec<Severity> = check(&facts).into_iter().map(|finding| finding.severity).collect();
        assert!(severities.windows(2).all(|pair| pair[0] >= pair[1]), "{severities:?}");
        assert_eq!(severities[0], Severity::Error);
    }
}
