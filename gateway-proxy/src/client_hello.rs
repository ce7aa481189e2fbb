//! What a TLS ClientHello asks for, read without opening the connection, so that it can be forwarded to whom it names.
//!
//! Not rustls's `Acceptor`: that one refuses what rustls itself could not serve, while a connection that is passed through
//! may speak any version that its backend knows. Bytes are only looked at; whoever read them forwards them.

use thiserror::Error;

/// A longer hello, or one in more bytes of records, is refused. Post-quantum key shares need some 2 KiB.
pub const LONGEST: usize = 16 * 1024;

#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ClientHello {
    /// In lower case, without a trailing dot.
    pub server_name: Option<String>,
    /// Application protocols in the client's order.
    pub alpn: Vec<Vec<u8>>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum Error {
    #[error("not a TLS handshake")]
    NotTls,
    #[error("ClientHello is longer than {} bytes", LONGEST)]
    TooLong,
    #[error("ClientHello is malformed")]
    Malformed,
    #[error("server name is not a DNS name")]
    ServerName,
}

const HANDSHAKE: u8 = 22;
const CLIENT_HELLO: u8 = 1;
const RECORD_HEADER: usize = 5;
const LONGEST_FRAGMENT: usize = 1 << 14;

const SERVER_NAME: u16 = 0;
const HOST_NAME: u8 = 0;
const ALPN: u16 = 16;

/// Reads the ClientHello at the start of a connection, or None while it is incomplete.
pub fn peek(buffer: &[u8]) -> Result<Option<ClientHello>, Error> {
    match message(buffer)? {
        Some(message) => parse(&message).map(Some),
        None if buffer.len() >= LONGEST => Err(Error::TooLong),
        None => Ok(None),
    }
}

/// The body of the first handshake message, put together from its records (RFC 8446 §5.1).
fn message(mut buffer: &[u8]) -> Result<Option<Vec<u8>>, Error> {
    let mut handshake = Vec::new();
    loop {
        let Some(length) = record_length(buffer)? else { return Ok(None) };
        let fragment = &buffer[RECORD_HEADER..];
        let complete = fragment.get(..length);
        handshake.extend_from_slice(complete.unwrap_or(fragment));
        match *handshake {
            [kind, ..] if kind != CLIENT_HELLO => return Err(Error::NotTls),
            [_, a, b, c, ref body @ ..] => {
                let wanted = u32::from_be_bytes([0, a, b, c]) as usize;
                if wanted > LONGEST {
                    return Err(Error::TooLong);
                }
                if let Some(body) = body.get(..wanted) {
                    return Ok(Some(body.to_vec()));
                }
            }
            _ => {}
        }
        match complete {
            Some(_) => buffer = &fragment[length..],
            None => return Ok(None),
        }
    }
}

/// The length of the fragment in the record that `buffer` begins with; None while its header is incomplete.
fn record_length(buffer: &[u8]) -> Result<Option<usize>, Error> {
    let is_tls = match *buffer {
        [] => true,
        [kind] => kind == HANDSHAKE,
        [kind, major, ..] => kind == HANDSHAKE && major == 3,
    };
    if !is_tls {
        return Err(Error::NotTls);
    }
    let [_, _, _, high, low, ..] = *buffer else { return Ok(None) };
    let length = usize::from(u16::from_be_bytes([high, low]));
    // Empty fragments of a handshake are forbidden, and would be endless.
    if length == 0 || length > LONGEST_FRAGMENT { Err(Error::Malformed) } else { Ok(Some(length)) }
}

/// RFC 8446 §4.1.2; older versions begin alike, and may have no extensions.
fn parse(message: &[u8]) -> Result<ClientHello, Error> {
    let mut message = Reader(message);
    let (_version, _random) = (message.take(2)?, message.take(32)?);
    let (session, suites, compression) = (message.short_list()?, message.list()?, message.short_list()?);
    if session.0.len() > 32 || suites.0.is_empty() || suites.0.len() % 2 == 1 || compression.0.is_empty() {
        return Err(Error::Malformed);
    }
    let mut hello = ClientHello::default();
    if message.0.is_empty() {
        return Ok(hello);
    }
    let mut extensions = message.list()?;
    message.end()?;
    let (mut named, mut negotiated) = (false, false);
    while !extensions.0.is_empty() {
        let (kind, mut extension) = (extensions.u16()?, extensions.list()?);
        match kind {
            SERVER_NAME if !std::mem::replace(&mut named, true) => {
                hello.server_name = server_name(&mut extension)?
            }
            ALPN if !std::mem::replace(&mut negotiated, true) => hello.alpn = alpn(&mut extension)?,
            // Two of them could be read as either.
            SERVER_NAME | ALPN => return Err(Error::Malformed),
            _ => {}
        }
    }
    Ok(hello)
}

/// RFC 6066 §3.
fn server_name(extension: &mut Reader<'_>) -> Result<Option<String>, Error> {
    let mut list = extension.list()?;
    extension.end()?;
    let mut found = None;
    while !list.0.is_empty() {
        let (kind, name) = (list.u8()?, list.list()?.0);
        match (kind, &found) {
            (HOST_NAME, None) => found = Some(dns_name(name)?),
            (HOST_NAME, Some(_)) => return Err(Error::Malformed),
            _ => {}
        }
    }
    Ok(found)
}

fn dns_name(name: &[u8]) -> Result<String, Error> {
    let name = name.strip_suffix(b".").unwrap_or(name);
    let in_name = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
    if name.is_empty() || name.len() > 253 || !name.iter().all(in_name) {
        return Err(Error::ServerName);
    }
    String::from_utf8(name.to_ascii_lowercase()).map_err(|_| Error::ServerName)
}

/// RFC 7301 §3.1.
fn alpn(extension: &mut Reader<'_>) -> Result<Vec<Vec<u8>>, Error> {
    let mut list = extension.list()?;
    extension.end()?;
    let mut protocols = Vec::new();
    while !list.0.is_empty() {
        let protocol = list.short_list()?.0;
        if protocol.is_empty() {
            return Err(Error::Malformed);
        }
        protocols.push(protocol.to_vec());
    }
    Ok(protocols)
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Result<&'a [u8], Error> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or(Error::Malformed)?;
        self.0 = rest;
        Ok(taken)
    }

    fn u8(&mut self) -> Result<u8, Error> {
        let (&byte, rest) = self.0.split_first().ok_or(Error::Malformed)?;
        self.0 = rest;
        Ok(byte)
    }

    fn u16(&mut self) -> Result<u16, Error> {
        Ok(u16::from_be_bytes([self.u8()?, self.u8()?]))
    }

    /// Bytes after a length of one byte.
    fn short_list(&mut self) -> Result<Self, Error> {
        let length = self.u8()?;
        self.take(length.into()).map(Self)
    }

    /// Bytes after a length of two bytes.
    fn list(&mut self) -> Result<Self, Error> {
        let length = self.u16()?;
        self.take(length.into()).map(Self)
    }

    fn end(&self) -> Result<(), Error> {
        if self.0.is_empty() { Ok(()) } else { Err(Error::Malformed) }
    }
}

#[cfg(test)]
mod tests;
