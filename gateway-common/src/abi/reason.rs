//! Why a packet for a VIP was dropped or rejected. `REASONS` counts each per CPU.

/// Index into `REASONS`. Every packet that we drop increments exactly one of them.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(u32)]
pub enum Reason {
    /// A packet for a VIP whose headers end before its ports do.
    Truncated = 0,
    /// More IPv6 extension headers than the program follows.
    Extensions = 1,
    /// No listener uses this port: rejected by the stack (RST, port unreachable).
    NoListenerReject = 2,
    /// No listener uses this port and the Gateway asks for silence.
    NoListenerDrop = 3,
    /// The port has a listener, but no socket is behind it: the proxy is gone for good.
    NoSocket = 4,
    /// The kernel refused to give a connection attempt to the listening socket.
    AssignFailed = 5,
    /// XDP: the source is on the deny list.
    Denied = 6,
    /// XDP: nobody listens on this VIP port.
    XdpNoListener = 7,
}

impl Reason {
    pub const COUNT: u32 = 8;
    pub const ALL: [Self; Self::COUNT as usize] = [
        Self::Truncated,
        Self::Extensions,
        Self::NoListenerReject,
        Self::NoListenerDrop,
        Self::NoSocket,
        Self::AssignFailed,
        Self::Denied,
        Self::XdpNoListener,
    ];

    /// The label that counters and `gatectl drops` show.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Truncated => "truncated",
            Self::Extensions => "ipv6_extensions",
            Self::NoListenerReject => "no_listener_reject",
            Self::NoListenerDrop => "no_listener_drop",
            Self::NoSocket => "no_socket",
            Self::AssignFailed => "assign_failed",
            Self::Denied => "denied",
            Self::XdpNoListener => "xdp_no_listener",
        }
    }

    /// One sentence for people.
    pub const fn explain(self) -> &'static str {
        match self {
            Self::Truncated => "the packet's headers end before its ports",
            Self::Extensions => "more than 8 IPv6 extension headers",
            Self::NoListenerReject => "no listener on this port; the client got a RST or port unreachable",
            Self::NoListenerDrop => {
                "no listener on this port; the Gateway's parameters ask for a silent drop"
            }
            Self::NoSocket => "the port has a listener but no proxy socket is behind it",
            Self::AssignFailed => "the kernel refused to give the packet to the listening socket",
            Self::Denied => "the source address is on the deny list",
            Self::XdpNoListener => "dropped by XDP: no listener on this port",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_is_in_index_order() {
        for (index, reason) in Reason::ALL.iter().enumerate() {
            assert_eq!(*reason as usize, index);
        }
    }
}
