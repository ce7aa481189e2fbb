//! Version 1: one line of text.

use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

use super::{Addresses, Error, Header};

pub(super) const SIGNATURE: &[u8] = b"PROXY ";

/// With CRLF, from the specification.
const LONGEST: usize = 107;

pub(super) fn parse(buffer: &[u8]) -> Result<Option<(Header, usize)>, Error> {
    let seen = &buffer[..buffer.len().min(LONGEST)];
    let Some(end) = seen.iter().position(|&byte| byte == b'\n') else {
        return if seen.len() == LONGEST { Err(Error::Text) } else { Ok(None) };
    };
    let line =
        seen[..end].strip_suffix(b"\r").and_then(|line| line.strip_prefix(SIGNATURE)).ok_or(Error::Text)?;
    let line = str::from_utf8(line).map_err(|_| Error::Text)?;
    let addresses = addresses(line)?;
    Ok(Some((Header { addresses, ..Header::default() }, end + 1)))
}

fn addresses(line: &str) -> Result<Option<Addresses>, Error> {
    let (family, rest) = line.split_once(' ').unwrap_or((line, ""));
    match family {
        "TCP4" => pair::<Ipv4Addr>(rest).map(Some),
        "TCP6" => pair::<Ipv6Addr>(rest).map(Some),
        // "The receiver must ignore anything presented before the CRLF."
        "UNKNOWN" => Ok(None),
        _ => Err(Error::Text),
    }
}

fn pair<A: FromStr + Into<IpAddr>>(rest: &str) -> Result<Addresses, Error> {
    let mut fields = rest.split(' ');
    let mut next = || fields.next().ok_or(Error::Text);
    let address = |text: &str| text.parse::<A>().map(Into::into).map_err(|_| Error::Text);
    let (source, destination) = (address(next()?)?, address(next()?)?);
    let (source_port, destination_port) = (port(next()?)?, port(next()?)?);
    if fields.next().is_some() {
        return Err(Error::Text);
    }
    Ok(Addresses {
        source: SocketAddr::new(source, source_port),
        destination: SocketAddr::new(destination, destination_port),
    })
}

fn port(text: &str) -> Result<u16, Error> {
    let plain = text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    if plain { text.parse().map_err(|_| Error::Text) } else { Err(Error::Text) }
}

pub(super) fn write(addresses: &Addresses, out: &mut Vec<u8>) {
    let Addresses { source, destination } = addresses;
    let family = if source.is_ipv4() { "TCP4" } else { "TCP6" };
    let (from, to) = (source.ip(), destination.ip());
    // Writing to a Vec does not fail.
    let _ = write!(out, "PROXY {family} {from} {to} {} {}\r\n", source.port(), destination.port());
}
