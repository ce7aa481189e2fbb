//! The end of a request, whenever and however it comes: counted, logged, and the connection told.

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use gateway_common::ir::{AccessLog, BackendId};
use http::request::Parts;
use http::{StatusCode, header};

use super::client::{Client, Held};
use super::flood;
use crate::access_log::{Reason, Record, Request};
use crate::connections::Protocol;
use crate::route::Rule;
use crate::upstream::body::Progress;

/// One request of a client; dropping it is the request's end.
pub struct Ending {
    pub client: Rc<Client>,
    pub held: Rc<Held>,
    /// Index of the listener, once it is known.
    pub listener: Option<usize>,
    /// None: the client could not be told.
    pub status: Option<StatusCode>,
    pub reason: Reason,
    pub bytes_out: u64,
    /// Of a request with a body that went to a backend.
    pub received: Option<Rc<Progress>>,
    started: Instant,
    log: Option<Box<Log>>,
}

/// What the access log wants to know beside.
struct Log {
    method: String,
    host: String,
    target: String,
    user_agent: Option<String>,
    rule: Option<Arc<Rule>>,
    backend: Option<BackendId>,
    endpoint: Option<SocketAddr>,
    detail: Option<String>,
}

impl Ending {
    /// Of a request that begins now.
    pub fn new(client: Rc<Client>, held: Rc<Held>, parts: &Parts) -> Self {
        client.timing.begin_request();
        client.entry.count_request();
        let log = match held.gateway.settings.access_log {
            AccessLog::Off => None,
            AccessLog::Json => Some(Box::new(Log::new(parts))),
        };
        Self {
            client,
            held,
            listener: None,
            status: None,
            reason: Reason::ClientAbort,
            bytes_out: 0,
            received: None,
            started: Instant::now(),
            log,
        }
    }

    pub fn routed(&mut self, rule: &Arc<Rule>) {
        if let Some(log) = &mut self.log {
            log.rule = Some(rule.clone());
        }
    }

    pub fn backend(&mut self, id: &BackendId) {
        if let Some(log) = &mut self.log {
            log.backend = Some(id.clone());
        }
    }

    pub fn endpoint(&mut self, address: SocketAddr) {
        self.client.entry.backend.set(Some(address));
        if let Some(log) = &mut self.log {
            log.endpoint = Some(address);
        }
    }

    pub fn detail(&mut self, detail: impl std::fmt::Display) {
        if let Some(log) = &mut self.log {
            log.detail = Some(detail.to_string());
        }
    }
}

impl Log {
    fn new(parts: &Parts) -> Self {
        let text = |name| parts.headers.get(name).and_then(|value| value.to_str().ok());
        let host = text(header::HOST).or(parts.uri.authority().map(|authority| authority.as_str()));
        let target = parts.uri.path_and_query().map_or("*", |target| target.as_str());
        Self {
            method: parts.method.to_string(),
            host: host.unwrap_or_default().to_owned(),
            target: target.to_owned(),
            user_agent: text(header::USER_AGENT).map(str::to_owned),
            rule: None,
            backend: None,
            endpoint: None,
            detail: None,
        }
    }
}

impl Drop for Ending {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.reason = Reason::Internal;
        }
        let duration = self.started.elapsed();
        let worker = &self.client.worker;
        let counters = self.held.counters(&self.client, self.listener);
        counters.of(worker.index).request(self.status, self.reason, duration);
        if let Some(log) = &self.log {
            worker.log.write(&Record {
                gateway: &self.held.gateway.id,
                listener: Some(&*counters.name).filter(|name| !name.is_empty()),
                protocol: self.client.entry.protocol.get().as_str(),
                client: self.client.address,
                vip: self.client.vip,
                sni: self.client.tls.as_ref().and_then(|tls| tls.sni.as_deref()),
                request: Some(Request {
                    method: &log.method,
                    host: &log.host,
                    target: &log.target,
                    user_agent: log.user_agent.as_deref(),
                    rule: log.rule.as_ref().map(|rule| rule.index),
                    status: self.status.map(|status| status.as_u16()),
                }),
                route: log.rule.as_ref().map(|rule| &rule.route),
                backend: log.backend.as_ref(),
                endpoint: log.endpoint,
                reason: self.reason,
                detail: log.detail.as_deref(),
                duration,
                bytes_in: self.received.as_ref().map_or(0, |progress| progress.bytes.get()),
                bytes_out: self.bytes_out,
            });
        }
        if self.client.entry.protocol.get() == Protocol::Http2 {
            self.client.stream_ended(self.reason == Reason::ClientAbort && duration < flood::AT_ONCE);
        }
        self.client.timing.end_request();
    }
}
