//! Connections that are forwarded unopened: TCP listeners and TLS passthrough.

use std::rc::Rc;
use std::sync::Arc;

use gateway_common::ir::Route;
use tokio::io::AsyncWriteExt;
use tracing::debug;

use crate::accept::Accepted;
use crate::snapshot::l4;
use crate::upstream::connect;
use crate::worker::Worker;

/// Forwards a connection to a backend of `route`, the bytes already read first. Without a route it is reset.
pub async fn serve(worker: Rc<Worker>, mut accepted: Accepted, route: Option<Arc<Route>>) {
    let Some(route) = route else { return };
    let view = worker.view();
    let request = connect::Request {
        view: &view,
        backends: l4::backends(&route),
        timeouts: &accepted.gateway.settings.timeouts,
        client: accepted.client,
        vip: accepted.vip,
    };
    match connect::stream(&worker, &request).await {
        Ok((mut upstream, _lease)) => {
            if upstream.write_all(&accepted.read).await.is_ok() {
                let _ended = tokio::io::copy_bidirectional(&mut accepted.stream, &mut upstream).await;
            }
        }
        Err(error) => debug!(gateway = %accepted.gateway.id, %error, "connection not forwarded"),
    }
}
