//! The PROXY protocol, versions 1 and 2 (haproxy.org, `proxy-protocol.txt`): the client's address before the first byte of
//! a connection, read from load balancers before us and written to backends.
//!
//! Read strictly: what the specification does not allow is an error and never a guess, every length is bounded before it is
//! waited for, and a checksum that is present must hold. No crate found does all of that on a partial buffer.

mod crc32c;
mod v1;
mod v2;

use std::net::{IpAddr, SocketAddr};

use gateway_common::ir::ProxyProtocolOut;
use thiserror::Error;

/// More bytes than the longest header that is accepted.
pub const LONGEST: usize = v2::FIXED + v2::LONGEST_BODY;

#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Header {
    /// None: LOCAL, UNKNOWN or an address that is not IP; the connection is the peer's own.
    pub addresses: Option<Addresses>,
    /// The name that the client asked the sender for.
    pub authority: Option<String>,
    /// The client came to the sender over TLS.
    pub tls: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Addresses {
    pub source: SocketAddr,
    pub destination: SocketAddr,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum Error {
    #[error("no PROXY protocol header")]
    Missing,
    #[error("PROXY v1 header is not `PROXY TCP4|TCP6|UNKNOWN source destination port port`")]
    Text,
    #[error("PROXY v2 header has an unknown version or command")]
    Command,
    #[error("PROXY v2 header is not for a stream")]
    Transport,
    #[error("PROXY v2 header is longer than {} bytes", LONGEST)]
    TooLong,
    #[error("PROXY v2 header is shorter than its addresses or fields")]
    Truncated,
    #[error("PROXY v2 header has a wrong or repeated checksum")]
    Checksum,
    #[error("PROXY v2 header has an authority that is not UTF-8")]
    Authority,
}

/// Reads the header at the start of a connection: it and its length, or None while it is incomplete.
pub fn parse(buffer: &[u8]) -> Result<Option<(Header, usize)>, Error> {
    if begins(buffer, v2::SIGNATURE) {
        v2::parse(buffer)
    } else if begins(buffer, v1::SIGNATURE) {
        v1::parse(buffer)
    } else {
        Err(Error::Missing)
    }
}

/// Appends a header for a connection from `source` that came to `destination`. Version 1 has no place for the authority.
pub fn write(version: ProxyProtocolOut, addresses: &Addresses, authority: Option<&str>, out: &mut Vec<u8>) {
    let addresses = addresses.of_one_family();
    match version {
        ProxyProtocolOut::V1 => v1::write(&addresses, out),
        ProxyProtocolOut::V2 => v2::write(&addresses, v2::STREAM, authority, out),
    }
}

/// Appends a version 2 header that goes before one datagram.
pub fn write_datagram(addresses: &Addresses, out: &mut Vec<u8>) {
    v2::write(&addresses.of_one_family(), v2::DATAGRAM, None, out);
}

impl Addresses {
    /// Both IPv4, or both IPv6 with an IPv4 address mapped.
    fn of_one_family(&self) -> Self {
        let canonical = |address: SocketAddr| SocketAddr::new(address.ip().to_canonical(), address.port());
        let (source, destination) = (canonical(self.source), canonical(self.destination));
        if source.is_ipv4() == destination.is_ipv4() {
            return Self { source, destination };
        }
        let mapped = |address: SocketAddr| match address.ip() {
            IpAddr::V4(ip) => SocketAddr::new(ip.to_ipv6_mapped().into(), address.port()),
            IpAddr::V6(_) => address,
        };
        Self { source: mapped(source), destination: mapped(destination) }
    }
}

/// Whether `buffer` has the signature, as far as it goes.
fn begins(buffer: &[u8], signature: &[u8]) -> bool {
    let common = buffer.len().min(signature.len());
    buffer[..common] == signature[..common]
}

#[cfg(test)]
mod tests;
