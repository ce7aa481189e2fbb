//! Counters of one port of a Gateway: what happens to connections before and below requests.

use gateway_common::ir::{GatewayId, PortProtocol};

use super::counter::{Counter, Sharded};
use crate::access_log::Reason;

#[derive(Debug)]
pub struct Port {
    pub gateway: GatewayId,
    pub port: u16,
    pub protocol: PortProtocol,
    shards: Sharded<PortShard>,
}

/// One worker's part.
#[derive(Default, Debug)]
pub struct PortShard {
    pub opened: Counter,
    pub closed: Counter,
    pub handshakes_full: Counter,
    pub handshakes_resumed: Counter,
    pub received: Counter,
    pub sent: Counter,
    pub datagrams_in: Counter,
    pub datagrams_out: Counter,
    pub dropped_in: Counter,
    pub dropped_out: Counter,
    ended: [Counter; Reason::ALL.len()],
}

impl Port {
    pub(super) fn new(gateway: GatewayId, port: u16, protocol: PortProtocol, workers: usize) -> Self {
        Self { gateway, port, protocol, shards: Sharded::new(workers) }
    }

    pub fn of(&self, worker: usize) -> &PortShard {
        self.shards.of(worker)
    }

    pub fn sum(&self, part: impl Fn(&PortShard) -> &Counter) -> u64 {
        self.shards.sum(|shard| part(shard).get())
    }

    pub fn ended(&self, reason: Reason) -> u64 {
        self.sum(|shard| &shard.ended[reason as usize])
    }

    /// Connections or UDP sessions open now.
    pub fn open(&self) -> u64 {
        // Closed first: a connection that ends in between must not make the difference negative.
        let closed = self.sum(|shard| &shard.closed);
        self.sum(|shard| &shard.opened).saturating_sub(closed)
    }
}

impl PortShard {
    /// Counts why a connection or UDP session ended, or was refused.
    pub fn end(&self, reason: Reason) {
        self.ended[reason as usize].increment();
    }
}

pub(super) fn protocol(protocol: PortProtocol) -> &'static str {
    match protocol {
        PortProtocol::Http => "HTTP",
        PortProtocol::Tls => "TLS",
        PortProtocol::Tcp => "TCP",
        PortProtocol::Udp => "UDP",
    }
}
