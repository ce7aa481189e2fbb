//! Nothing ambiguous reaches a backend: what hyper accepts and a proxy must not forward as it is.

pub mod hop_by_hop;
