//! `PORTS`: which listening socket takes this address, port and protocol?

use super::Addr;

/// IP protocol numbers of the transports that a listener can have.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(u8)]
pub enum Proto {
    Tcp = 6,
    Udp = 17,
}

impl Proto {
    pub const fn from_number(number: u8) -> Option<Self> {
        match number {
            6 => Some(Self::Tcp),
            17 => Some(Self::Udp),
            _ => None,
        }
    }

    pub const fn name(self) -> &'static str {
        match self {
            Self::Tcp => "TCP",
            Self::Udp => "UDP",
        }
    }
}

/// Key of `PORTS`.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct PortKey {
    pub addr: Addr,
    /// Network byte order.
    pub port: [u8; 2],
    /// A [`Proto`].
    pub proto: u8,
    pub pad: u8,
}

impl PortKey {
    pub const fn new(addr: Addr, port: u16, proto: Proto) -> Self {
        Self { addr, port: port.to_be_bytes(), proto: proto as u8, pad: 0 }
    }

    pub const fn port(&self) -> u16 {
        u16::from_be_bytes(self.port)
    }
}

/// Value of `PORTS`.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Port {
    /// Slot of the listening socket in `SOCKS`.
    pub slot: u32,
    /// Index of this port's counters in `PORT_STATS`.
    pub counter: u32,
}

const _: () = assert!(size_of::<PortKey>() == 20 && align_of::<PortKey>() == 1);
const _: () = assert!(size_of::<Port>() == 8);
