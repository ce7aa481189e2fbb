//! `gh_ingress`, header by header. A test run is not at TC ingress for the kernel, so it refuses assignments there:
//! `delivery` shows them. What is chosen shows here as counted packets and verdicts.

use std::net::IpAddr;

use gatehouse_tests::datapath::Options;
use gatehouse_tests::packet::{Frame, Payload, ethernet};
use gateway_common::abi::{NoListener, Reason};

use crate::run::{Bench, CLOSED, DNS, HTTPS, Hook, NEXT, SHOT, VIPS, client, tcp, udp};

const INGRESS: Hook = Hook::Ingress;
const VLAN: u16 = 0x8100;
const QINQ: u16 = 0x88a8;

/// Extension headers by their numbers.
const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const AUTHENTICATION: u8 = 51;
const DESTINATION: u8 = 60;

fn vips(v4: bool) -> impl Iterator<Item = IpAddr> {
    VIPS.into_iter().map(|(address, _)| address).filter(move |address| address.is_ipv4() == v4)
}

#[test]
fn what_is_not_ours_passes_uncounted() {
    let mut bench = Bench::new();
    for foreign in ["198.51.100.2", "2001:db8:2::2", "203.0.113.12", "0.0.0.0", "::ffff:203.0.113.10"] {
        let foreign: IpAddr = foreign.parse().unwrap();
        bench.check(INGRESS, &tcp(foreign, HTTPS).bytes(), NEXT, None, 0);
        bench.check(INGRESS, &udp(foreign, DNS).bytes(), NEXT, None, 0);
    }
    let arp = ethernet([0xff; 6], &[], 0x0806, &[0; 28]);
    bench.check(INGRESS, &arp, NEXT, None, 0);
    let lldp = ethernet([0; 6], &[], 0x88cc, &[0; 46]);
    bench.check(INGRESS, &lldp, NEXT, None, 0);
}

#[test]
fn a_packet_for_a_port_is_counted_with_its_bytes() {
    let mut bench = Bench::new();
    for (index, (address, _)) in (0..).zip(VIPS) {
        let frame = tcp(address, HTTPS).bytes();
        bench.check(INGRESS, &frame, NEXT, None, 1);
        let counters = bench.counters(index);
        assert_eq!((counters.packets, counters.bytes), (1, frame.len() as u64 - 14));
        let frame = udp(address, DNS).tags(&[VLAN]).bytes();
        bench.check(INGRESS, &frame, NEXT, None, 1);
        let counters = bench.counters(10 + index);
        assert_eq!((counters.packets, counters.bytes), (1, frame.len() as u64 - 18));
        assert_eq!(counters.dropped, 0);
    }
}

#[test]
fn every_length_of_ipv4_options() {
    let mut bench = Bench::new();
    for address in vips(true) {
        for words in 0..=10 {
            bench.check(INGRESS, &tcp(address, HTTPS).options(words).bytes(), NEXT, None, 1);
            bench.check(INGRESS, &udp(address, DNS).options(words).bytes(), NEXT, None, 1);
        }
    }
    // The options of this one would hide another port.
    let frame = tcp(VIPS[2].0, CLOSED).options(10).bytes();
    bench.check(INGRESS, &frame, SHOT, Some(Reason::NoListenerDrop), 0);
}

#[test]
fn ipv6_extension_headers_in_any_order() {
    let mut bench = Bench::new();
    let kinds = [HOP_BY_HOP, ROUTING, AUTHENTICATION, DESTINATION];
    for address in vips(false) {
        for (kind, length) in kinds.into_iter().flat_map(|kind| [0, 1, 2, 5].map(|length| (kind, length))) {
            bench.check(INGRESS, &tcp(address, HTTPS).extension(kind, length).bytes(), NEXT, None, 1);
            let frame = udp(address, DNS).extension(DESTINATION, 0).extension(kind, length);
            bench.check(INGRESS, &frame.bytes(), NEXT, None, 1);
        }
        let all = kinds.into_iter().fold(tcp(address, HTTPS), |frame, kind| frame.extension(kind, 3));
        bench.check(INGRESS, &all.bytes(), NEXT, None, 1);
    }
}

#[test]
fn more_extension_headers_than_are_followed_are_dropped() {
    let mut bench = Bench::new();
    let chain =
        |length| (0..length).fold(tcp(VIPS[1].0, HTTPS), |frame, _| frame.extension(DESTINATION, 0)).bytes();
    bench.check(INGRESS, &chain(8), NEXT, None, 1);
    bench.check(INGRESS, &chain(9), SHOT, Some(Reason::Extensions), 0);
}

#[test]
fn tags_inside_the_frame() {
    let mut bench = Bench::new();
    for (address, _) in VIPS {
        for tags in [&[VLAN][..], &[QINQ], &[QINQ, VLAN], &[VLAN, VLAN]] {
            bench.check(INGRESS, &tcp(address, HTTPS).tags(tags).bytes(), NEXT, None, 1);
        }
        bench.check(INGRESS, &tcp(address, HTTPS).tags(&[VLAN; 3]).bytes(), NEXT, None, 0);
    }
    let frame = udp(VIPS[3].0, CLOSED).tags(&[QINQ, VLAN]).bytes();
    bench.check(INGRESS, &frame, SHOT, Some(Reason::NoListenerDrop), 0);
}

#[test]
fn fragments_are_left_to_the_stack() {
    let mut bench = Bench::new();
    for (address, no_listener) in VIPS {
        bench.check(INGRESS, &udp(address, DNS).fragment(0, true).bytes(), NEXT, None, 1);
        bench.check(INGRESS, &tcp(address, HTTPS).fragment(0, true).bytes(), NEXT, None, 1);
        for more in [false, true] {
            // What lies where the ports would be is no port.
            bench.check(INGRESS, &udp(address, CLOSED).fragment(185, more).bytes(), NEXT, None, 0);
        }
        let first = udp(address, CLOSED).fragment(0, true).bytes();
        match no_listener {
            NoListener::Reject => bench.check(INGRESS, &first, NEXT, None, 0),
            NoListener::Drop => bench.check(INGRESS, &first, SHOT, Some(Reason::NoListenerDrop), 0),
        }
    }
}

#[test]
fn a_port_without_listener_is_rejected_or_dropped() {
    let mut bench = Bench::new();
    for (address, no_listener) in VIPS {
        // UDP has no 443, and TCP no 53.
        for frame in [tcp(address, CLOSED), udp(address, CLOSED), udp(address, HTTPS), tcp(address, DNS)] {
            match no_listener {
                NoListener::Reject => bench.check(INGRESS, &frame.bytes(), NEXT, None, 0),
                NoListener::Drop => {
                    bench.check(INGRESS, &frame.bytes(), SHOT, Some(Reason::NoListenerDrop), 0);
                }
            }
        }
    }
}

#[test]
fn icmp_and_other_protocols_reach_the_stack() {
    let mut bench = Bench::new();
    for (address, _) in VIPS {
        let echo = if address.is_ipv4() { (1, 8) } else { (58, 128) };
        let too_big = if address.is_ipv4() { (1, 3) } else { (58, 2) };
        for (protocol, kind) in [echo, too_big, (132, 0), (47, 0), (59, 0)] {
            let payload = Payload::Other { protocol, bytes: vec![kind, 4, 0, 0, 0, 0, 5, 0xdc] };
            let frame = Frame::new(client(address), address, payload);
            bench.check(INGRESS, &frame.bytes(), NEXT, None, 0);
        }
    }
}

#[test]
fn a_frame_cut_anywhere_is_passed_or_counted_once() {
    let mut bench = Bench::new();
    // With the lengths of the headers up to the destination, and of what follows the ports.
    let frames = [
        (tcp(VIPS[0].0, HTTPS).bytes(), 14 + 20, 16),
        (tcp(VIPS[2].0, HTTPS).options(7).bytes(), 14 + 20, 16),
        (udp(VIPS[0].0, DNS).tags(&[QINQ, VLAN]).bytes(), 22 + 20, 4),
        (tcp(VIPS[1].0, HTTPS).bytes(), 14 + 40, 16),
        (udp(VIPS[3].0, DNS).extension(DESTINATION, 2).extension(HOP_BY_HOP, 0).bytes(), 14 + 40, 4),
    ];
    for (frame, destination_end, behind_ports) in frames {
        // The kernel runs no program on IP packets with less than a header, but does not look behind a tag.
        let shortest = if destination_end == 22 + 20 { 15 } else { destination_end };
        for length in shortest..=frame.len() {
            let (verdict, reason, counted) = if length < destination_end {
                (NEXT, None, 0)
            } else if length < frame.len() - behind_ports {
                (SHOT, Some(Reason::Truncated), 0)
            } else {
                (NEXT, None, 1)
            };
            bench.check(INGRESS, &frame[..length], verdict, reason, counted);
        }
    }
}

#[test]
fn a_malformed_ipv4_header_is_the_stack_s_to_drop() {
    let mut bench = Bench::new();
    for version in [0x44, 0x40, 0x65, 0x00] {
        let mut frame = tcp(VIPS[2].0, CLOSED).bytes();
        frame[14] = version;
        bench.check(INGRESS, &frame, NEXT, None, 0);
    }
}

#[test]
fn an_overheard_frame_is_not_ours() {
    let mut bench = Bench::new();
    for (address, _) in VIPS {
        let frame = tcp(address, CLOSED).mac([2, 0, 0, 0, 0, 9]).bytes();
        bench.check(INGRESS, &frame, NEXT, None, 0);
    }
}

#[test]
fn without_assignment_it_still_counts_and_filters() {
    let mut bench = Bench::with(Options { assign: false, log_level: 0 });
    for (address, no_listener) in VIPS {
        bench.check(INGRESS, &tcp(address, HTTPS).bytes(), NEXT, None, 1);
        bench.check(INGRESS, &udp(address, DNS).bytes(), NEXT, None, 1);
        if no_listener == NoListener::Drop {
            bench.check(INGRESS, &tcp(address, CLOSED).bytes(), SHOT, Some(Reason::NoListenerDrop), 0);
        }
    }
}

#[test]
fn the_log_changes_no_verdict() {
    let mut bench = Bench::with(Options { log_level: 5, ..Options::of_this_kernel() });
    for (address, no_listener) in VIPS {
        bench.check(INGRESS, &tcp(address, HTTPS).bytes(), NEXT, None, 1);
        if no_listener == NoListener::Drop {
            bench.check(INGRESS, &tcp(address, CLOSED).bytes(), SHOT, Some(Reason::NoListenerDrop), 0);
        }
    }
}
