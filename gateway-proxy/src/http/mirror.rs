//! RequestMirror: the same request to another backend. Nobody waits for its answer, and nothing that happens to it is
//! seen by the client, nor by others: it is given up when nothing of it moves, and not begun when there are too many.

use std::cell::Cell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use gateway_common::ir::BackendId;
use http::Request;
use http::request::Parts;
use http_body_util::BodyExt;
use tokio::task::spawn_local;
use tracing::debug;

use super::client::{Client, Held};
use crate::upstream::Upstream;
use crate::upstream::body::RequestBody;
use crate::upstream::copy::Patience;
use crate::upstream::exchange::{self, Terms};
use crate::worker::Worker;

/// Requests that one worker may have open to a mirror: a slow one must not take all descriptors.
const MOST: u32 = 1000;

struct Mirror {
    worker: Rc<Worker>,
    held: Rc<Held>,
    upstream: Rc<Upstream>,
    client: SocketAddr,
    vip: SocketAddr,
    /// With a request that does not go, and with the whole of its answer.
    patience: Patience,
}

/// Sends a copy of the request; its body follows as the client sends it.
pub fn start(client: &Rc<Client>, held: &Rc<Held>, id: &BackendId, parts: &Parts, body: &mut RequestBody) {
    let worker = &client.worker;
    let Some(upstream) = worker.upstreams.upstream(&held.view, id) else { return };
    if upstream.active() >= MOST {
        debug!(backend = %id, "not mirrored: it has {MOST} requests open");
        return;
    }
    let limit = Duration::from_millis(held.gateway.settings.timeouts.body_idle_ms);
    let patience = Patience::new(worker.deadlines.deadline(), limit);
    let copy = match body {
        RequestBody::Empty | RequestBody::Copy(_) => RequestBody::Empty,
        RequestBody::Client(body) => body.copy(patience.clone()),
    };
    let mut request = Request::new(copy);
    *request.method_mut() = parts.method.clone();
    *request.uri_mut() = parts.uri.clone();
    *request.headers_mut() = parts.headers.clone();
    // Not the client itself, whose connection may end before.
    let mirror = Mirror {
        worker: worker.clone(),
        held: held.clone(),
        upstream,
        client: client.address,
        vip: client.vip,
        patience,
    };
    spawn_local(mirror.send(request));
}

impl Mirror {
    async fn send(self, request: Request<RequestBody>) {
        tokio::select! {
            () = self.exchange(request) => {}
            () = self.patience.over() => {
                debug!(backend = %self.upstream.backend().id, "mirror given up: nothing moves");
            }
        }
    }

    async fn exchange(&self, mut request: Request<RequestBody>) {
        let timeouts = &self.held.gateway.settings.timeouts;
        let asked = Cell::new(None);
        let terms = Terms { timeouts, client: self.client, vip: self.vip, sni: None, asked: &asked };
        match exchange::exchange(&self.worker, &self.upstream, &mut request, &terms).await {
            Ok(answer) => {
                self.patience.renew();
                let mut body = answer.body;
                while let Some(Ok(_)) = body.frame().await {}
                body.finish(&self.worker);
            }
            Err(error) => debug!(backend = %self.upstream.backend().id, %error, "mirror failed"),
        }
    }
}
