//! From the link layer to the ports. Pure: reads through [`Packet`], touches no map and calls no helper.

use gateway_common::abi::{Proto, Reason};

use crate::packet::{Copied, Packet};

const ETHERTYPE: usize = 12;
const IPV4: u16 = 0x0800_u16.to_be();
const IPV6: u16 = 0x86dd_u16.to_be();
const VLAN: u16 = 0x8100_u16.to_be();
const QINQ: u16 = 0x88a8_u16.to_be();

/// More IPv6 extension headers than this are [`Reason::Extensions`].
pub(crate) const MAX_EXTENSIONS: usize = 8;

/// An `Addr` in four loads. Byte by byte, one costs sixty instructions.
pub(crate) type Words = [u32; 4];

/// The v4-mapped form of an IPv4 address.
#[inline(always)]
pub(crate) const fn mapped(v4: u32) -> Words {
    [0, 0, 0xffff_u32.to_be(), v4]
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Family {
    V4,
    V6,
}

/// An IP packet for one address.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Network {
    pub(crate) family: Family,
    /// Of the IP header.
    pub(crate) offset: usize,
    pub(crate) destination: Words,
}

/// A TCP segment or UDP datagram, whole or the first fragment of one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Segment {
    pub(crate) proto: Proto,
    /// Of the TCP or UDP header.
    pub(crate) offset: usize,
    /// Source and destination, as in the packet.
    pub(crate) ports: [u16; 2],
    /// More fragments follow.
    pub(crate) fragment: bool,
}

/// Finds the IP header behind at most two VLAN tags. `None`: not IP, or cut before the destination address.
#[inline(always)]
pub(crate) fn network(packet: &impl Packet) -> Option<Network> {
    let mut offset = ETHERTYPE;
    let mut kind: u16 = packet.near(offset)?;
    if kind == VLAN || kind == QINQ {
        offset += 4;
        kind = packet.near(offset)?;
        if kind == VLAN || kind == QINQ {
            offset += 4;
            kind = packet.near(offset)?;
        }
    }
    offset += 2;
    match kind {
        IPV4 => Some(Network { family: Family::V4, offset, destination: v4(packet, offset + 16)? }),
        IPV6 => {
            let destination = v6(packet, offset + 24)?;
            // No such address belongs on a wire (RFC 4291 §2.5.5.2), and it would find an IPv4 VIP.
            let is_mapped = destination == mapped(destination[3]);
            (!is_mapped).then_some(Network { family: Family::V6, offset, destination })
        }
        _ => None,
    }
}

/// The address that the packet says it comes from.
#[inline(always)]
pub(crate) fn source(packet: &impl Packet, network: &Network) -> Option<Words> {
    match network.family {
        Family::V4 => v4(packet, network.offset + 12),
        Family::V6 => v6(packet, network.offset + 8),
    }
}

/// Finds the ports. `Ok(None)`: nothing that a listener could take by itself, such as ICMP or a later fragment.
#[inline(always)]
pub(crate) fn segment(packet: &impl Copied, network: &Network) -> Result<Option<Segment>, Reason> {
    match network.family {
        Family::V4 => segment_v4(packet, network.offset),
        Family::V6 => match segment_v6(packet, network.offset)? {
            Transport::Segment(segment) => Ok(Some(segment)),
            Transport::Other(next) => behind_extensions(packet, next, network.offset + 40),
        },
    }
}

/// Finds the ports if they follow the IP header at once.
#[inline(always)]
pub(crate) fn plain_segment(packet: &impl Packet, network: &Network) -> Option<Segment> {
    match network.family {
        Family::V4 => segment_v4(packet, network.offset).ok()?,
        Family::V6 => match segment_v6(packet, network.offset).ok()? {
            Transport::Segment(segment) => Some(segment),
            Transport::Other(_) => None,
        },
    }
}

/// TCP with SYN and without ACK: it asks for a new connection.
#[inline(always)]
pub(crate) fn is_connection_attempt(packet: &impl Packet, segment: &Segment) -> Option<bool> {
    const SYN_ACK: u8 = 0x12;
    const SYN: u8 = 0x02;
    let [_, flags]: [u8; 2] = packet.near(segment.offset + 12)?;
    Some(flags & SYN_ACK == SYN)
}

#[inline(always)]
fn v4(packet: &impl Packet, offset: usize) -> Option<Words> {
    packet.near(offset).map(mapped)
}

#[inline(always)]
fn v6(packet: &impl Packet, offset: usize) -> Option<Words> {
    packet.near(offset)
}

#[inline(always)]
fn segment_v4(packet: &impl Packet, offset: usize) -> Result<Option<Segment>, Reason> {
    const OFFSET_MASK: u16 = 0x1fff;
    const MORE: u16 = 0x2000;
    let [version, _]: [u8; 2] = packet.near(offset).ok_or(Reason::Truncated)?;
    let fragment: u16 = packet.near(offset + 6).ok_or(Reason::Truncated)?;
    let [_, protocol]: [u8; 2] = packet.near(offset + 8).ok_or(Reason::Truncated)?;
    let fragment = u16::from_be(fragment);
    // The stack drops a header that is too short for itself, and says so in its own counters.
    if !(0x45..=0x4f).contains(&version) || fragment & OFFSET_MASK != 0 {
        return Ok(None);
    }
    let Some(proto) = Proto::from_number(protocol) else { return Ok(None) };
    let transport = offset + usize::from(version & 0xf) * 4;
    let ports = packet.near(transport).ok_or(Reason::Truncated)?;
    Ok(Some(Segment { proto, offset: transport, ports, fragment: fragment & MORE != 0 }))
}

/// What follows the fixed IPv6 header.
enum Transport {
    Segment(Segment),
    Other(u8),
}

#[inline(always)]
fn segment_v6(packet: &impl Packet, offset: usize) -> Result<Transport, Reason> {
    let [next, _]: [u8; 2] = packet.near(offset + 6).ok_or(Reason::Truncated)?;
    let Some(proto) = Proto::from_number(next) else { return Ok(Transport::Other(next)) };
    let transport = offset + 40;
    let ports = packet.near(transport).ok_or(Reason::Truncated)?;
    Ok(Transport::Segment(Segment { proto, offset: transport, ports, fragment: false }))
}

/// RFC 8200 §4, RFC 4302 for the authentication header, whose length counts in fours.
#[inline(always)]
fn behind_extensions(packet: &impl Copied, next: u8, offset: usize) -> Result<Option<Segment>, Reason> {
    const HOP_BY_HOP: u8 = 0;
    const ROUTING: u8 = 43;
    const FRAGMENT: u8 = 44;
    const AUTHENTICATION: u8 = 51;
    const DESTINATION: u8 = 60;
    let (mut next, mut offset, mut fragment) = (next, offset, false);
    for _ in 0..=MAX_EXTENSIONS {
        if let Some(proto) = Proto::from_number(next) {
            let ports = packet.far(offset).ok_or(Reason::Truncated)?;
            return Ok(Some(Segment { proto, offset, ports, fragment }));
        }
        if !matches!(next, HOP_BY_HOP | ROUTING | FRAGMENT | AUTHENTICATION | DESTINATION) {
            return Ok(None);
        }
        let [after, length, high, low]: [u8; 4] = packet.far(offset).ok_or(Reason::Truncated)?;
        match next {
            FRAGMENT => {
                let position = u16::from_be_bytes([high, low]);
                if position & 0xfff8 != 0 {
                    return Ok(None);
                }
                fragment |= position & 1 != 0;
                offset += 8;
            }
            AUTHENTICATION => offset += (usize::from(length) + 2) * 4,
            _ => offset += (usize::from(length) + 1) * 8,
        }
        next = after;
    }
    Err(Reason::Extensions)
}

#[cfg(test)]
mod tests;
