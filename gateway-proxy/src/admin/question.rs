//! What the admin thread asks the workers, since only they know.

use std::rc::Rc;

use gateway_common::admin;
use tokio::sync::oneshot;

use crate::upstream::Upstream;
use crate::worker::Worker;

/// One question to one worker. A worker that ends drops it, which the asker sees.
pub enum Question {
    Connections(oneshot::Sender<Vec<admin::Connection>>),
    Backends(oneshot::Sender<Vec<admin::BackendStatus>>),
}

impl Question {
    pub async fn answer(self, worker: Rc<Worker>) {
        // An asker that stopped waiting needs no answer.
        match self {
            Self::Connections(to) => drop(to.send(worker.connections.list().await)),
            Self::Backends(to) => {
                let now = worker.upstreams.now_ms();
                let used = worker.upstreams.list();
                drop(to.send(used.iter().map(|upstream| status(upstream, now)).collect()));
            }
        }
    }
}

/// A backend as one worker sees it.
fn status(upstream: &Upstream, now: u64) -> admin::BackendStatus {
    let endpoints = upstream.endpoints().into_iter().map(|endpoint| admin::EndpointStatus {
        address: endpoint.address,
        state: if endpoint.is_ejected(now) { "ejected" } else { "ready" }.to_owned(),
        active: u64::from(endpoint.active()),
        connections: u64::from(endpoint.connections()),
        requests: endpoint.requests.get(),
        connect_failures: endpoint.connect_failures.get(),
    });
    admin::BackendStatus { id: upstream.backend().id.clone(), endpoints: endpoints.collect() }
}
