//! The proxy over real sockets: requests, and what may happen to them.
#![expect(clippy::unwrap_used, reason = "a step that fails ends its test")]

#[path = "proxy_http/answers.rs"]
mod answers;
#[path = "proxy_http/backpressure.rs"]
mod backpressure;
#[path = "proxy_http/bed.rs"]
mod bed;
#[path = "proxy_http/clients.rs"]
mod clients;
#[path = "proxy_http/failures.rs"]
mod failures;
#[path = "proxy_http/filters.rs"]
mod filters;
#[path = "proxy_http/floods.rs"]
mod floods;
#[path = "proxy_http/forwarding.rs"]
mod forwarding;
#[path = "proxy_http/h2c.rs"]
mod h2c;
#[path = "proxy_http/lifecycle.rs"]
mod lifecycle;
#[path = "proxy_http/matches.rs"]
mod matches;
#[path = "proxy_http/refusals.rs"]
mod refusals;
#[path = "proxy_http/smuggling.rs"]
mod smuggling;
#[path = "proxy_http/streams.rs"]
mod streams;
#[path = "proxy_http/tls.rs"]
mod tls;
#[path = "proxy_http/trusted.rs"]
mod trusted;
#[path = "proxy_http/waiting.rs"]
mod waiting;
#[path = "proxy_http/websocket.rs"]
mod websocket;
