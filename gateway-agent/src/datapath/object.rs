//! The compiled eBPF programs, built by build.rs and carried in the binary.

/// An ELF object, aligned as aya wants it.
pub static BYTES: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/gateway"));
