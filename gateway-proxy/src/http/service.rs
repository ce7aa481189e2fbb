//! One request, from its header to its answer's: what is known without waiting for anybody. What follows is
//! [`Sending`](super::sending::Sending).

use std::convert::Infallible;
use std::rc::Rc;
use std::time::Duration;

use gateway_common::ir::BackendId;
use http::header::{CONNECTION, CONTENT_TYPE, HeaderMap, HeaderValue};
use http::request::Parts;
use http::{Method, Request, Response, StatusCode, Version};
use hyper::body::{Body, Incoming};

use super::body::ResponseBody;
use super::client::{Client, Held};
use super::ending::Ending;
use super::mirror;
use super::sending::Sending;
use super::silence::Silence;
use crate::access_log::Reason;
use crate::filter::{self, Filters, Outcome};
use crate::hygiene;
use crate::hygiene::upgrade::Upgrade;
use crate::identity;
use crate::route::{self, Found, Rule, Share, host};
use crate::upstream::body::{ClientBody, Limits, RequestBody};

pub type Answered = Response<ResponseBody>;

const GRPC: &[u8] = b"application/grpc";

/// What came of a request before its backend was asked.
enum Prepared<'a> {
    Sending(Sending<'a>),
    Answered(Answered),
}

/// Answers `request`. Never fails: what goes wrong is a status.
pub async fn answer(client: Rc<Client>, request: Request<Incoming>) -> Result<Answered, Infallible> {
    let held = client.held();
    let mut sending = match prepare(&client, &held, request) {
        Prepared::Sending(sending) => sending,
        Prepared::Answered(answer) => return Ok(answer),
    };
    let result = sending.exchange().await;
    Ok(sending.end(result))
}

/// Not async, because what an async function is given and what it makes of it take room beside each other until its end.
fn prepare<'a>(client: &'a Rc<Client>, held: &'a Rc<Held>, request: Request<Incoming>) -> Prepared<'a> {
    let (mut parts, body) = request.into_parts();
    if parts.version != Version::HTTP_2 {
        // Nobody's until somebody reads it.
        client.timing.begin_upload((!body.is_end_stream()).then(Rc::default));
    }
    let mut ending = Ending::new(client.clone(), held.clone(), &parts);
    let settings = &held.gateway.settings;
    let upgrade = match hygiene::admit(&mut parts, &settings.limits, &held.gateway.path_policy) {
        Ok(upgrade) => upgrade,
        Err(reject) => {
            let too_large = reject.status() == StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE;
            ending.reason = if too_large { Reason::HeaderTooLarge } else { Reason::BadRequest };
            ending.detail(reject);
            return Prepared::Answered(own(ending, status(reject.status())));
        }
    };
    // Before the rule is looked for: a client's word about itself chooses none. And before the filters: what they say of the
    // client is the operator's word, and the host is the one it asked for.
    let asker = held.identity.apply(&mut parts.headers, &settings.trusted_proxies);
    let found = match find(client, held, &parts, &mut ending) {
        Ok(found) => found,
        Err(code) => return Prepared::Answered(own(ending, status(code))),
    };
    ending.routed(found.rule);
    let way = Way { client, asker, held, rule: found.rule, prefix: found.prefix };
    way.prepare(parts, body, upgrade, ending)
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
    let Some(index) = index else {
        ending.reason = Reason::RouteNotFound;
        return Err(StatusCode::NOT_FOUND);
    };
    ending.listener = Some(index);
    let listener = &held.port.listeners[index];
    let request = route::Request {
        authority,
        method: &parts.method,
        path: parts.uri.path(),
        query: parts.uri.query(),
        headers: &parts.headers,
    };
    let found = listener.router.find(&request);
    if found.is_none() {
        ending.reason = Reason::RouteNotFound;
    }
    found.ok_or(StatusCode::NOT_FOUND)
}

/// Where a request goes by the rule that was found.
struct Way<'a> {
    client: &'a Rc<Client>,
    /// What the client is, as far as trusted proxies before us say.
    asker: identity::Client,
    held: &'a Rc<Held>,
    rule: &'a Rule,
    prefix: Option<usize>,
}

impl<'a> Way<'a> {
    fn prepare(
        &self,
        mut parts: Parts,
        body: Incoming,
        upgrade: Option<Upgrade>,
        mut ending: Ending,
    ) -> Prepared<'a> {
        let mut mirrors = Vec::new();
        if let Some(answer) = self.filter(&self.rule.filters, &mut parts, &mut mirrors) {
            ending.reason = Reason::Filter;
            return Prepared::Answered(respond(self.rule, None, answer, ending));
        }
        let Some(share) = self.rule.backends.choose(|total| fastrand::u64(..total)) else {
            ending.reason = Reason::NoBackend;
            let answer = status(StatusCode::INTERNAL_SERVER_ERROR);
            return Prepared::Answered(respond(self.rule, None, answer, ending));
        };
        if let Some(answer) = self.filter(&share.filters, &mut parts, &mut mirrors) {
            ending.reason = Reason::Filter;
            return Prepared::Answered(respond(self.rule, Some(share), answer, ending));
        }
        let bodiless = parts.method == Method::HEAD;
        let request = self.outgoing(parts, body, upgrade.as_ref(), &mirrors, &mut ending);
        Prepared::Sending(Sending {
            client: self.client,
            held: self.held,
            rule: self.rule,
            share,
            upgrade,
            bodiless,
            request,
            silence: Silence::new(self.client.worker.deadlines.deadline(), self.stream_idle()),
            ending,
        })
    }

    /// Applies filters to the request; Some: they answer it.
    fn filter<'f>(
        &self,
        filters: &'f Filters,
        parts: &mut Parts,
        mirrors: &mut Vec<&'f BackendId>,
    ) -> Option<Response<()>> {
        if filters.is_empty() {
            return None;
        }
        let context = filter::Context {
            scheme: self.asker.scheme,
            port: self.asker.port,
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
        mirrors: &[&BackendId],
        ending: &mut Ending,
    ) -> Request<RequestBody> {
        let is_stream = std::mem::replace(&mut parts.version, Version::HTTP_11) == Version::HTTP_2;
        parts.extensions.clear();
        let mut body = if body.is_end_stream() {
            RequestBody::Empty
        } else {
            let limits = self.limits(&parts.headers);
            let body = ClientBody::new(body, is_stream, self.client.worker.deadlines.deadline(), limits);
            ending.received = Some(body.progress());
            if !is_stream {
                self.client.timing.begin_upload(Some(body.progress()));
            }
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

    /// gRPC's answer may not begin before there is something to say, on streams that are silent for long.
    fn limits(&self, headers: &HeaderMap) -> Limits {
        let timeouts = &self.held.gateway.settings.timeouts;
        let exchange = self.stream_idle();
        let is_grpc = headers.get(CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(GRPC));
        Limits {
            upload: if is_grpc { exchange } else { Duration::from_millis(timeouts.body_idle_ms) },
            exchange,
        }
    }

    fn stream_idle(&self) -> Duration {
        Duration::from_millis(self.held.gateway.settings.timeouts.stream_idle_ms)
    }
}

/// An answer of the proxy's own to a request that came to a rule, or to one of its shares.
pub(super) fn respond(
    rule: &Rule,
    share: Option<&Share>,
    mut answer: Response<()>,
    ending: Ending,
) -> Answered {
    match share {
        Some(share) => response_filters(rule, share, answer.headers_mut()),
        None => rule.filters.response(answer.headers_mut()),
    }
    own(ending, answer)
}

pub(super) fn response_filters(rule: &Rule, share: &Share, headers: &mut HeaderMap) {
    share.filters.response(headers);
    rule.filters.response(headers);
}

/// An answer of the proxy's own.
fn own(mut ending: Ending, answer: Response<()>) -> Answered {
    ending.status = Some(answer.status());
    let draining = ending.client.drain.is_draining();
    let mut response = answer.map(|()| ResponseBody::empty(ending));
    if draining {
        close_after(&mut response);
    }
    response
}

pub(super) fn status(code: StatusCode) -> Response<()> {
    let mut response = Response::new(());
    *response.status_mut() = code;
    response
}

/// HTTP/1.1 closes by it; HTTP/2 has GOAWAY, and hyper drops the field.
pub(super) fn close_after(response: &mut Answered) {
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
}
