//! RequestMirror: the same request to another backend. Nobody waits for its answer, and nothing that happens to it is
//! seen by the client.

use std::rc::Rc;

use gateway_common::ir::BackendId;
use http::Request;
use http::request::Parts;
use http_body_util::BodyExt;
use tokio::task::spawn_local;
use tracing::debug;

use super::client::{Client, Held};
use crate::upstream::body::RequestBody;
use crate::upstream::exchange::{self, Terms};

/// Sends a copy of the request; its body follows as the client sends it.
pub fn start(client: &Rc<Client>, held: &Rc<Held>, id: &BackendId, parts: &Parts, body: &mut RequestBody) {
    let copy = match body {
        RequestBody::Empty | RequestBody::Copy(_) => RequestBody::Empty,
        RequestBody::Client(body) => body.copy(),
    };
    let mut request = Request::new(copy);
    *request.method_mut() = parts.method.clone();
    *request.uri_mut() = parts.uri.clone();
    *request.headers_mut() = parts.headers.clone();
    spawn_local(send(client.clone(), held.clone(), id.clone(), request));
}

async fn send(client: Rc<Client>, held: Rc<Held>, id: BackendId, mut request: Request<RequestBody>) {
    let worker = &client.worker;
    let Some(upstream) = worker.upstreams.upstream(&held.view, &id) else { return };
    let terms = Terms { timeouts: &held.gateway.settings.timeouts, client: client.address, vip: client.vip };
    match exchange::exchange(worker, &upstream, &mut request, &terms).await {
        Ok(answer) => {
            let mut body = answer.body;
            while let Some(Ok(_)) = body.frame().await {}
            body.finish(worker);
        }
        Err(error) => debug!(backend = %id, %error, "mirror failed"),
    }
}
