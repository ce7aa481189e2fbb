//! One request of the admin socket and its answer.

use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use bytes::Bytes;
use gateway_common::admin::{Connection, ProxyStatus, RouteQuery};
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Body, Incoming};
use serde::Serialize;
use tokio::sync::oneshot;

use super::{Question, State, backends, listeners, route_test, routes};
use crate::metrics::exposition;
use crate::metrics::process::ProcessUsage;
use crate::worker::Command;

/// Bytes of a request's body.
const LARGEST_BODY: usize = 64 * 1024;
/// How long a worker may take.
const WORKER: Duration = Duration::from_secs(2);

/// Who can ask.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Scope {
    /// Whoever may open the Unix socket: everything.
    Admin,
    /// Whoever reaches the TCP address: metrics and readiness.
    Public,
}

const PATHS: &[(&str, &str, &str)] = &[
    ("GET", "/status", "process, generation, agent, problems"),
    ("GET", "/connections", "open client connections and UDP sessions"),
    ("GET", "/backends", "backends and their endpoints"),
    ("GET", "/listeners", "listeners with routes and connections"),
    ("GET", "/routes", "routes with their rules"),
    ("POST", "/route-test", "what a request would get"),
    ("GET", "/metrics", "Prometheus text format"),
    ("GET", "/ready", "200 once a configuration is served, else 503"),
];

pub(super) async fn to(state: &State, scope: Scope, request: Request<Incoming>) -> Response<Full<Bytes>> {
    let path = request.uri().path().to_owned();
    let path = path.as_str();
    if scope == Scope::Admin && path == "/" {
        return text(StatusCode::OK, index(scope));
    }
    let Some((method, ..)) = scope.paths().find(|(_, known, _)| *known == path) else {
        return text(StatusCode::NOT_FOUND, format!("no such path; there are:\n{}", index(scope)));
    };
    if request.method().as_str() != *method && !(request.method() == Method::HEAD && *method == "GET") {
        let mut response = text(StatusCode::METHOD_NOT_ALLOWED, format!("use {method}\n"));
        response.headers_mut().insert(ALLOW, HeaderValue::from_static(method));
        return response;
    }
    match path {
        "/status" => json(&status(state)),
        "/connections" => {
            connections(state).await.map_or_else(|silent| silent.response(), |list| json(&list))
        }
        "/backends" => match ask(state, Question::Backends).await {
            Ok(seen) => json(&backends::merged(&state.current.load(), seen)),
            Err(silent) => silent.response(),
        },
        "/listeners" => json(&listeners::status(&state.current.load())),
        "/routes" => json(&routes::status(&state.current.load())),
        "/route-test" => route_test(state, request).await,
        "/metrics" => metrics(state),
        _ => ready(state),
    }
}

pub(super) fn text(status: StatusCode, body: String) -> Response<Full<Bytes>> {
    response(status, "text/plain; charset=utf-8", body.into())
}

fn json<T: Serialize>(value: &T) -> Response<Full<Bytes>> {
    match serde_json::to_vec(value) {
        Ok(body) => response(StatusCode::OK, "application/json", body.into()),
        Err(error) => text(StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")),
    }
}

fn response(status: StatusCode, kind: &'static str, body: Bytes) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

impl Scope {
    fn paths(self) -> impl Iterator<Item = &'static (&'static str, &'static str, &'static str)> {
        PATHS.iter().filter(move |(_, path, _)| self == Self::Admin || ["/metrics", "/ready"].contains(path))
    }
}

fn index(scope: Scope) -> String {
    scope.paths().map(|(method, path, what)| format!("{method:4} {path:14} {what}\n")).collect()
}

fn status(state: &State) -> ProxyStatus {
    ProxyStatus {
        pid: std::process::id(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        uptime_seconds: state.facts.uptime().as_secs(),
        generation: state.current.load().generation,
        draining: state.facts.is_draining(),
        agent_connected: state.facts.is_agent_connected(),
        workers: u32::try_from(state.metrics.workers()).unwrap_or(u32::MAX),
        connections: state.metrics.counted().ports.iter().map(|port| port.open()).sum(),
        problems: state.facts.problems(),
    }
}

fn ready(state: &State) -> Response<Full<Bytes>> {
    if state.current.load().generation == 0 {
        return text(StatusCode::SERVICE_UNAVAILABLE, "no configuration from the agent yet\n".to_owned());
    }
    text(StatusCode::OK, "ready\n".to_owned())
}

fn metrics(state: &State) -> Response<Full<Bytes>> {
    let facts = exposition::Facts {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        start_seconds: state.facts.started_at(),
        workers: state.metrics.workers(),
        generation: state.current.load().generation,
        problems: state.facts.problems().len(),
        agent_connected: state.facts.is_agent_connected(),
        draining: state.facts.is_draining(),
        log_lines: state.facts.log.lines.load(Relaxed),
        log_dropped: state.facts.log.dropped.load(Relaxed),
        usage: ProcessUsage::read(),
    };
    let page = exposition::render(&state.metrics.counted(), &facts);
    response(StatusCode::OK, exposition::CONTENT_TYPE, page.into())
}

async fn route_test(state: &State, request: Request<Incoming>) -> Response<Full<Bytes>> {
    let body = request.into_body();
    if body.size_hint().lower() > LARGEST_BODY as u64 {
        return text(StatusCode::PAYLOAD_TOO_LARGE, format!("more than {LARGEST_BODY} bytes\n"));
    }
    let body = match Limited::new(body, LARGEST_BODY).collect().await {
        Ok(body) => body.to_bytes(),
        Err(error) => return text(StatusCode::BAD_REQUEST, format!("body: {error}\n")),
    };
    let query: RouteQuery = match serde_json::from_slice(&body) {
        Ok(query) => query,
        Err(error) => return text(StatusCode::BAD_REQUEST, format!("body is no route query: {error}\n")),
    };
    match route_test::answer(&state.current.load(), &query) {
        Ok(answer) => json(&answer),
        Err(error) => text(StatusCode::BAD_REQUEST, format!("no such request can be made: {error}\n")),
    }
}

async fn connections(state: &State) -> Result<Vec<Connection>, Silent> {
    let mut list: Vec<_> = ask(state, Question::Connections).await?.into_iter().flatten().collect();
    list.sort_by(|a, b| b.age_ms.cmp(&a.age_ms).then_with(|| a.client.cmp(&b.client)));
    Ok(list)
}

/// A worker that did not answer.
struct Silent(usize);

impl Silent {
    fn response(&self) -> Response<Full<Bytes>> {
        let worker = self.0;
        let body = format!("worker {worker} did not answer within {} s\n", WORKER.as_secs());
        text(StatusCode::SERVICE_UNAVAILABLE, body)
    }
}

/// Asks every worker at once. One that has ended (a drained proxy's) counts as having nothing.
async fn ask<T: Default>(
    state: &State,
    question: impl Fn(oneshot::Sender<T>) -> Question,
) -> Result<Vec<T>, Silent> {
    let asked = state.workers.iter().map(|worker| {
        let (sender, receiver) = oneshot::channel();
        // The question is dropped with a worker that has ended, and the receiver sees that.
        let _ = worker.send(Command::Ask(question(sender)));
        receiver
    });
    let end = tokio::time::Instant::now() + WORKER;
    let mut answers = Vec::new();
    for (worker, receiver) in asked.collect::<Vec<_>>().into_iter().enumerate() {
        match tokio::time::timeout_at(end, receiver).await {
            Ok(answer) => answers.push(answer.unwrap_or_default()),
            Err(_) => return Err(Silent(worker)),
        }
    }
    Ok(answers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_public_side_shows_metrics_and_readiness_only() {
        assert_eq!(Scope::Admin.paths().count(), PATHS.len());
        assert_eq!(
            Scope::Public.paths().map(|(_, path, _)| *path).collect::<Vec<_>>(),
            ["/metrics", "/ready"]
        );
    }
}
