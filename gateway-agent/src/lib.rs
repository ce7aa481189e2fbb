//! The agent of one node: Gateway API objects in, kernel and proxy state out.
//!
//! `source → World → translate → Desired → observe, plan, apply per edge → outcomes → status`. Modules under *pure* do no
//! I/O and read no clock.

// Pure.
pub use gateway_api_types as api;

pub mod crds;
pub mod desired;
pub mod device;
pub mod object;
pub mod translate;
pub mod world;
mod yaml;

// Edges: each is the only user of its outside world.
pub mod announce;
pub mod datapath;
pub mod objects_file;
pub mod proxy;
pub mod source;
pub mod status_dir;

// Wiring.
pub mod admin;
pub mod app;
pub mod cli;
pub mod config;
pub mod reconcile;
pub mod telemetry;
mod unix;
