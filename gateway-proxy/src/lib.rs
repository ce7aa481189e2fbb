//! The proxy of one node. It serves connections on sockets that the agent opened, by one immutable snapshot at a time.
//! It opens no listening socket, reads no Kubernetes object and needs no privilege.

pub mod accept;
pub mod access_log;
pub mod admin;
pub mod app;
pub mod client_hello;
pub mod config;
pub mod connections;
pub mod control;
pub mod deadline;
pub mod drain;
pub mod error;
pub mod filter;
pub mod gather;
pub mod http;
pub mod hygiene;
pub mod identity;
pub mod keepalive;
pub mod listen;
pub mod metrics;
pub mod path;
pub mod preface;
pub mod proxy_protocol;
mod refused;
pub mod route;
pub mod snapshot;
pub mod tcp;
pub mod telemetry;
pub mod tls;
pub mod udp;
pub mod upstream;
pub mod worker;
