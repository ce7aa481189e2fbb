//! The kernel ABI: every byte that crosses the line between agent and eBPF programs.
//!
//! All types are `repr(C)` without padding; addresses and ports are network byte order in `[u8; N]`; IPv4 is v4-mapped
//! (RFC 4291 §2.5.5.2), so that one table serves both families. A change of any layout changes [`ABI_VERSION`].

pub mod addr;
pub mod counters;
pub mod limits;
pub mod names;
#[cfg(feature = "user")]
mod pod;
pub mod port;
pub mod reason;
pub mod vip;

pub use addr::{ALLOWED, Addr, DENIED, Denied, DenyKey};
pub use counters::PortCounters;
pub use port::{Port, PortKey, Proto};
pub use reason::Reason;
pub use vip::{NoListener, Vip};

/// Names the directory of the pins; raised whenever the layout of a pinned map changes.
pub const ABI_VERSION: u32 = 1;
