//! The kernel edge, the only user of aya: loads, pins and attaches the programs, fills the maps.

pub mod object;
