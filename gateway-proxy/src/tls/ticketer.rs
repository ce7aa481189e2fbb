//! The one key that session tickets are sealed with. It belongs to the process, so that no change of configuration costs
//! clients their resumption.

use std::sync::{Arc, LazyLock};

use rustls::crypto::aws_lc_rs;
use rustls::server::ProducesTickets;

#[derive(Debug)]
struct NoTickets;

impl ProducesTickets for NoTickets {
    fn enabled(&self) -> bool {
        false
    }

    fn lifetime(&self) -> u32 {
        0
    }

    fn encrypt(&self, _plain: &[u8]) -> Option<Vec<u8>> {
        None
    }

    fn decrypt(&self, _cipher: &[u8]) -> Option<Vec<u8>> {
        None
    }
}

/// Rotates its key by itself. Without a source of randomness there are no tickets, and all handshakes are full.
pub fn shared() -> Arc<dyn ProducesTickets> {
    static TICKETER: LazyLock<Arc<dyn ProducesTickets>> =
        LazyLock::new(|| aws_lc_rs::Ticketer::new().unwrap_or_else(|_| Arc::new(NoTickets)));
    TICKETER.clone()
}
