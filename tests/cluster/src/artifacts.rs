//! What the cluster runs, built from pinned Go modules and kept in the user's cache.

mod component;

pub use component::{Channel, Component, Suite};
