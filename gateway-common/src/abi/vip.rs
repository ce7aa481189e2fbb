//! `VIPS`: is this destination address ours? The one lookup that lets everything else pass.

/// What a VIP does with a packet for a port that no listener of its Gateway uses.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NoListener {
    /// The stack answers: TCP with RST, UDP with ICMP port unreachable.
    Reject,
    /// Dropped at TC ingress and counted; node-local clients are still rejected.
    Drop,
}

/// Value of `VIPS`.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Vip {
    /// Number of the Gateway that holds the address; for display only.
    pub gateway: u32,
    /// [`Vip::DROP_NO_LISTENER`] or 0.
    pub flags: u32,
}

impl Vip {
    pub const DROP_NO_LISTENER: u32 = 1;

    pub const fn new(gateway: u32, no_listener: NoListener) -> Self {
        let flags = match no_listener {
            NoListener::Reject => 0,
            NoListener::Drop => Self::DROP_NO_LISTENER,
        };
        Self { gateway, flags }
    }

    #[inline(always)]
    pub const fn drops_without_listener(&self) -> bool {
        self.flags & Self::DROP_NO_LISTENER != 0
    }
}

const _: () = assert!(size_of::<Vip>() == 8);
