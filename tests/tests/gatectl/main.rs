//! gatectl on a node at work: what it shows, what it makes of each broken link, and what it changes.
#![expect(clippy::unwrap_used, reason = "a test ends where something unexpected is")]

mod breaks;
mod dead;
mod explain;
mod leave;
mod scene;
mod show;
mod silent;
mod tls;
