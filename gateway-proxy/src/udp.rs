//! UDP sessions.

use std::rc::Rc;

use gateway_common::ir::GatewayId;
use tokio::net::UdpSocket;

use crate::drain::Drain;
use crate::worker::Worker;

/// Serves one worker's socket of one VIP and port, until drained.
pub async fn serve(worker: Rc<Worker>, gateway: GatewayId, socket: UdpSocket, drain: Drain) {
    let _held = (worker, gateway, socket);
    drain.draining().await;
}
