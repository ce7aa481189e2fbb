//! Sizes of the maps; part of the ABI, because a pinned map keeps the size it was made with.

/// VIPs on one node.
pub const MAX_VIPS: u32 = 16_384;
/// (address, port, protocol) on one node.
pub const MAX_PORTS: u32 = 65_536;
/// Listening sockets in `SOCKS`: one per Gateway and family for TCP, one per VIP port for UDP.
pub const MAX_SOCKETS: u32 = 16_384;
/// Prefixes of the XDP deny list.
pub const MAX_DENY: u32 = 131_072;
