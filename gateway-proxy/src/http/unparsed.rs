//! Requests that never became one, because hyper refused their header or it did not come, and connections that h2 ended:
//! counted and logged as others are.

use std::error::Error as _;
use std::time::Duration;

use http::StatusCode;

use super::client::Client;
use crate::access_log::{Reason, Request};
use crate::refused::Refused;

/// What hyper made of the end of a connection.
pub(super) struct Unparsed {
    /// What hyper answered.
    status: Option<StatusCode>,
    reason: Reason,
    detail: String,
    /// It was a request, or the begin of one.
    is_request: bool,
}

impl Unparsed {
    /// Of a header that did not come in time.
    pub(super) fn late() -> Self {
        Self {
            status: None,
            reason: Reason::HeaderTimeout,
            detail: "the header did not come whole".to_owned(),
            is_request: true,
        }
    }

    /// Of an HTTP/2 connection that brings too much of what asks for nothing.
    pub(super) fn flooded() -> Self {
        Self {
            status: None,
            reason: Reason::Limit,
            detail: "a flood of HTTP/2 frames, or of requests that are taken back".to_owned(),
            is_request: false,
        }
    }

    /// None: the client ended the connection, or broke it.
    pub(super) fn of(error: &hyper::Error) -> Option<Self> {
        let detail = error.to_string();
        if let Some(cause) = error.source().and_then(|cause| cause.downcast_ref::<h2::Error>()) {
            let reason = match cause.reason() {
                Some(h2::Reason::ENHANCE_YOUR_CALM) => Reason::Limit,
                Some(_) | None => Reason::BadRequest,
            };
            return (cause.is_go_away() && cause.is_library()).then(|| Self {
                status: None,
                reason,
                detail: cause.to_string(),
                is_request: false,
            });
        }
        if !error.is_parse() {
            return None;
        }
        let (status, reason) = if error.is_parse_version_h2() {
            (None, Reason::BadRequest)
        } else if !error.is_parse_too_large() {
            (Some(StatusCode::BAD_REQUEST), Reason::BadRequest)
        } else if detail.contains("URI") {
            (Some(StatusCode::URI_TOO_LONG), Reason::HeaderTooLarge)
        } else {
            (Some(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE), Reason::HeaderTooLarge)
        };
        Some(Self { status, reason, detail, is_request: true })
    }

    pub(super) fn is_answered(&self) -> bool {
        self.status.is_some()
    }

    pub(super) fn end(&self, client: &Client) {
        let held = client.held();
        if self.is_request {
            let counters = held.counters(client, None).of(client.worker.index);
            counters.request(self.status, self.reason, Duration::ZERO);
        }
        let status = self.status.map(|status| status.as_u16());
        let refused = Refused {
            gateway: &held.gateway,
            entry: &client.entry,
            client: client.address,
            vip: client.vip,
            sni: client.tls.as_ref().and_then(|tls| tls.sni.as_deref()),
            listener: client.tls.as_ref().map(|tls| &*tls.listener),
            request: self.is_request.then(|| Request { status, ..Request::default() }),
        };
        refused.end(&client.worker, self.reason, Some(&self.detail));
    }
}
