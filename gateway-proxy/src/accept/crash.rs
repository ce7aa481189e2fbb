//! A defect that panics ends the connection that met it, and is seen; the others of the worker go on.

use std::sync::Arc;

use tracing::error;

use crate::access_log::Reason;
use crate::metrics;

struct Crash {
    port: Arc<metrics::Port>,
    worker: usize,
}

/// The work of one connection, as a task of its own.
pub(super) async fn counted(port: Arc<metrics::Port>, worker: usize, work: impl Future<Output = ()>) {
    let _crash = Crash { port, worker };
    work.await;
}

impl Drop for Crash {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.port.of(self.worker).end(Reason::Internal);
            error!(gateway = %self.port.gateway, port = self.port.port, "a defect ended a connection");
        }
    }
}

#[cfg(test)]
mod tests {
    use gateway_common::ir::{GatewayId, PortProtocol};
    use tokio::task::LocalSet;

    use super::*;
    use crate::metrics::Metrics;

    #[tokio::test]
    async fn a_panic_is_counted_and_ends_its_own_task_alone() {
        let metrics = Metrics::new(1);
        let port = metrics.port(&GatewayId::new("default/web"), 80, PortProtocol::Http);
        let local = LocalSet::new();
        let other = local.spawn_local(counted(port.clone(), 0, async {
            for _ in 0..10 {
                tokio::task::yield_now().await;
            }
        }));
        let crashing = counted(port.clone(), 0, async {
            tokio::task::yield_now().await;
            panic!("a defect of the test's own");
        });
        let broken = local.spawn_local(crashing);
        let (broken, other) = local.run_until(async { (broken.await, other.await) }).await;
        assert!(broken.unwrap_err().is_panic() && other.is_ok());
        assert_eq!(port.ended(Reason::Internal), 1);
    }
}
