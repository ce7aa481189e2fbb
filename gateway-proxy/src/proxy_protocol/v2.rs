//! Version 2: binary, with typed fields after the addresses.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::{Addresses, Error, Header, crc32c};

pub(super) const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
/// Signature, version and command, family and transport, length of the rest.
pub(super) const FIXED: usize = 16;
/// The specification asks receivers for 520; senders that add a client's certificate need more.
pub(super) const LONGEST_BODY: usize = 4096;

const LOCAL: u8 = 0x20;
const PROXY: u8 = 0x21;

pub(super) const STREAM: u8 = 0x1;
pub(super) const DATAGRAM: u8 = 0x2;
const UNSPECIFIED: u8 = 0x0;

const AUTHORITY: u8 = 0x02;
const CRC32C: u8 = 0x03;
const SSL: u8 = 0x20;
/// In the first byte of the SSL field: the client connected over TLS.
const CLIENT_SSL: u8 = 0x01;

pub(super) fn parse(buffer: &[u8]) -> Result<Option<(Header, usize)>, Error> {
    let Some((fixed, rest)) = buffer.split_first_chunk::<FIXED>() else { return Ok(None) };
    let [.., command, family, high, low] = *fixed;
    if command != LOCAL && command != PROXY {
        return Err(Error::Command);
    }
    let length = usize::from(u16::from_be_bytes([high, low]));
    if length > LONGEST_BODY {
        return Err(Error::TooLong);
    }
    let Some(body) = rest.get(..length) else { return Ok(None) };
    let end = FIXED + length;
    let (addresses, fields) = addresses(family, body)?;
    let header = read_fields(fields, &buffer[..end])?;
    match command {
        PROXY => Ok(Some((Header { addresses, ..header }, end))),
        // A health check of the sender: nothing in it speaks of a client.
        _ => Ok(Some((Header::default(), end))),
    }
}

fn addresses(family: u8, body: &[u8]) -> Result<(Option<Addresses>, &[u8]), Error> {
    let (family, transport) = (family >> 4, family & 0xf);
    match (family, transport) {
        (0x1..=0x3, STREAM) => {}
        (UNSPECIFIED, UNSPECIFIED | STREAM) => return Ok((None, body)),
        _ => return Err(Error::Transport),
    }
    match family {
        0x1 => {
            let (bytes, fields) = body.split_first_chunk::<12>().ok_or(Error::Truncated)?;
            let [a, b, c, d, e, f, g, h, ports @ ..] = *bytes;
            Ok((Some(pair([a, b, c, d].into(), [e, f, g, h].into(), ports)), fields))
        }
        0x2 => {
            let (source, rest) = body.split_first_chunk::<16>().ok_or(Error::Truncated)?;
            let (destination, rest) = rest.split_first_chunk::<16>().ok_or(Error::Truncated)?;
            let (ports, fields) = rest.split_first_chunk::<4>().ok_or(Error::Truncated)?;
            Ok((Some(pair((*source).into(), (*destination).into(), *ports)), fields))
        }
        _ => {
            let (_, fields) = body.split_first_chunk::<216>().ok_or(Error::Truncated)?;
            Ok((None, fields))
        }
    }
}

fn pair(source: IpAddr, destination: IpAddr, [a, b, c, d]: [u8; 4]) -> Addresses {
    Addresses {
        source: SocketAddr::new(source, u16::from_be_bytes([a, b])),
        destination: SocketAddr::new(destination, u16::from_be_bytes([c, d])),
    }
}

/// Unknown types are skipped, as the specification asks.
fn read_fields(mut fields: &[u8], header: &[u8]) -> Result<Header, Error> {
    let mut found = Header::default();
    let mut checked = false;
    while let Some((kind, value, rest)) = split_field(fields)? {
        match kind {
            AUTHORITY => {
                let name = str::from_utf8(value).map_err(|_| Error::Authority)?;
                found.authority = Some(name.to_owned());
            }
            CRC32C => {
                // Where the value lies, to leave it out of the sum.
                let at = header.len() - rest.len() - value.len();
                if checked || !checksum_holds(value, header, at) {
                    return Err(Error::Checksum);
                }
                checked = true;
            }
            SSL => found.tls = value.first().ok_or(Error::Truncated)? & CLIENT_SSL != 0,
            _ => {}
        }
        fields = rest;
    }
    Ok(found)
}

type Field<'a> = (u8, &'a [u8], &'a [u8]);

fn split_field(fields: &[u8]) -> Result<Option<Field<'_>>, Error> {
    match *fields {
        [] => Ok(None),
        [kind, high, low, ref rest @ ..] => {
            let length = usize::from(u16::from_be_bytes([high, low]));
            let (value, rest) = rest.split_at_checked(length).ok_or(Error::Truncated)?;
            Ok(Some((kind, value, rest)))
        }
        _ => Err(Error::Truncated),
    }
}

/// The sum is over the whole header with its own four bytes as zero.
fn checksum_holds(value: &[u8], header: &[u8], at: usize) -> bool {
    let Ok(want) = <[u8; 4]>::try_from(value) else { return false };
    let sum = crc32c::update(crc32c::START, &header[..at]);
    let sum = crc32c::update(sum, &[0; 4]);
    crc32c::finish(crc32c::update(sum, &header[at + 4..])) == u32::from_be_bytes(want)
}

pub(super) fn write(addresses: &Addresses, transport: u8, authority: Option<&str>, out: &mut Vec<u8>) {
    let mut body = Vec::with_capacity(64);
    let Addresses { source, destination } = addresses;
    let family = match (source.ip(), destination.ip()) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            body.extend(
                [source, destination].map(Ipv4Addr::to_bits).iter().flat_map(|bits| bits.to_be_bytes()),
            );
            0x10
        }
        (source, destination) => {
            body.extend([source, destination].map(to_v6).iter().flat_map(Ipv6Addr::octets));
            0x20
        }
    };
    body.extend([source.port(), destination.port()].map(u16::to_be_bytes).concat());
    // A DNS name; a longer one would not fit any reader.
    if let Some((name, length)) = authority.and_then(|name| Some((name, u8::try_from(name.len()).ok()?))) {
        body.extend([AUTHORITY, 0, length]);
        body.extend(name.as_bytes());
    }
    let length = u16::try_from(body.len()).unwrap_or_default();
    out.extend_from_slice(SIGNATURE);
    out.extend([PROXY, family | transport]);
    out.extend(length.to_be_bytes());
    out.extend(body);
}

fn to_v6(address: IpAddr) -> Ipv6Addr {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped(),
        IpAddr::V6(address) => address,
    }
}
