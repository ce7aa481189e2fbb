//! What the programs of Gatehouse agree on. Two rooms, nothing else: [`abi`] is what agent and kernel share, `ir` what
//! agent and proxy share.
#![cfg_attr(not(feature = "std"), no_std)]

pub mod abi;
#[cfg(feature = "std")]
pub mod admin;
#[cfg(feature = "channel")]
pub mod channel;
#[cfg(feature = "std")]
pub mod ir;
