//! Namespaces, cables and addresses, by ip(8).

use std::ffi::OsString;
use std::fs::{self, Metadata};
use std::io::Write as _;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};

use super::hosts::{Host, Interface, SWITCH, Segment};
use super::place::{NAMESPACES, Name};
use super::process::{Identity, end_all, others};
use super::record::{Effect, Record};

/// A network behind a host: its CIDR and that host's address of the same family.
pub(crate) struct Behind {
    pub(crate) cidr: String,
    pub(crate) gateway: String,
}

pub(crate) struct Network<'a> {
    pub(crate) cluster: &'a Name,
    pub(crate) record: &'a Record,
}

impl Network<'_> {
    /// The two segments and everybody on them but the nodes.
    pub(crate) fn lay_out(&self) -> Result<()> {
        self.namespace(SWITCH)?;
        let bridges = [Segment::Lan, Segment::Far].map(|segment| {
            let bridge = segment.bridge();
            format!("link add {bridge} type bridge mcast_snooping 0\nlink set {bridge} up\n")
        });
        self.ip(SWITCH, &bridges.concat())?;
        let [client, far_client] = Host::clients();
        [Host::router(), Host::control(), client, far_client].iter().try_for_each(|host| self.add(host))
    }

    /// A host in a namespace of its own, plugged in.
    pub(crate) fn add(&self, host: &Host) -> Result<()> {
        self.namespace(&host.name)?;
        self.sysctls(&host.name, if host.forwards { FORWARD } else { QUIET })?;
        for interface in &host.interfaces {
            self.plug(host, interface)?;
        }
        if host.interfaces.len() == 1 {
            let (v4, v6) = host.interfaces[0].segment.router();
            self.ip(&host.name, &format!("route add default via {v4}\nroute add default via {v6}\n"))?;
        }
        Ok(())
    }

    /// Takes a host off the network with everything in its namespace; it may be gone already.
    pub(crate) fn remove(&self, host: &str) -> Result<()> {
        // The kernel takes a namespace apart later, and its end of the cable with it: until then the name is taken.
        let _unplugged = self.ip(SWITCH, &format!("link delete {host}\n"));
        delete_namespace(&self.cluster.netns(host))
    }

    /// Has `host` reach networks that lie behind others.
    pub(crate) fn route(&self, host: &str, networks: &[Behind]) -> Result<()> {
        let line = |Behind { cidr, gateway }: &Behind| format!("route replace {cidr} via {gateway}\n");
        self.ip(host, &networks.iter().map(line).collect::<String>())
    }

    /// Whether the switch gives `node` a carrier.
    pub(crate) fn set_carrier(&self, node: &str, up: bool) -> Result<()> {
        self.ip(SWITCH, &format!("link set {node} {}\n", if up { "up" } else { "down" }))
    }

    /// Whether the switch passes on what `node` sends, and the reverse; the carrier stays.
    pub(crate) fn set_connected(&self, node: &str, connected: bool) -> Result<()> {
        let bridge = Segment::Lan.bridge();
        let master = if connected { format!("master {bridge}") } else { "nomaster".to_owned() };
        self.ip(SWITCH, &format!("link set {node} {master}\n"))
    }

    /// Carrier and connection of a node's port; None when it is not plugged in.
    pub(crate) fn port(&self, node: &str) -> Option<(bool, bool)> {
        let netns = self.cluster.netns(SWITCH);
        let output =
            Command::new("ip").args(["-n", &netns, "-o", "link", "show", "dev", node]).output().ok()?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let flags = text.split_once('<')?.1.split_once('>')?.0;
        Some((flags.split(',').any(|flag| flag == "UP"), text.contains(" master ")))
    }

    fn namespace(&self, host: &str) -> Result<()> {
        let name = self.cluster.netns(host);
        self.record.note(&Effect::Netns(name.clone()))?;
        run(Command::new("ip").args(["netns", "add", &name]))?;
        self.ip(host, "link set lo up\n")
    }

    fn plug(&self, host: &Host, interface: &Interface) -> Result<()> {
        let Interface { device, segment, v4, v6 } = interface;
        let (port, netns, bridge) =
            (interface.port(&host.name), self.cluster.netns(&host.name), segment.bridge());
        self.ip(
            SWITCH,
            &format!(
                "link add {port} type veth peer name {device} address {} netns {netns}\n\
                 link set {port} master {bridge} up\n",
                interface.mac()
            ),
        )?;
        self.ip(
            &host.name,
            &format!(
                "addr add {v4}/24 dev {device}\naddr add {v6}/64 dev {device} nodad\nlink set {device} up\n"
            ),
        )
    }

    fn sysctls(&self, host: &str, settings: &str) -> Result<()> {
        let file = self.cluster.netns_path(host);
        let script = r#"while read -r key value; do echo "$value" >"/proc/sys/net/$key"; done"#;
        let mut command = Command::new("nsenter");
        command.args(in_network(&file)).args(["sh", "-ec", script]);
        feed(&mut command, settings)
    }

    /// Runs `ip -n` with each line of `script`, which ends at the first that fails.
    fn ip(&self, host: &str, script: &str) -> Result<()> {
        let netns = self.cluster.netns(host);
        let mut command = Command::new("ip");
        feed(command.args(["-n", &netns, "-batch", "-"]), script).with_context(|| script.to_owned())
    }
}

/// A test need not wait for duplicate address detection.
const QUIET: &str = "ipv6/conf/default/accept_dad 0\n";
const FORWARD: &str = "ipv6/conf/default/accept_dad 0\nipv4/ip_forward 1\nipv6/conf/all/forwarding 1\nipv6/conf/default/forwarding 1\n";

/// Arguments of nsenter(1) for a network namespace; `/sys` and the cgroups stay as they are, unlike with `ip netns exec`.
pub(crate) fn in_network(file: &Path) -> [OsString; 1] {
    let mut argument = OsString::from("--net=");
    argument.push(file);
    [argument]
}

/// Takes the name away and ends who is still inside: a command of a user, or of an `up` that was killed, is in no cgroup of
/// the cluster and would keep the namespace and its mounts.
pub(crate) fn delete_namespace(name: &str) -> Result<()> {
    let Ok(file) = fs::metadata(Path::new(NAMESPACES).join(name)) else { return Ok(()) };
    end_all(|process| is_inside(process, &file)).with_context(|| format!("empty namespace {name}"))?;
    run(Command::new("ip").args(["netns", "delete", name]))
}

/// Processes, but not this one, in the network namespace of that name.
pub(crate) fn inside(name: &str) -> Vec<Identity> {
    let file = fs::metadata(Path::new(NAMESPACES).join(name));
    file.map_or(Vec::new(), |file| others(|process| is_inside(process, &file)))
}

fn is_inside(process: &Path, namespace: &Metadata) -> bool {
    // Unlike other inodes, those of namespaces are of one file system.
    fs::metadata(process.join("ns/net")).is_ok_and(|own| own.ino() == namespace.ino())
}

/// Names of all network namespaces that are some cluster's.
pub(crate) fn namespaces() -> Vec<String> {
    let entries = fs::read_dir(NAMESPACES).into_iter().flatten().flatten();
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    names.filter(|netns| Name::of_netns(netns).is_some()).collect()
}

/// Networks behind a node, each by the address of its family.
pub(crate) fn behind(cidrs: &[String], (v4, v6): (Ipv4Addr, Ipv6Addr)) -> Vec<Behind> {
    let gateway = |cidr: &String| if cidr.contains(':') { v6.to_string() } else { v4.to_string() };
    cidrs.iter().map(|cidr| Behind { cidr: cidr.clone(), gateway: gateway(cidr) }).collect()
}

fn run(command: &mut Command) -> Result<()> {
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("start {command:?}"))?;
    ensure!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr).trim());
    Ok(())
}

fn feed(command: &mut Command, input: &str) -> Result<()> {
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().with_context(|| format!("start {command:?}"))?;
    let written = child.stdin.take().context("no standard input")?.write_all(input.as_bytes());
    let output = child.wait_with_output()?;
    ensure!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr).trim());
    written.with_context(|| format!("write to {command:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cidr_lies_behind_the_address_of_its_family() {
        let networks = behind(&["10.244.1.0/24".into(), "fd00:244::/64".into()], Host::node(1).addresses());
        let pairs: Vec<_> = networks.iter().map(|n| (n.cidr.as_str(), n.gateway.as_str())).collect();
        assert_eq!(pairs, [("10.244.1.0/24", "172.30.0.11"), ("fd00:244::/64", "fd00:30::11")]);
    }
}
