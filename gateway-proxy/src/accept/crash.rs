//! A defect that panics ends the connection that met it, and is seen; the others of the worker go on.

use std::sync::Arc;

use tracing::error;

use crate::access_log::Reason;
use crate::metrics;

/// Held while a connection is served, by the task itself: one that wrapped its work would be twice as large.
pub(super) struct Crash {
    pub port: Arc<metrics::Port>,
    pub worker: usize,
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
        let work = |crash: Crash, steps: u32, breaks: bool| async move {
            let _crash = crash;
            for _ in 0..steps {
                tokio::task::yield_now().await;
            }
            assert!(!breaks, "a defect of the test's own");
        };
        let crash = || Crash { port: port.clone(), worker: 0 };
        let broken = local.spawn_local(work(crash(), 1, true));
        let other = local.spawn_local(work(crash(), 10, false));
        let (broken, other) = local.run_until(async { (broken.await, other.await) }).await;
        assert!(broken.unwrap_err().is_panic() && other.is_ok());
        assert_eq!(port.ended(Reason::Internal), 1);
    }
}
