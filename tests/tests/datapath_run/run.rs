//! One packet through one program, and what it left in the counters.

use std::net::{IpAddr, SocketAddr, TcpListener};

use aya::{TestRun, TestRunOptions};
use gatehouse_tests::datapath::{Datapath, Options};
use gatehouse_tests::netns::Netns;
use gatehouse_tests::packet::{Frame, Payload, SYN};
use gatehouse_tests::topology::{CLIENT_V4, CLIENT_V6, vip_v4, vip_v6};
use gateway_common::abi::{NoListener, Port, PortCounters, Proto, Reason};

/// TC's verdicts, as their bits are returned.
pub(crate) const NEXT: u32 = u32::MAX;
pub(crate) const SHOT: u32 = 2;
/// XDP's verdicts.
pub(crate) const XDP_DROP: u32 = 1;
pub(crate) const XDP_PASS: u32 = 2;

/// The ports that have a listener.
pub(crate) const HTTPS: u16 = 443;
pub(crate) const DNS: u16 = 53;
/// A port that has none.
pub(crate) const CLOSED: u16 = 444;

/// A VIP that rejects, and one that drops.
pub(crate) const VIPS: [(IpAddr, NoListener); 4] = [
    (vip_v4(10), NoListener::Reject),
    (vip_v6(0x10), NoListener::Reject),
    (vip_v4(11), NoListener::Drop),
    (vip_v6(0x11), NoListener::Drop),
];

#[derive(Clone, Copy)]
pub(crate) enum Hook {
    Ingress,
    Xdp,
}

/// The programs with VIPs, ports and a listening socket in a namespace of their own.
pub(crate) struct Bench {
    datapath: Datapath,
    netns: Netns,
    _listeners: Vec<TcpListener>,
}

impl Bench {
    pub(crate) fn new() -> Self {
        Self::with(Options::of_this_kernel())
    }

    pub(crate) fn with(options: Options) -> Self {
        let netns = Netns::new("run").unwrap();
        let mut datapath = Datapath::load(options).unwrap();
        let mut listeners = Vec::new();
        for (index, (address, no_listener)) in (0..).zip(VIPS) {
            datapath.set_vip(address, no_listener).unwrap();
            let loopback = if address.is_ipv4() { "127.0.0.1:0" } else { "[::1]:0" };
            let listener = netns.run(|| TcpListener::bind(loopback)).unwrap();
            datapath.set_socket(index, &listener).unwrap();
            listeners.push(listener);
            let port = Port { slot: index, counter: index };
            datapath.set_port(address, HTTPS, Proto::Tcp, port).unwrap();
            // There is no socket in its slot.
            let port = Port { slot: 100 + index, counter: 10 + index };
            datapath.set_port(address, DNS, Proto::Udp, port).unwrap();
        }
        Self { datapath, netns, _listeners: listeners }
    }

    pub(crate) fn datapath(&mut self) -> &mut Datapath {
        &mut self.datapath
    }

    /// Runs the program, and returns its verdict.
    #[track_caller]
    pub(crate) fn run(&mut self, hook: Hook, frame: &[u8]) -> u32 {
        let options = TestRunOptions { data_in: Some(frame), ..TestRunOptions::default() };
        let datapath = &mut self.datapath;
        let result = self.netns.run(move || match hook {
            Hook::Ingress => datapath.ingress().unwrap().test_run(options),
            Hook::Xdp => datapath.xdp().unwrap().test_run(options),
        });
        result.unwrap().return_value
    }

    /// Runs the program, and compares verdict, reasons and packets counted at VIP ports with what is expected.
    #[track_caller]
    pub(crate) fn check(
        &mut self,
        hook: Hook,
        frame: &[u8],
        verdict: u32,
        reason: Option<Reason>,
        counted: u64,
    ) {
        let before = self.datapath.reasons().unwrap();
        let packets = self.packets();
        assert_eq!(self.run(hook, frame), verdict, "verdict of {frame:02x?}");
        let after = self.datapath.reasons().unwrap();
        for known in Reason::ALL {
            let grown = after.get(&known).unwrap_or(&0) - before.get(&known).unwrap_or(&0);
            assert_eq!(grown, u64::from(reason == Some(known)), "{} after {frame:02x?}", known.name());
        }
        assert_eq!(self.packets() - packets, counted, "packets counted after {frame:02x?}");
    }

    /// Packets over all ports.
    fn packets(&mut self) -> u64 {
        (0..4).chain(10..14).map(|index| self.counters(index).packets).sum()
    }

    pub(crate) fn counters(&mut self, index: u32) -> PortCounters {
        self.datapath.counters(index).unwrap()
    }
}

/// The client of an address's family.
pub(crate) fn client(of: IpAddr) -> IpAddr {
    if of.is_ipv4() { CLIENT_V4 } else { CLIENT_V6 }
}

pub(crate) fn tcp(address: IpAddr, port: u16) -> Frame {
    tcp_with(SocketAddr::new(address, port), SYN)
}

pub(crate) fn tcp_with(to: SocketAddr, flags: u8) -> Frame {
    Frame::new(client(to.ip()), to.ip(), Payload::Tcp { source: 40_000, destination: to.port(), flags })
}

pub(crate) fn udp(address: IpAddr, port: u16) -> Frame {
    Frame::new(client(address), address, Payload::Udp { source: 40_000, destination: port })
}
