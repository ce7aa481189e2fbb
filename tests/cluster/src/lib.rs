//! A real Kubernetes on one machine, and the official conformance suite to run against it.
//!
//! Knows nothing of Gatehouse's own crates, so that it builds in moments. Starts no process of its own accord.

pub mod artifacts;
pub mod cluster;
pub mod conformance;
pub mod image;
pub mod progress;
pub mod testing;
pub mod wait;
