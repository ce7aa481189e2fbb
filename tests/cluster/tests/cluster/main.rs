//! Tests on a real cluster. They are built with the feature `cluster` only and fail where they cannot run.
#![expect(clippy::unwrap_used, reason = "a test ends where something unexpected is")]

mod clean;
mod conformance;
mod daemon;
mod flannel;
mod life;
mod pods;
mod services;
mod suites;
mod web;
