//! Packets laid out byte by byte, for programs that are run on them rather than sent any.

use std::net::IpAddr;

/// TCP flags.
pub const SYN: u8 = 0x02;
pub const ACK: u8 = 0x10;

const ETH_P_IP: u16 = 0x0800;
const ETH_P_IPV6: u16 = 0x86dd;
const FRAGMENT: u8 = 44;
const AUTHENTICATION: u8 = 51;

/// What an IP packet carries.
#[derive(Clone, Debug)]
pub enum Payload {
    Tcp { source: u16, destination: u16, flags: u8 },
    Udp { source: u16, destination: u16 },
    Other { protocol: u8, bytes: Vec<u8> },
}

impl Payload {
    fn protocol(&self) -> u8 {
        match self {
            Self::Tcp { .. } => 6,
            Self::Udp { .. } => 17,
            Self::Other { protocol, .. } => *protocol,
        }
    }

    fn bytes(&self) -> Vec<u8> {
        match self {
            Self::Tcp { source, destination, flags } => {
                let mut bytes = [source.to_be_bytes(), destination.to_be_bytes()].concat();
                bytes.extend([0, 0, 0, 1, 0, 0, 0, 0, 0x50, *flags, 0xff, 0xff, 0, 0, 0, 0]);
                bytes
            }
            Self::Udp { source, destination } => [*source, *destination, 8, 0].map(u16::to_be_bytes).concat(),
            Self::Other { bytes, .. } => bytes.clone(),
        }
    }
}

/// A frame from one address to another. Its destination MAC is that of `lo`, where test runs happen.
#[derive(Clone, Debug)]
pub struct Frame {
    source: IpAddr,
    destination: IpAddr,
    payload: Payload,
    mac: [u8; 6],
    tags: Vec<u16>,
    option_words: u8,
    /// In units of eight bytes, and whether more follow.
    fragment: Option<(u16, bool)>,
    /// Kind and body behind the length byte.
    extensions: Vec<(u8, Vec<u8>)>,
}

impl Frame {
    pub fn new(source: IpAddr, destination: IpAddr, payload: Payload) -> Self {
        Self {
            source,
            destination,
            payload,
            mac: [0; 6],
            tags: Vec::new(),
            option_words: 0,
            fragment: None,
            extensions: Vec::new(),
        }
    }

    #[must_use]
    pub fn mac(mut self, mac: [u8; 6]) -> Self {
        self.mac = mac;
        self
    }

    /// VLAN tags by their ethertypes, outermost first.
    #[must_use]
    pub fn tags(mut self, tags: &[u16]) -> Self {
        self.tags = tags.to_vec();
        self
    }

    /// IPv4 options, in words of four bytes: 0 to 10.
    #[must_use]
    pub fn options(mut self, words: u8) -> Self {
        self.option_words = words;
        self
    }

    /// A fragment at `offset`, which counts eights of bytes.
    #[must_use]
    pub fn fragment(mut self, offset: u16, more: bool) -> Self {
        self.fragment = Some((offset, more));
        self
    }

    /// An IPv6 extension header in front of those added before, of 8 bytes plus `more` times its unit.
    #[must_use]
    pub fn extension(mut self, kind: u8, more: u8) -> Self {
        let unit = if kind == AUTHENTICATION { 4 } else { 8 };
        self.extensions.push((kind, vec![0; 6 + usize::from(more) * unit]));
        self
    }

    pub fn bytes(&self) -> Vec<u8> {
        let (ethertype, packet) = match (self.source, self.destination) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                (ETH_P_IP, self.ipv4(source.octets(), destination.octets()))
            }
            (IpAddr::V6(source), IpAddr::V6(destination)) => {
                (ETH_P_IPV6, self.ipv6(source.octets(), destination.octets()))
            }
            (source, destination) => panic!("{source} and {destination} are of two families"),
        };
        ethernet(self.mac, &self.tags, ethertype, &packet)
    }

    fn ipv4(&self, source: [u8; 4], destination: [u8; 4]) -> Vec<u8> {
        let payload = self.payload.bytes();
        let length = 20 + usize::from(self.option_words) * 4 + payload.len();
        let fragment = match self.fragment {
            Some((offset, more)) => offset | if more { 0x2000 } else { 0 },
            None => 0x4000,
        };
        let mut packet = vec![0x45 + self.option_words, 0];
        packet.extend(u16::try_from(length).unwrap_or(u16::MAX).to_be_bytes());
        packet.extend([0, 1]);
        packet.extend(fragment.to_be_bytes());
        packet.extend([64, self.payload.protocol(), 0, 0]);
        packet.extend(source);
        packet.extend(destination);
        // No-operation options.
        packet.resize(20 + usize::from(self.option_words) * 4, 1);
        packet.extend(payload);
        packet
    }

    fn ipv6(&self, source: [u8; 16], destination: [u8; 16]) -> Vec<u8> {
        let mut next = self.payload.protocol();
        let mut body = self.payload.bytes();
        if let Some((offset, more)) = self.fragment {
            let [high, low] = (offset << 3 | u16::from(more)).to_be_bytes();
            body.splice(0..0, [next, 0, high, low, 0, 0, 0, 1]);
            next = FRAGMENT;
        }
        for (kind, rest) in &self.extensions {
            let length = rest.len() + 2;
            let length = if *kind == AUTHENTICATION { length / 4 - 2 } else { length / 8 - 1 };
            let header = [next, u8::try_from(length).unwrap_or(u8::MAX)];
            body.splice(0..0, header.into_iter().chain(rest.iter().copied()));
            next = *kind;
        }
        let mut packet = vec![0x60, 0, 0, 0];
        packet.extend(u16::try_from(body.len()).unwrap_or(u16::MAX).to_be_bytes());
        packet.extend([next, 64]);
        packet.extend(source);
        packet.extend(destination);
        packet.extend(body);
        packet
    }
}

/// An Ethernet frame around any packet.
pub fn ethernet(mac: [u8; 6], tags: &[u16], ethertype: u16, packet: &[u8]) -> Vec<u8> {
    let mut frame = mac.to_vec();
    frame.extend([2, 0, 0, 0, 0, 1]);
    for tag in tags {
        frame.extend(tag.to_be_bytes());
        frame.extend([0, 100]);
    }
    frame.extend(ethertype.to_be_bytes());
    frame.extend(packet);
    frame
}
