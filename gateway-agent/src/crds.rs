//! Our own kinds, group `gatehouse.dev`.

pub mod gateway_parameters;
