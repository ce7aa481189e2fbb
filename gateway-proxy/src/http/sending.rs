//! A request on its way to a backend, and the answer on its way to the client.

use std::cell::Cell;
use std::future::poll_fn;
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;

use http::response::Parts;
use http::{Request, Response, StatusCode, Version};

use super::body::{Expected, Limit, ResponseBody};
use super::client::{Client, Held};
use super::ending::Ending;
use super::service::{Answered, close_after, respond, response_filters, status};
use super::silence::Silence;
use super::upgrade;
use crate::access_log::Reason;
use crate::error::{ConnectError, ExchangeError};
use crate::hygiene;
use crate::hygiene::upgrade::Upgrade;
use crate::route::{Rule, Share};
use crate::upstream::answer::{Answer, AnswerBody};
use crate::upstream::body::{Fault, RequestBody};
use crate::upstream::exchange::{self, Terms};

pub(super) struct Sending<'a> {
    pub(super) client: &'a Rc<Client>,
    pub(super) held: &'a Rc<Held>,
    pub(super) rule: &'a Rule,
    pub(super) share: &'a Share,
    pub(super) upgrade: Option<Upgrade>,
    /// The answer has no body, whatever the backend sends.
    pub(super) bodiless: bool,
    pub(super) request: Request<RequestBody>,
    pub(super) silence: Silence,
    pub(super) ending: Ending,
}

type Exchanged = Result<(Answer, Option<Limit>), (StatusCode, Reason)>;

impl Sending<'_> {
    /// Asks the backend.
    pub(super) async fn exchange(&mut self) -> Exchanged {
        let worker = &self.client.worker;
        let id = self.share.backend.as_ref().ok_or((StatusCode::INTERNAL_SERVER_ERROR, Reason::NoBackend))?;
        self.ending.backend(id);
        let upstream = worker.upstreams.upstream(&self.held.view, id);
        let upstream = upstream.ok_or((StatusCode::INTERNAL_SERVER_ERROR, Reason::NoBackend))?;
        let asked = Cell::new(None);
        let terms = Terms {
            timeouts: &self.held.gateway.settings.timeouts,
            client: self.client.address,
            vip: self.client.vip,
            sni: self.client.tls.as_ref().and_then(|tls| tls.sni.as_deref()),
            asked: &asked,
        };
        let mut limit = self.limit();
        let upload = self.ending.received.as_deref();
        let mut exchange = pin!(exchange::exchange(worker, &upstream, &mut self.request, &terms));
        let result = poll_fn(|cx| {
            if let Poll::Ready(result) = exchange.as_mut().poll(cx) {
                return Poll::Ready(Ok(result));
            }
            if let Some(Poll::Ready(reason)) = limit.as_mut().map(|limit| limit.poll_over(cx)) {
                return Poll::Ready(Err((StatusCode::GATEWAY_TIMEOUT, reason)));
            }
            let silence = self.silence.poll_over(cx, upload);
            silence.map(|()| Err((StatusCode::GATEWAY_TIMEOUT, Reason::IdleTimeout)))
        });
        let result = result.await;
        if let Some(address) = asked.get() {
            self.ending.endpoint(address);
        }
        match result? {
            Ok(answer) => {
                self.silence.broken();
                Ok((answer, limit))
            }
            Err(error) => {
                self.ending.detail(&error);
                Err(verdict(&error))
            }
        }
    }

    /// What the client gets.
    pub(super) fn end(mut self, exchanged: Exchanged) -> Answered {
        match exchanged {
            Ok((answer, limit)) => self.pass(answer, limit),
            Err((code, reason)) => {
                let fault = self.ending.received.as_ref().and_then(|progress| progress.fault.get());
                let (code, reason) = match fault {
                    Some(Fault::Idle) => (StatusCode::REQUEST_TIMEOUT, Reason::BodyTimeout),
                    Some(Fault::Client) => (StatusCode::BAD_REQUEST, Reason::ClientAbort),
                    None => (code, reason),
                };
                self.ending.reason = reason;
                respond(self.rule, Some(self.share), status(code), self.ending)
            }
        }
    }

    /// The earlier of the rule's two timeouts.
    fn limit(&self) -> Option<Limit> {
        let request = self.rule.request_timeout.map(|limit| (limit, Reason::RequestTimeout));
        let backend = self.rule.backend_timeout.map(|limit| (limit, Reason::BackendTimeout));
        let (limit, reason) = request.into_iter().chain(backend).min_by_key(|(limit, _)| *limit)?;
        Some(Limit { sleep: Box::pin(tokio::time::sleep(limit)), reason })
    }

    /// The backend's answer as the client gets it.
    fn pass(mut self, answer: Answer, limit: Option<Limit>) -> Answered {
        let Answer { mut parts, body } = answer;
        self.ending.status = Some(parts.status);
        self.ending.reason = Reason::Ok;
        if parts.status == StatusCode::SWITCHING_PROTOCOLS {
            return self.switch(parts, body);
        }
        hygiene::clean_response(&mut parts.headers);
        response_filters(self.rule, self.share, &mut parts.headers);
        parts.version = Version::HTTP_11;
        parts.extensions.clear();
        let draining = self.client.drain.is_draining();
        let expected = Expected { limit, silence: self.silence, bodiless: self.bodiless };
        let body = ResponseBody::from_backend(body, expected, self.ending);
        let mut response = Response::from_parts(parts, body);
        if draining {
            close_after(&mut response);
        }
        response
    }

    /// The connection becomes what the client asked for and the backend granted.
    fn switch(mut self, mut parts: Parts, body: AnswerBody) -> Answered {
        let upgrade = self.upgrade.filter(|upgrade| upgrade.is_granted(parts.status, &parts.headers));
        let Some((upgrade, (stream, lease))) = upgrade.zip(body.into_stream()) else {
            self.ending.reason = Reason::UpstreamInvalid;
            return respond(self.rule, Some(self.share), status(StatusCode::BAD_GATEWAY), self.ending);
        };
        hygiene::clean_response(&mut parts.headers);
        response_filters(self.rule, self.share, &mut parts.headers);
        upgrade.ask(&mut parts.headers);
        self.client.upgrade.set(Some(upgrade::Pending { stream, lease }));
        Response::from_parts(parts, ResponseBody::empty(self.ending))
    }
}

fn verdict(error: &ExchangeError) -> (StatusCode, Reason) {
    match error {
        ExchangeError::Connect(error) => {
            let missing = matches!(error, ConnectError::NoBackend | ConnectError::Unresolved);
            let code =
                if missing { StatusCode::INTERNAL_SERVER_ERROR } else { StatusCode::SERVICE_UNAVAILABLE };
            (code, error.reason())
        }
        ExchangeError::Sent(error) if error.is_invalid() => {
            (StatusCode::BAD_GATEWAY, Reason::UpstreamInvalid)
        }
        ExchangeError::Sent(_) => (StatusCode::BAD_GATEWAY, Reason::UpstreamReset),
    }
}
