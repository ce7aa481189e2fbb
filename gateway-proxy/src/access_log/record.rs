//! One line of the access log. `docs/access-log.md` has the fields.

use std::net::SocketAddr;
use std::time::Duration;

use gateway_common::ir::{BackendId, GatewayId, RouteId};
use jiff::Timestamp;
use serde::{Serialize, Serializer};

use super::{Query, Reason};

/// A finished request, connection or UDP session. Holds no header values but `User-Agent`: no credentials, no cookies.
#[derive(Clone, Debug)]
pub struct Record<'a> {
    pub gateway: &'a GatewayId,
    pub listener: Option<&'a str>,
    /// As [`crate::connections::Protocol::as_str`] has it.
    pub protocol: &'static str,
    pub client: SocketAddr,
    pub vip: SocketAddr,
    pub sni: Option<&'a str>,
    pub request: Option<Request<'a>>,
    pub route: Option<&'a RouteId>,
    pub backend: Option<&'a BackendId>,
    pub endpoint: Option<SocketAddr>,
    pub reason: Reason,
    pub detail: Option<&'a str>,
    pub duration: Duration,
    /// Of the body, for a request.
    pub bytes_in: u64,
    pub bytes_out: u64,
}

/// Empty texts are left out.
#[derive(Clone, Copy, Default, Debug)]
pub struct Request<'a> {
    pub method: &'a str,
    pub host: &'a str,
    /// Path and query as the client sent them.
    pub target: &'a str,
    pub user_agent: Option<&'a str>,
    /// The rule's number in its route, from 0.
    pub rule: Option<usize>,
    /// None: the client was gone before it could be told.
    pub status: Option<u16>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Line<'a> {
    #[serde(serialize_with = "to_the_microsecond")]
    time: Timestamp,
    gateway: &'a GatewayId,
    #[serde(skip_serializing_if = "Option::is_none")]
    listener: Option<&'a str>,
    protocol: &'a str,
    client: SocketAddr,
    vip: SocketAddr,
    #[serde(skip_serializing_if = "Option::is_none")]
    sni: Option<&'a str>,
    #[serde(flatten)]
    request: Option<RequestLine<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    route: Option<&'a RouteId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    backend: Option<&'a BackendId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    endpoint: Option<SocketAddr>,
    reason: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<&'a str>,
    duration_us: u64,
    bytes_in: u64,
    bytes_out: u64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct RequestLine<'a> {
    #[serde(skip_serializing_if = "str::is_empty")]
    method: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    host: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    path: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    query: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user_agent: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rule: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<u16>,
}

impl Record<'_> {
    /// Appends the line and its end.
    pub fn write(&self, query: Query, out: &mut Vec<u8>) {
        let line = Line {
            time: Timestamp::now(),
            gateway: self.gateway,
            listener: self.listener,
            protocol: self.protocol,
            client: self.client,
            vip: self.vip,
            sni: self.sni,
            request: self.request.as_ref().map(|request| request.line(query)),
            route: self.route,
            backend: self.backend,
            endpoint: self.endpoint,
            reason: self.reason.as_str(),
            detail: self.detail,
            duration_us: u64::try_from(self.duration.as_micros()).unwrap_or(u64::MAX),
            bytes_in: self.bytes_in,
            bytes_out: self.bytes_out,
        };
        let start = out.len();
        match serde_json::to_writer(&mut *out, &line) {
            Ok(()) => out.push(b'\n'),
            // Strings and numbers always serialise; a line cut short would spoil the next one.
            Err(_) => out.truncate(start),
        }
    }
}

impl<'a> Request<'a> {
    fn line(&self, keep: Query) -> RequestLine<'a> {
        let (path, query) = match self.target.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (self.target, None),
        };
        RequestLine {
            method: self.method,
            host: self.host,
            path,
            query: query.filter(|_| keep == Query::Keep),
            user_agent: self.user_agent,
            rule: self.rule,
            status: self.status,
        }
    }
}

fn to_the_microsecond<S: Serializer>(time: &Timestamp, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(&format_args!("{time:.6}"))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::{Value, json};

    use super::*;

    fn line(query: Query, record: &Record<'_>) -> Value {
        let mut bytes = Vec::new();
        record.write(query, &mut bytes);
        assert_eq!(bytes.iter().filter(|b| **b == b'\n').count(), 1);
        serde_json::from_slice(&bytes).unwrap()
    }

    fn with_record(test: impl FnOnce(Record<'_>)) {
        test(Record {
            gateway: &GatewayId::new("default/web"),
            listener: Some("https"),
            protocol: "HTTP/2",
            client: "192.0.2.1:40000".parse().unwrap(),
            vip: "[2001:db8::1]:443".parse().unwrap(),
            sni: Some("shop.example"),
            request: Some(Request {
                method: "GET",
                host: "shop.example",
                target: "/a\"b?token=secret",
                user_agent: Some("x\ny\u{7f}\u{0}"),
                rule: Some(0),
                status: Some(200),
            }),
            route: Some(&RouteId::new("HTTPRoute/default/shop")),
            backend: Some(&BackendId::new("default/shop:80")),
            endpoint: Some("10.0.0.1:8080".parse().unwrap()),
            reason: Reason::BadRequest,
            detail: Some("two Host headers"),
            duration: Duration::from_micros(1_234),
            bytes_in: 1,
            bytes_out: 2,
        });
    }

    #[test]
    fn everything_is_escaped_and_the_query_is_omitted() {
        with_record(|record| {
            let line = line(Query::Omit, &record);
            assert_eq!(line["path"], "/a\"b");
            assert_eq!(line["userAgent"], "x\ny\u{7f}\u{0}");
            assert_eq!(line["client"], "192.0.2.1:40000");
            assert_eq!(line["durationUs"], 1_234);
            assert_eq!(line["reason"], "bad_request");
            assert!(!line.to_string().contains("secret"));
        });
    }

    #[test]
    fn the_query_is_kept_when_asked_for() {
        with_record(|record| assert_eq!(line(Query::Keep, &record)["query"], json!("token=secret")));
    }

    #[test]
    fn the_documentation_has_every_field_and_no_other() {
        let page = include_str!("../../../docs/access-log.md");
        let documented: BTreeSet<_> = page
            .lines()
            .skip_while(|l| *l != "## Fields")
            .take_while(|l| *l != "## Reasons")
            .filter_map(|l| l.strip_prefix("| `")?.split('`').next().map(str::to_owned))
            .collect();
        with_record(|record| {
            let line = line(Query::Keep, &record);
            let written: BTreeSet<_> = line.as_object().unwrap().keys().cloned().collect();
            assert_eq!(documented, written);
        });
    }
}
