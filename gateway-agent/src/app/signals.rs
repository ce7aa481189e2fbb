//! What the operator or the service manager tells the process.

use anyhow::Context;
use tokio::signal::unix::{Signal, SignalKind, signal};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Told {
    /// SIGTERM, SIGINT
    End,
    /// SIGHUP
    ReplaceProxy,
}

pub(super) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    /// From now on a signal waits to be asked for; before, it ends the process.
    pub(super) fn listen() -> anyhow::Result<Self> {
        let listen = |kind| signal(kind).context("listen for signals");
        Ok(Self {
            terminate: listen(SignalKind::terminate())?,
            interrupt: listen(SignalKind::interrupt())?,
            hangup: listen(SignalKind::hangup())?,
        })
    }

    /// Cancel-safe.
    pub(super) async fn next(&mut self) -> Told {
        tokio::select! {
            _ = self.terminate.recv() => Told::End,
            _ = self.interrupt.recv() => Told::End,
            _ = self.hangup.recv() => Told::ReplaceProxy,
        }
    }

    /// While there is no proxy to replace.
    pub(super) async fn end(&mut self) {
        while self.next().await != Told::End {}
    }
}
