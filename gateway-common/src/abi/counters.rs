//! `PORT_STATS`: per-CPU counters of one VIP port.

/// Value of `PORT_STATS`, one per CPU.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct PortCounters {
    /// Packets for this port seen at TC ingress.
    pub packets: u64,
    /// Their bytes, from the network header on.
    pub bytes: u64,
    /// Packets given to the socket of their own connection.
    pub established: u64,
    /// Packets given to the listening socket at TC ingress.
    pub listener: u64,
    /// Connections and datagrams that `sk_lookup` gave to the listening socket.
    pub lookup: u64,
    /// Packets dropped for this port, whatever the reason.
    pub dropped: u64,
}

impl PortCounters {
    /// The sum over CPUs.
    pub fn sum<'a>(per_cpu: impl IntoIterator<Item = &'a Self>) -> Self {
        per_cpu.into_iter().fold(Self::default(), |sum, cpu| Self {
            packets: sum.packets + cpu.packets,
            bytes: sum.bytes + cpu.bytes,
            established: sum.established + cpu.established,
            listener: sum.listener + cpu.listener,
            lookup: sum.lookup + cpu.lookup,
            dropped: sum.dropped + cpu.dropped,
        })
    }
}

const _: () = assert!(size_of::<PortCounters>() == 48);
