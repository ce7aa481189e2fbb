//! RequestRedirect.

use std::borrow::Cow;
use std::fmt::Write;

use gateway_common::ir;
use http::header::{HOST, HeaderValue, LOCATION};
use http::request::Parts;
use http::{Response, StatusCode};

use super::Context;
use super::path_modifier::PathModifier;
use crate::route::host;

#[derive(Debug)]
pub(super) struct RequestRedirect {
    scheme: Option<Box<str>>,
    hostname: Option<Box<str>>,
    port: Option<u16>,
    path: Option<PathModifier>,
    status: StatusCode,
}

impl RequestRedirect {
    pub(super) fn new(from: &ir::Redirect) -> Result<Self, String> {
        let status = match from.status {
            301 | 302 | 303 | 307 | 308 => {
                StatusCode::from_u16(from.status).map_err(|error| error.to_string())?
            }
            other => return Err(format!("statusCode: {other} is none of 301, 302, 303, 307, 308")),
        };
        Ok(Self {
            scheme: from.scheme.as_deref().map(Box::from),
            hostname: from.hostname.as_deref().map(Box::from),
            port: from.port,
            path: from.path.as_ref().map(PathModifier::new).transpose()?,
            status,
        })
    }

    pub(super) fn respond(&self, parts: &Parts, context: &Context<'_>) -> Response<()> {
        let location = HeaderValue::try_from(self.location(parts, context));
        let mut response = super::empty(self.status);
        match location {
            Ok(location) => drop(response.headers_mut().insert(LOCATION, location)),
            // A host or path that a header cannot carry.
            Err(_) => *response.status_mut() = StatusCode::BAD_REQUEST,
        }
        response
    }

    fn location(&self, parts: &Parts, context: &Context<'_>) -> String {
        let mut location = String::with_capacity(128);
        self.write_origin(&mut location, parts, context);
        // `*` of OPTIONS is no path that a location could have.
        let path = if parts.uri.path() == "*" { "/" } else { parts.uri.path() };
        let path =
            self.path.as_ref().map_or(Cow::from(path), |change| change.apply(path, context.prefix).into());
        if location.is_empty() && path.starts_with("//") {
            // Alone, `//host` would name another origin.
            location.push('/');
            location.push_str(path.trim_start_matches('/'));
        } else {
            location.push_str(&path);
        }
        if let Some(query) = parts.uri.query() {
            location.push('?');
            location.push_str(query);
        }
        location
    }

    /// Nothing for a request without a host, which only HTTP/1.0 allows: the location is then relative.
    fn write_origin(&self, location: &mut String, parts: &Parts, context: &Context<'_>) {
        let given = parts.headers.get(HOST).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let hostname = self.hostname.as_deref().unwrap_or(host::bare(given));
        if hostname.is_empty() {
            return;
        }
        let scheme = self.scheme.as_deref().unwrap_or(context.scheme);
        location.push_str(scheme);
        location.push_str("://");
        location.push_str(hostname);
        let well_known = well_known_port(scheme);
        let derived = if self.scheme.is_some() { well_known.unwrap_or(context.port) } else { context.port };
        let port = self.port.unwrap_or(derived);
        if well_known != Some(port) {
            // Writing to a String does not fail.
            let _ = write!(location, ":{port}");
        }
    }
}

fn well_known_port(scheme: &str) -> Option<u16> {
    match scheme {
        "http" => Some(80),
        "https" => Some(443),
        _ => None,
    }
}
