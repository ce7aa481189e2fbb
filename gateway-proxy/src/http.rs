//! HTTP/1.1 and HTTP/2 of clients, on hyper's connections.

pub mod body;
pub mod client;
pub mod ending;
pub mod flood;
pub mod io;
mod linger;
pub mod mirror;
mod sending;
pub mod serve;
pub mod service;
mod silence;
pub mod stream;
pub mod timing;
mod unparsed;
pub mod upgrade;
