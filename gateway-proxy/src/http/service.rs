//! One request, from its header to its answer's.

use std::rc::Rc;
use std::time::Duration;

use http::header::{CONNECTION, HeaderValue};
use http::request::Parts;
use http::{Method, Request, Response, StatusCode, Version};
use hyper::body::{Body, Incoming};
use tokio::time::Instant;

use super::body::{Expected, Limit, ResponseBody};
use super::client::{Client, Held};
use super::ending::Ending;
use super::{mirror, upgrade};
use crate::access_log::Reason;
use crate::error::{ConnectError, ExchangeError};
use crate::filter::{self, Filters, Outcome};
use crate::hygiene;
use crate::hygiene::upgrade::Upgrade;
use crate::route::{self, Found, Rule, Share, host};
use crate::upstream::body::{ClientBody, Fault, RequestBody};
use crate::upstream::exchange::{self, Answer, Terms};

pub type Answered = Response<ResponseBody>;

/// Answers `request`. Never fails: what goes wrong is a status.
pub async fn answer(client: Rc<Client>, request: Request<Incoming>) -> Answered {
    let held = client.held();
    let (mut parts, body) = request.into_parts();
    let mut ending = Ending::new(client.clone(), held.clone(), &parts);
    let settings = &held.gateway.settings;
    let upgrade = match hygiene::admit(&mut parts, &settings.limits, &held.gateway.path_policy) {
        Ok(upgrade) => upgrade,
        Err(reject) => {
            let too_large = reject.status() == StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE;
            ending.reason = if too_large { Reason::HeaderTooLarge } else { Reason::BadRequest };
            ending.detail(reject);
            return own(ending, reject.status());
        }
    };
    let found = match find(&client, &held, &parts, &mut ending) {
        Ok(found) => found,
        Err(status) => return own(ending, status),
    };
    ending.routed(found.rule);
    let way = Way { client: &client, held: &held, rule: found.rule, prefix: found.prefix };
    way.go(parts, body, upgrade, ending).await
}

/// The rule of a request, or the status that it gets instead.
fn find<'h>(
    client: &Client,
    held: &'h Held,
    parts: &Parts,
    ending: &mut Ending,
) -> Result<Found<'h>, StatusCode> {
    let authority =
        parts.headers.get(http::header::HOST).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let name = host::Name::new(authority);
    let index = held.port.hosts.find(name.as_str()).copied();
    if let (Some(tls), Some(index)) = (&client.tls, index)
        && *held.port.listeners[index].name != *tls.listener
    {
        // GatewayHTTPSListenerDetectMisdirectedRequests: the handshake spoke for another listener.
        ending.reason = Reason::Misdirected;
        return Err(StatusCode::MISDIRECTED_REQUEST);
    }
    ending.reason = Reason::RouteNotFound;
    let index = index.ok_or(StatusCode::NOT_FOUND)?;
    ending.listener = Some(index);
    let listener = &held.port.listeners[index];
    let request = route::Request {
        authority,
        method: &parts.method,
        path: parts.uri.path(),
        query: parts.uri.query(),
        headers: &parts.headers,
    };
    listener.router.find(&request).ok_or(StatusCode::NOT_FOUND)
}

/// Where a request goes by the rule that was found.
struct Way<'a> {
    client: &'a Rc<Client>,
    held: &'a Rc<Held>,
    rule: &'a Rule,
    prefix: Option<usize>,
}

impl Way<'_> {
    async fn go(
        &self,
        mut parts: Parts,
        body: Incoming,
        upgrade: Option<Upgrade>,
        mut ending: Ending,
    ) -> Answered {
        let mut mirrors = Vec::new();
        if let Some(answer) = self.filter(&self.rule.filters, &mut parts, &mut mirrors) {
            ending.reason = Reason::Filter;
            return self.respond(answer, None, ending);
        }
        let Some(share) = self.rule.backends.choose(|total| fastrand::u64(..total)) else {
            ending.reason = Reason::NoBackend;
            return self.respond(status(StatusCode::INTERNAL_SERVER_ERROR), None, ending);
        };
        if let Some(answer) = self.filter(&share.filters, &mut parts, &mut mirrors) {
            ending.reason = Reason::Filter;
            return self.respond(answer, Some(share), ending);
        }
        let trusted = &self.held.gateway.settings.trusted_proxies;
        self.held.identity.apply(&mut parts.headers, trusted);
        let bodiless = parts.method == Method::HEAD;
        let request = self.outgoing(parts, body, upgrade.as_ref(), &mirrors, &mut ending);
        match self.exchange(share, request, &mut ending).await {
            Ok((answer, limit)) => {
                let body = Expected { limit, bodiless };
                self.pass(answer, body, share, upgrade.as_ref(), ending)
            }
            Err((code, reason)) => {
                let fault = ending.received.as_ref().and_then(|progress| progress.fault.get());
                let (code, reason) = match fault {
                    Some(Fault::Idle) => (StatusCode::REQUEST_TIMEOUT, Reason::BodyTimeout),
                    Some(Fault::Client) => (StatusCode::BAD_REQUEST, Reason::ClientAbort),
                    None => (code, reason),
                };
                ending.reason = reason;
                self.respond(status(code), Some(share), ending)
            }
        }
    }

    /// Applies filters to the request; Some: they answer it.
    fn filter<'f>(
        &self,
        filters: &'f Filters,
        parts: &mut Parts,
        mirrors: &mut Vec<&'f gateway_common::ir::BackendId>,
    ) -> Option<Response<()>> {
        if filters.is_empty() {
            return None;
        }
        let context = filter::Context {
            scheme: self.client.scheme(),
            port: self.held.port.number,
            prefix: self.prefix,
            random: &|below| fastrand::u32(..below),
        };
        match filters.request(parts, &context) {
            Outcome::Continue { mirrors: chosen } => {
                mirrors.extend(chosen);
                None
            }
            Outcome::Respond(answer) => Some(answer),
        }
    }

    /// The request as the backend gets it. Starts the mirrors.
    fn outgoing(
        &self,
        mut parts: Parts,
        body: Incoming,
        upgrade: Option<&Upgrade>,
        mirrors: &[&gateway_common::ir::BackendId],
        ending: &mut Ending,
    ) -> Request<RequestBody> {
        parts.version = Version::HTTP_11;
        parts.extensions.clear();
        let mut body = if body.is_end_stream() {
            RequestBody::Empty
        } else {
            let limit = Duration::from_millis(self.held.gateway.settings.timeouts.body_idle_ms);
            let body = ClientBody::new(body, self.client.worker.deadlines.deadline(), limit);
            ending.received = Some(body.progress());
            RequestBody::Client(Box::new(body))
        };
        for id in mirrors {
            mirror::start(self.client, self.held, id, &parts, &mut body);
        }
        if let Some(upgrade) = upgrade {
            upgrade.ask(&mut parts.headers);
        }
        Request::from_parts(parts, body)
    }

    async fn exchange(
        &self,
        share: &Share,
        request: Request<RequestBody>,
        ending: &mut Ending,
    ) -> Result<(Answer, Option<Limit>), (StatusCode, Reason)> {
        let worker = &self.client.worker;
        let id = share.backend.as_ref().ok_or((StatusCode::INTERNAL_SERVER_ERROR, Reason::NoBackend))?;
        ending.backend(id);
        let upstream = worker.upstreams.upstream(&self.held.view, id);
        let upstream = upstream.ok_or((StatusCode::INTERNAL_SERVER_ERROR, Reason::NoBackend))?;
        let terms = Terms {
            timeouts: &self.held.gateway.settings.timeouts,
            client: self.client.address,
            vip: self.client.vip,
        };
        let exchange = exchange::exchange(worker, &upstream, request, &terms);
        let limit = self.limit();
        let result = match limit {
            None => exchange.await,
            Some((at, reason)) => match tokio::time::timeout_at(at, exchange).await {
                Ok(result) => result,
                Err(_) => return Err((StatusCode::GATEWAY_TIMEOUT, reason)),
            },
        };
        match result {
            Ok(answer) => {
                ending.endpoint(answer.hold.lease.address());
                let limit =
                    limit.map(|(at, reason)| Limit { sleep: Box::pin(tokio::time::sleep_until(at)), reason });
                Ok((answer, limit))
            }
            Err(error) => {
                ending.detail(&error);
                Err(verdict(&error))
            }
        }
    }

    /// The earlier of the rule's two timeouts.
    fn limit(&self) -> Option<(Instant, Reason)> {
        let request = self.rule.request_timeout.map(|limit| (limit, Reason::RequestTimeout));
        let backend = self.rule.backend_timeout.map(|limit| (limit, Reason::BackendTimeout));
        let (limit, reason) = request.into_iter().chain(backend).min_by_key(|(limit, _)| *limit)?;
        Some((Instant::now() + limit, reason))
    }

    /// The backend's answer as the client gets it.
    fn pass(
        &self,
        answer: Answer,
        expected: Expected,
        share: &Share,
        upgrade: Option<&Upgrade>,
        mut ending: Ending,
    ) -> Answered {
        let (mut parts, incoming) = answer.response.into_parts();
        let status_code = parts.status;
        if status_code == StatusCode::SWITCHING_PROTOCOLS {
            let granted = upgrade.is_some_and(|upgrade| upgrade.is_granted(status_code, &parts.headers));
            return match answer.hold.upgraded().filter(|_| granted) {
                Some((stream, lease)) => {
                    hygiene::clean_response(&mut parts.headers);
                    self.response_filters(share, &mut parts.headers);
                    if let Some(upgrade) = upgrade {
                        upgrade.ask(&mut parts.headers);
                    }
                    self.client.upgrade.set(Some(upgrade::Pending { stream, lease }));
                    ending.status = Some(status_code);
                    ending.reason = Reason::Ok;
                    Response::from_parts(parts, ResponseBody::empty(ending))
                }
                None => {
                    ending.reason = Reason::UpstreamInvalid;
                    self.respond(status(StatusCode::BAD_GATEWAY), Some(share), ending)
                }
            };
        }
        hygiene::clean_response(&mut parts.headers);
        self.response_filters(share, &mut parts.headers);
        parts.version = Version::HTTP_11;
        parts.extensions.clear();
        ending.status = Some(status_code);
        ending.reason = Reason::Ok;
        let draining = self.client.drain.is_draining();
        let mut response =
            Response::from_parts(parts, ResponseBody::from_backend(incoming, answer.hold, expected, ending));
        if draining {
            close_after(&mut response);
        }
        response
    }

    /// An answer of the proxy's own.
    fn respond(&self, answer: Response<()>, share: Option<&Share>, mut ending: Ending) -> Answered {
        let (mut parts, ()) = answer.into_parts();
        match share {
            Some(share) => self.response_filters(share, &mut parts.headers),
            None => self.rule.filters.response(&mut parts.headers),
        }
        ending.status = Some(parts.status);
        let draining = self.client.drain.is_draining();
        let mut response = Response::from_parts(parts, ResponseBody::empty(ending));
        if draining {
            close_after(&mut response);
        }
        response
    }

    fn response_filters(&self, share: &Share, headers: &mut http::HeaderMap) {
        share.filters.response(headers);
        self.rule.filters.response(headers);
    }
}

/// An answer to a request that came to no rule.
fn own(mut ending: Ending, code: StatusCode) -> Answered {
    ending.status = Some(code);
    let draining = ending.client.drain.is_draining();
    let (parts, ()) = status(code).into_parts();
    let mut response = Response::from_parts(parts, ResponseBody::empty(ending));
    if draining {
        close_after(&mut response);
    }
    response
}

fn status(code: StatusCode) -> Response<()> {
    let mut response = Response::new(());
    *response.status_mut() = code;
    response
}

/// HTTP/1.1 closes by it; HTTP/2 has GOAWAY, and hyper drops the field.
fn close_after(response: &mut Answered) {
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
}

fn verdict(error: &ExchangeError) -> (StatusCode, Reason) {
    match error {
        ExchangeError::Connect(error) => {
            let missing = matches!(error, ConnectError::NoBackend | ConnectError::Unresolved);
            let code =
                if missing { StatusCode::INTERNAL_SERVER_ERROR } else { StatusCode::SERVICE_UNAVAILABLE };
            (code, error.reason())
        }
        ExchangeError::Sent(error) if error.is_parse() => (StatusCode::BAD_GATEWAY, Reason::UpstreamInvalid),
        ExchangeError::Sent(_) => (StatusCode::BAD_GATEWAY, Reason::UpstreamReset),
    }
}
