//! Nothing ambiguous reaches a backend: what hyper accepts and a proxy must not forward as it is.
//!
//! hyper and httparse already refuse folded lines, bare CR, NUL and space before a colon, a transfer coding on HTTP/1.0 or
//! one that does not end in `chunked`, and differing or signed lengths. A Content-Length beside a Transfer-Encoding they
//! drop, and close the connection after the answer (RFC 9112 §6.3); h2 refuses connection fields. The checks here hold
//! the same line for whatever parser stands before them.

pub mod authority;
mod cookie;
pub mod hop_by_hop;
pub mod trailers;
pub mod upgrade;

use std::borrow::Cow;

use gateway_common::ir::Limits;
use http::header::{CONTENT_LENGTH, EXPECT, HeaderMap, TRANSFER_ENCODING};
use http::request::Parts;
use http::uri::PathAndQuery;
use http::{Method, StatusCode, Version};
use thiserror::Error;

use crate::path;
use upgrade::Upgrade;

/// Why a request is refused. The texts are for the log, not for the client.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum Reject {
    #[error("more header fields than the Gateway's limit")]
    TooManyFields,
    #[error("more header bytes than the Gateway's limit")]
    TooManyBytes,
    #[error("CONNECT is not served")]
    Connect,
    #[error("both Content-Length and Transfer-Encoding")]
    LengthAndCoding,
    #[error("more than one Content-Length, or not a number")]
    Length,
    #[error("a transfer coding other than `chunked`, or on HTTP/1.0")]
    Coding,
    #[error("no Host")]
    NoHost,
    #[error("more than one Host")]
    ManyHosts,
    #[error("Host and target name different authorities")]
    HostMismatch,
    #[error("the authority is not `host[:port]`")]
    Authority,
    #[error("the target is neither a path, an absolute URI, nor `*` of OPTIONS")]
    Target,
    #[error(transparent)]
    Path(#[from] path::Invalid),
    #[error("Connection names a field that must arrive")]
    Connection,
    #[error("Expect asks for something else than 100-continue")]
    Expect,
}

impl Reject {
    pub fn status(self) -> StatusCode {
        match self {
            Self::TooManyFields | Self::TooManyBytes => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Self::Connect => StatusCode::METHOD_NOT_ALLOWED,
            Self::Expect => StatusCode::EXPECTATION_FAILED,
            Self::LengthAndCoding
            | Self::Length
            | Self::Coding
            | Self::NoHost
            | Self::ManyHosts
            | Self::HostMismatch
            | Self::Authority
            | Self::Target
            | Self::Path(_)
            | Self::Connection => StatusCode::BAD_REQUEST,
        }
    }
}

/// Checks a request and brings it into the form that routes, filters and backends get: the target is a normal path and
/// query, the authority is in Host alone, and no field of the client's connection is left.
pub fn admit(parts: &mut Parts, limits: &Limits, policy: &path::Policy) -> Result<Option<Upgrade>, Reject> {
    check_size(&parts.headers, limits)?;
    if parts.method == Method::CONNECT {
        return Err(Reject::Connect);
    }
    authority::settle(parts)?;
    settle_path(parts, policy)?;
    if parts.version == Version::HTTP_2 {
        cookie::join(&mut parts.headers);
    }
    if hop_by_hop::is_plain(&parts.headers) {
        return Ok(None);
    }
    check_framing(&parts.headers, parts.version)?;
    check_expect(&parts.headers)?;
    let upgrade = upgrade::take(parts);
    hop_by_hop::strip_request(&mut parts.headers)?;
    Ok(upgrade)
}

/// Removes what belongs to the connection to the backend. Not for an answer of 101, whose Upgrade the caller checks.
pub fn clean_response(headers: &mut HeaderMap) {
    hop_by_hop::strip_response(headers);
}

fn check_size(headers: &HeaderMap, limits: &Limits) -> Result<(), Reject> {
    if headers.len() > limits.headers as usize {
        return Err(Reject::TooManyFields);
    }
    let bytes: usize =
        headers.iter().map(|(name, value)| name.as_str().len() + value.len() + ": \r\n".len()).sum();
    if bytes > limits.header_bytes as usize { Err(Reject::TooManyBytes) } else { Ok(()) }
}

fn check_framing(headers: &HeaderMap, version: Version) -> Result<(), Reject> {
    let mut lengths = headers.get_all(CONTENT_LENGTH).iter();
    let length = lengths.next();
    let is_number = |text: &[u8]| !text.is_empty() && text.iter().all(u8::is_ascii_digit);
    if lengths.next().is_some() || length.is_some_and(|value| !is_number(value.as_bytes())) {
        return Err(Reject::Length);
    }
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
    match codings.next() {
        None => Ok(()),
        Some(_) if length.is_some() => Err(Reject::LengthAndCoding),
        Some(coding)
            if version == Version::HTTP_11
                && coding.as_bytes().eq_ignore_ascii_case(b"chunked")
                && codings.next().is_none() =>
        {
            Ok(())
        }
        Some(_) => Err(Reject::Coding),
    }
}

fn check_expect(headers: &HeaderMap) -> Result<(), Reject> {
    let mut expectations = headers.get_all(EXPECT).iter();
    if expectations.all(|value| value.as_bytes().eq_ignore_ascii_case(b"100-continue")) {
        Ok(())
    } else {
        Err(Reject::Expect)
    }
}

fn settle_path(parts: &mut Parts, policy: &path::Policy) -> Result<(), Reject> {
    let given = parts.uri.path();
    if given == "*" && parts.method != Method::OPTIONS {
        return Err(Reject::Target);
    }
    // `/` also where a query follows the authority, which is a form that only an absolute target may have (RFC 9112 §3.2.1).
    let bare = parts.uri.path_and_query().is_some_and(|target| target.as_str().starts_with('?'));
    let normal = path::normalize(given, policy)?;
    if bare || matches!(normal, Cow::Owned(_)) {
        let mut target = normal.into_owned();
        if let Some(query) = parts.uri.query() {
            target.push('?');
            target.push_str(query);
        }
        let target = PathAndQuery::from_maybe_shared(bytes::Bytes::from(target));
        parts.uri = target.map_err(|_| Reject::Target)?.into();
    }
    Ok(())
}

#[cfg(test)]
mod tests;
