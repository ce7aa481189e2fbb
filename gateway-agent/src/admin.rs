//! The agent's admin socket: HTTP/1.1 on a Unix socket, read by `gatectl` and curl. Paths: `gateway_common::admin`.

use std::convert::Infallible;
use std::io;
use std::time::Duration;

use bytes::Bytes;
use gateway_common::admin::AgentStatus;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode, header};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde::Serialize;
use tokio::net::UnixListener;
use tokio::sync::{mpsc, watch};

use crate::objects_file::Objects;
use crate::unix;

/// What the reconcile loop shows of itself.
#[derive(Clone, Debug)]
pub struct View {
    pub status: AgentStatus,
    pub objects: Objects,
}

/// What an operator may ask the reconcile loop to do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Operation {
    ReplaceProxy,
}

const INDEX: &str = "GET /status\nGET /objects\nPOST /replace-proxy\n";

const NOT_OURS: &str = "this agent does not start the proxy (--proxy connect), and so cannot replace it: whoever \
started the proxy must start another, and end the old one with SIGTERM, which drains it\n";

/// Answers until the socket fails; why.
pub async fn serve(
    listener: UnixListener,
    view: watch::Receiver<View>,
    operations: mpsc::Sender<Operation>,
) -> io::Error {
    loop {
        let stream = match unix::accept(&listener).await {
            Ok(stream) => stream,
            Err(error) => return error,
        };
        let (view, operations) = (view.clone(), operations.clone());
        tokio::spawn(async move {
            let service = service_fn(|request| answer(request, &view, &operations));
            let connection = hyper::server::conn::http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(Duration::from_secs(5))
                .serve_connection(TokioIo::new(stream), service);
            if let Err(error) = connection.await {
                tracing::debug!(%error, "admin connection");
            }
        });
    }
}

async fn answer(
    request: Request<Incoming>,
    view: &watch::Receiver<View>,
    operations: &mpsc::Sender<Operation>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    Ok(match (request.method(), request.uri().path()) {
        (&Method::GET, "/") => text(StatusCode::OK, INDEX),
        (&Method::GET, "/status") => json(&view.borrow().status),
        (&Method::GET, "/objects") => {
            // Written out without holding up the loop.
            let objects: Vec<_> = view.borrow().objects.values().cloned().collect();
            json(&objects.iter().map(|object| &**object).collect::<Vec<_>>())
        }
        (&Method::POST, "/replace-proxy") if !view.borrow().status.spawns_proxies => {
            text(StatusCode::CONFLICT, NOT_OURS)
        }
        (&Method::POST, "/replace-proxy") => match operations.send(Operation::ReplaceProxy).await {
            Ok(()) => text(StatusCode::ACCEPTED, "replacing\n"),
            Err(_) => text(StatusCode::SERVICE_UNAVAILABLE, "the agent is ending\n"),
        },
        _ => text(StatusCode::NOT_FOUND, INDEX),
    })
}

fn json<T: Serialize + ?Sized>(value: &T) -> Response<Full<Bytes>> {
    match serde_json::to_vec(value) {
        Ok(body) => {
            let mut response = Response::new(Full::from(body));
            response
                .headers_mut()
                .insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/json"));
            response
        }
        Err(error) => text(StatusCode::INTERNAL_SERVER_ERROR, &format!("{error}\n")),
    }
}

fn text(status: StatusCode, body: &str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(body.to_owned()));
    *response.status_mut() = status;
    response
}
