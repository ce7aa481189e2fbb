//! The proxy edge: gives sockets and updates to every proxy of the node, and keeps one alive when the agent spawns it.
//!
//! Holds no resources: an update is a delta that all accepting proxies get, a proxy that joins gets everything.

pub mod control;
pub mod encode;
pub mod outbox;
pub mod peer;
pub mod peers;
pub mod spawn;
pub mod supervise;

pub use peers::Peers;
pub use spawn::Spawn;
pub use supervise::Supervisor;
