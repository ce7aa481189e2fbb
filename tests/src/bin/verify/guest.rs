//! The agent's datapath in a kernel that nobody has prepared: loads, attaches, and carries a connection and a datagram
//! of each family.

use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use gatehouse_tests::matrix::{self, Asked};
use gatehouse_tests::serving::{self, Answering, Seen, Vips};
use gatehouse_tests::topology::{CLIENT_V4, CLIENT_V6, Topology, Uplink, vip_v4, vip_v6};
use gateway_agent::datapath::programs::Filters;
use gateway_agent::datapath::view::{PortView, View};
use gateway_agent::datapath::{Config, Features, XdpKind};
use gateway_agent::device::Globs;

const TCP: u16 = 443;
const UDP: u16 = 53;
const CLOSED: u16 = 81;

/// Prints what was carried and who chose the socket.
pub(crate) fn carry() -> Result<()> {
    for uplink in [Uplink::Plain, Uplink::Vlan, Uplink::QinQ, Uplink::Bridge, Uplink::Bond] {
        if uplink.available()? {
            carry_over(uplink, None).with_context(|| format!("over {uplink:?}"))?;
        } else {
            println!("{uplink:?}: not run, this kernel has no such device");
        }
    }
    for xdp in [XdpKind::Generic, XdpKind::Native] {
        carry_over(Uplink::Plain, Some(xdp)).with_context(|| format!("with XDP {}", xdp.name()))?;
    }
    Ok(())
}

fn carry_over(uplink: Uplink, xdp: Option<XdpKind>) -> Result<()> {
    let vips = Vips {
        gateway: "default/web",
        addresses: vec![vip_v4(10), vip_v6(10)],
        tcp: vec![TCP],
        udp: vec![UDP],
    };
    let desired = vips.desired();
    let topology = Topology::new(uplink)?;
    let answering = Answering::start(&topology.node, &desired)?;
    let mut datapath = serving::open(&topology.node, &Config { xdp, ..Config::default() })?;
    let devices =
        serving::apply(&topology.node, &mut datapath, &desired, &answering.sockets, &Globs::default())?;
    let features = datapath.features();
    let attached = if features.tcx { "tcx" } else { "netlink" };
    println!("{uplink:?}: attached to {} by {attached}", devices.join(", "));
    if let Some(xdp) = xdp {
        attached_xdp(&topology, xdp)?;
    }
    for (vip, client) in [(vip_v4(10), CLIENT_V4), (vip_v6(10), CLIENT_V6)] {
        let tcp = SocketAddr::new(vip, TCP);
        let seen = topology.client.run(|| serving::connect(tcp)).context("a connection")?;
        check(seen, tcp, client)?;
        let udp = SocketAddr::new(vip, UDP);
        let seen = topology.client.run(|| serving::exchange(udp)).context("a datagram")?;
        check(seen, udp, client)?;
    }
    // A VLAN and a bond are not to be had on every kernel that tests run on.
    if matches!(uplink, Uplink::Vlan | Uplink::Bond) {
        let asked =
            Asked { vips: [vip_v4(10), vip_v6(10)], connect: serving::connect, exchange: serving::exchange };
        matrix::run(&topology, &asked)?;
        println!("{uplink:?}: whoever asks, under whatever sysctls");
        return Ok(());
    }
    let views = View::open(&topology.node.bpffs().join("gatehouse"))?.vips()?;
    for vip in views {
        for port in &vip.ports {
            println!(
                "{uplink:?}: {} {} {}: {} packets, {} to the connection, {} to the listener, {} by sk_lookup",
                vip.address,
                port.protocol,
                port.port,
                port.packets,
                port.established,
                port.listener,
                port.lookup
            );
            chosen_rightly(features, port).with_context(|| format!("{} {}", vip.address, port.port))?;
        }
    }
    Ok(())
}

/// Which a closed port shows: XDP is silent where the stack refuses.
fn attached_xdp(topology: &Topology, xdp: XdpKind) -> Result<()> {
    let hook = format!("xdp {}", xdp.name());
    let view = View::open(&topology.node.bpffs().join("gatehouse"))?;
    let programs = topology.node.run(|| view.programs(&Filters::default()))?;
    ensure!(programs.iter().any(|program| program.ours && program.hook == hook), "no {hook} in {programs:?}");
    let closed = SocketAddr::new(vip_v4(10), CLOSED);
    let refused = topology.client.run(|| TcpStream::connect_timeout(&closed, Duration::from_millis(500)));
    let silent = refused.is_err_and(|error| error.kind() == ErrorKind::TimedOut);
    ensure!(silent, "{hook} let an attempt to open a closed port through");
    let count =
        view.drops()?.into_iter().find(|drop| drop.reason == "xdp_no_listener").map(|drop| drop.count);
    ensure!(count > Some(0), "{hook} counted no drop");
    println!("{hook}: drops what nobody listens for");
    Ok(())
}

fn check(seen: Seen, vip: SocketAddr, client: IpAddr) -> Result<()> {
    ensure!(seen.local == vip, "the socket says it is {}, not {vip}", seen.local);
    ensure!(
        seen.peer == seen.client && seen.peer.ip() == client,
        "the socket sees {} for {}",
        seen.peer,
        seen.client
    );
    Ok(())
}

/// TC chooses where the kernel lets it, and the stack elsewhere.
fn chosen_rightly(features: Features, port: &PortView) -> Result<()> {
    let (tc, stack) = (port.listener > 0, port.lookup > 0);
    ensure!(port.dropped == 0, "{} packets were dropped", port.dropped);
    ensure!(
        (tc, stack) == (features.assign_reuseport, !features.assign_reuseport),
        "chosen at TC: {tc}, by sk_lookup: {stack}, although the kernel {} assign",
        if features.assign_reuseport { "can" } else { "cannot" }
    );
    Ok(())
}
