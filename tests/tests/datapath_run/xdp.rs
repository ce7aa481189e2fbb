//! `gh_xdp`: drops by the deny list and for ports without listener, and passes whatever it does not understand.

use std::net::SocketAddr;

use gatehouse_tests::packet::{ACK, SYN, ethernet};
use gatehouse_tests::topology::{CLIENT_V4, CLIENT_V6, NODE_V4, NODE_V6};
use gateway_common::abi::{ALLOWED, DENIED, Reason};

use crate::run::{Bench, CLOSED, DNS, HTTPS, Hook, VIPS, XDP_DROP, XDP_PASS, tcp, tcp_with, udp};

const XDP: Hook = Hook::Xdp;

#[test]
fn ports_with_a_listener_pass_and_others_do_not() {
    let mut bench = Bench::new();
    for (address, _) in VIPS {
        bench.check(XDP, &tcp(address, HTTPS).bytes(), XDP_PASS, None, 0);
        bench.check(XDP, &udp(address, DNS).bytes(), XDP_PASS, None, 0);
        for frame in [tcp(address, CLOSED), udp(address, CLOSED), udp(address, CLOSED).tags(&[0x8100])] {
            bench.check(XDP, &frame.bytes(), XDP_DROP, Some(Reason::XdpNoListener), 0);
        }
    }
    let frame = tcp(VIPS[0].0, CLOSED).options(10).tags(&[0x88a8, 0x8100]).bytes();
    bench.check(XDP, &frame, XDP_DROP, Some(Reason::XdpNoListener), 0);
}

#[test]
fn connections_outlive_their_listener() {
    let mut bench = Bench::new();
    for (address, _) in VIPS {
        for flags in [ACK, SYN | ACK, 0x04, 0x11] {
            let frame = tcp_with(SocketAddr::new(address, CLOSED), flags);
            bench.check(XDP, &frame.bytes(), XDP_PASS, None, 0);
        }
    }
}

#[test]
fn denied_sources_reach_no_vip_but_the_node() {
    let mut bench = Bench::new();
    bench.datapath().deny("192.0.2.0".parse().unwrap(), 24, DENIED).unwrap();
    bench.datapath().deny(CLIENT_V6, 128, DENIED).unwrap();
    for (address, _) in VIPS {
        for frame in [tcp(address, HTTPS), udp(address, DNS), udp(address, DNS).fragment(9, false)] {
            bench.check(XDP, &frame.bytes(), XDP_DROP, Some(Reason::Denied), 0);
        }
    }
    for node in [NODE_V4, NODE_V6] {
        bench.check(XDP, &tcp(node, 22).bytes(), XDP_PASS, None, 0);
    }
}

#[test]
fn a_prefix_denies_its_own_family_only() {
    let mut bench = Bench::new();
    bench.datapath().deny("0.0.0.0".parse().unwrap(), 0, DENIED).unwrap();
    bench.check(XDP, &tcp(VIPS[0].0, HTTPS).bytes(), XDP_DROP, Some(Reason::Denied), 0);
    bench.check(XDP, &tcp(VIPS[1].0, HTTPS).bytes(), XDP_PASS, None, 0);
    let mut bench = Bench::new();
    let neighbour = if let std::net::IpAddr::V4(v4) = CLIENT_V4 { u32::from(v4) ^ 1 } else { 0 };
    bench.datapath().deny(std::net::Ipv4Addr::from(neighbour).into(), 32, DENIED).unwrap();
    bench.check(XDP, &tcp(VIPS[0].0, HTTPS).bytes(), XDP_PASS, None, 0);
}

#[test]
fn an_exception_holds_against_a_shorter_prefix() {
    let mut bench = Bench::new();
    bench.datapath().deny(std::net::Ipv6Addr::UNSPECIFIED.into(), 0, DENIED).unwrap();
    bench.datapath().deny(std::net::Ipv4Addr::UNSPECIFIED.into(), 0, ALLOWED).unwrap();
    bench.check(XDP, &tcp(VIPS[0].0, HTTPS).bytes(), XDP_PASS, None, 0);
    bench.check(XDP, &tcp(VIPS[1].0, HTTPS).bytes(), XDP_DROP, Some(Reason::Denied), 0);
    bench.datapath().deny(CLIENT_V4, 32, DENIED).unwrap();
    bench.check(XDP, &tcp(VIPS[0].0, HTTPS).bytes(), XDP_DROP, Some(Reason::Denied), 0);
}

#[test]
fn it_fails_open() {
    let mut bench = Bench::new();
    for (address, _) in VIPS {
        let whole = tcp(address, CLOSED).bytes();
        // Up to the flags, which say that the packet opens a connection.
        for length in 14..whole.len() - 6 {
            bench.check(XDP, &whole[..length], XDP_PASS, None, 0);
        }
        for (offset, more) in [(0, true), (185, false)] {
            bench.check(XDP, &udp(address, CLOSED).fragment(offset, more).bytes(), XDP_PASS, None, 0);
        }
        if address.is_ipv6() {
            bench.check(XDP, &udp(address, CLOSED).extension(60, 0).bytes(), XDP_PASS, None, 0);
        }
        bench.check(XDP, &tcp(address, CLOSED).tags(&[0x8100; 3]).bytes(), XDP_PASS, None, 0);
    }
    bench.check(XDP, &ethernet([0xff; 6], &[], 0x0806, &[0; 28]), XDP_PASS, None, 0);
    for node in [NODE_V4, NODE_V6] {
        bench.check(XDP, &tcp(node, CLOSED).bytes(), XDP_PASS, None, 0);
    }
}
