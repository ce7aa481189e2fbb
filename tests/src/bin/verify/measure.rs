//! What one packet costs, by BPF_PROG_TEST_RUN.

use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};

use anyhow::{Context as _, Result};
use aya::programs::SchedClassifier;
use aya::{TestRun, TestRunOptions};
use gatehouse_tests::datapath::{Datapath, Options};
use gatehouse_tests::netns::Netns;
use gatehouse_tests::packet::{ACK, Frame, Payload, SYN};
use gatehouse_tests::topology::{CLIENT_V4, CLIENT_V6, NODE_V4, NODE_V6, vip_v4, vip_v6};
use gateway_common::abi::{NoListener, Port, Proto};

const HTTPS: u16 = 443;
const RUNS: u32 = 1_000_000;
const ROUNDS: usize = 5;

/// Prints nanoseconds per packet. A test run is refused the assignment itself, so that is not in them.
pub(crate) fn print() -> Result<()> {
    let netns = Netns::new("measure")?;
    let mut datapath = Datapath::load(Options::of_this_kernel())?;
    netns.run(|| datapath.attach_lookup(std::fs::File::open("/proc/thread-self/ns/net")?))?;
    println!("{:<34} {:>9}", "packet at gh_ingress", "ns");
    for (family, vip, node, client) in
        [("IPv4", vip_v4(10), NODE_V4, CLIENT_V4), ("IPv6", vip_v6(10), NODE_V6, CLIENT_V6)]
    {
        netns.ip(&format!("route add local {vip} dev lo"))?;
        datapath.set_vip(vip, NoListener::Drop)?;
        let listener = netns.run(|| TcpListener::bind(SocketAddr::new(loopback(vip), 0)))?;
        datapath.set_socket(0, &listener)?;
        datapath.set_port(vip, HTTPS, Proto::Tcp, Port { slot: 0, counter: 0 })?;
        let stream = netns.run(|| TcpStream::connect(SocketAddr::new(vip, HTTPS)))?;
        let peer = stream.local_addr()?;
        let tcp = |from: SocketAddr, to: IpAddr, port, flags| {
            Frame::new(from.ip(), to, Payload::Tcp { source: from.port(), destination: port, flags }).bytes()
        };
        let from = SocketAddr::new(client, 40_000);
        let packets = [
            ("not ours", tcp(from, node, 22, ACK)),
            ("of a connection", tcp(peer, vip, HTTPS, ACK)),
            ("new, to the listener", tcp(from, vip, HTTPS, SYN)),
            ("no listener, dropped", tcp(from, vip, 444, SYN)),
        ];
        for (name, packet) in packets {
            let nanoseconds = netns.run(|| fastest(datapath.ingress()?, &packet))?;
            println!("{:<34} {nanoseconds:>9}", format!("{family}, {name}"));
        }
    }
    Ok(())
}

fn loopback(of: IpAddr) -> IpAddr {
    if of.is_ipv4() { [127, 0, 0, 1].into() } else { std::net::Ipv6Addr::LOCALHOST.into() }
}

/// The fastest of some rounds: the others met an interrupt or a neighbour.
fn fastest(program: &SchedClassifier, packet: &[u8]) -> Result<u128> {
    let mut best = u128::MAX;
    for _ in 0..ROUNDS {
        let options = TestRunOptions { data_in: Some(packet), repeat: RUNS, ..TestRunOptions::default() };
        best = best.min(program.test_run(options).context("run gh_ingress")?.duration.as_nanos());
    }
    Ok(best)
}
