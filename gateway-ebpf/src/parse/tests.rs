//! Headers laid out by hand. The programs' own run of the same headers is in `tests/tests/datapath_run.rs`.
#![expect(unsafe_code, reason = "reads any header from a slice")]

use super::*;
use crate::packet::Header;

impl Packet for Vec<u8> {
    fn near<T: Header>(&self, offset: usize) -> Option<T> {
        let bytes = self.get(offset..offset + size_of::<T>())?;
        // SAFETY: as many bytes as `T` has, and `Header` takes any bits.
        Some(unsafe { bytes.as_ptr().cast::<T>().read_unaligned() })
    }
}

impl Copied for Vec<u8> {
    fn far<T: Header>(&self, offset: usize) -> Option<T> {
        self.near(offset)
    }
}

const PORTS: [u8; 8] = [0x30, 0x39, 0x01, 0xbb, 1, 2, 3, 4];

fn ethernet(tags: &[u16], ethertype: u16, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![0; 12];
    for tag in tags {
        frame.extend_from_slice(&tag.to_be_bytes());
        frame.extend_from_slice(&[0, 100]);
    }
    frame.extend_from_slice(&ethertype.to_be_bytes());
    frame.extend_from_slice(payload);
    frame
}

fn ipv4(options: usize, fragment: u16, protocol: u8) -> Vec<u8> {
    let mut header = vec![0x45 + options as u8, 0, 0, 0, 0, 0, 0, 0, 64, protocol, 0, 0];
    header[6..8].copy_from_slice(&fragment.to_be_bytes());
    header.extend_from_slice(&[192, 0, 2, 2, 203, 0, 113, 10]);
    header.resize(20 + options * 4, 1);
    header.extend_from_slice(&PORTS);
    header
}

fn ipv6(next: u8, extensions: &[&[u8]]) -> Vec<u8> {
    let mut header = vec![0x60, 0, 0, 0, 0, 0, next, 64];
    header.extend_from_slice(&[0; 16]);
    header.extend_from_slice(&[0x20; 16]);
    header.extend_from_slice(&extensions.concat());
    header.extend_from_slice(&PORTS);
    header
}

fn parsed(frame: Vec<u8>) -> Result<Option<Segment>, Reason> {
    let network = network(&frame).unwrap();
    segment(&frame, &network)
}

#[track_caller]
fn check_segment(frame: Vec<u8>, proto: Proto, offset: usize, fragment: bool) {
    let ports = [12345_u16.to_be(), 443_u16.to_be()];
    assert_eq!(parsed(frame), Ok(Some(Segment { proto, offset, ports, fragment })));
}

#[test]
fn tags_are_skipped_up_to_two() {
    for (tags, offset) in [(&[][..], 34), (&[0x8100], 38), (&[0x88a8, 0x8100], 42)] {
        check_segment(ethernet(tags, 0x0800, &ipv4(0, 0, 6)), Proto::Tcp, offset, false);
    }
    assert_eq!(network(&ethernet(&[0x8100; 3], 0x0800, &ipv4(0, 0, 6))), None);
    assert_eq!(network(&ethernet(&[], 0x0806, &[0; 28])), None);
}

#[test]
fn every_length_of_ipv4_options() {
    for options in 0..=10 {
        check_segment(ethernet(&[], 0x0800, &ipv4(options, 0, 17)), Proto::Udp, 34 + options * 4, false);
    }
}

#[test]
fn first_fragments_have_ports_and_later_ones_none() {
    check_segment(ethernet(&[], 0x0800, &ipv4(0, 0x2000, 17)), Proto::Udp, 34, true);
    assert_eq!(parsed(ethernet(&[], 0x0800, &ipv4(0, 0x2001, 17))), Ok(None));
    assert_eq!(parsed(ethernet(&[], 0x0800, &ipv4(0, 0x00b9, 17))), Ok(None));
    let first = [17, 0, 0, 1, 0, 0, 0, 9];
    check_segment(ethernet(&[], 0x86dd, &ipv6(44, &[&first])), Proto::Udp, 62, true);
    let later = [17, 0, 5, 0xa0, 0, 0, 0, 9];
    assert_eq!(parsed(ethernet(&[], 0x86dd, &ipv6(44, &[&later]))), Ok(None));
}

#[test]
fn extension_headers_have_their_own_lengths() {
    let hop = [43, 0, 1, 4, 0, 0, 0, 0];
    let routing = [[51, 1, 0, 0, 0, 0, 0, 0], [0; 8]].concat();
    let authentication = [[60, 4, 0, 0, 0, 0, 0, 0], [0; 8], [0; 8]].concat();
    let destination = [6, 0, 1, 4, 0, 0, 0, 0];
    let chain = ipv6(0, &[&hop, &routing, &authentication, &destination]);
    check_segment(ethernet(&[], 0x86dd, &chain), Proto::Tcp, 54 + 8 + 16 + 24 + 8, false);
}

#[test]
fn a_chain_may_have_so_many_links_and_no_more() {
    let link = [60, 0, 1, 4, 0, 0, 0, 0];
    let last = [6, 0, 1, 4, 0, 0, 0, 0];
    let mut chain = vec![&link[..]; MAX_EXTENSIONS - 1];
    chain.push(&last);
    check_segment(ethernet(&[], 0x86dd, &ipv6(60, &chain)), Proto::Tcp, 54 + 8 * MAX_EXTENSIONS, false);
    chain.insert(0, &link);
    assert_eq!(parsed(ethernet(&[], 0x86dd, &ipv6(60, &chain))), Err(Reason::Extensions));
}

#[test]
fn what_has_no_ports_is_left_alone() {
    for (ethertype, packet) in [(0x0800, ipv4(0, 0, 1)), (0x86dd, ipv6(58, &[])), (0x86dd, ipv6(59, &[]))] {
        assert_eq!(parsed(ethernet(&[], ethertype, &packet)), Ok(None));
    }
    let mut malformed = ipv4(0, 0, 6);
    malformed[0] = 0x44;
    assert_eq!(parsed(ethernet(&[], 0x0800, &malformed)), Ok(None));
}

#[test]
fn a_cut_is_not_ours_before_the_destination_and_truncated_behind_it() {
    let whole = ethernet(&[], 0x0800, &ipv4(3, 0, 6));
    for length in 0..34 {
        assert_eq!(network(&whole[..length].to_vec()), None, "{length}");
    }
    for length in 34..34 + 12 + 4 {
        assert_eq!(parsed(whole[..length].to_vec()), Err(Reason::Truncated), "{length}");
    }
    assert!(parsed(whole[..34 + 12 + 4].to_vec()).is_ok());
}

#[test]
fn a_connection_attempt_is_a_syn_without_ack() {
    for (flags, attempt) in [(0x02, true), (0xc2, true), (0x12, false), (0x10, false), (0x04, false)] {
        let mut frame = ethernet(&[], 0x0800, &ipv4(0, 0, 6));
        frame.resize(54, 0);
        frame[34 + 13] = flags;
        let segment = plain_segment(&frame, &network(&frame).unwrap()).unwrap();
        assert_eq!(is_connection_attempt(&frame, &segment), Some(attempt));
    }
}
