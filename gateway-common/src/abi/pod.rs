//! Marks the ABI types as plain bytes for aya's typed maps.
#![expect(unsafe_code, reason = "aya::Pod is an unsafe marker trait")]

use super::{Addr, Port, PortCounters, PortKey, Vip};

// SAFETY: `repr(transparent)` over `[u8; 16]`.
unsafe impl aya::Pod for Addr {}
// SAFETY: `repr(C)` of integers and byte arrays without padding; the size is asserted beside the type.
unsafe impl aya::Pod for PortKey {}
// SAFETY: `repr(C)` of integers without padding; the size is asserted beside the type.
unsafe impl aya::Pod for Port {}
// SAFETY: `repr(C)` of integers without padding; the size is asserted beside the type.
unsafe impl aya::Pod for Vip {}
// SAFETY: `repr(C)` of integers without padding; the size is asserted beside the type.
unsafe impl aya::Pod for PortCounters {}
