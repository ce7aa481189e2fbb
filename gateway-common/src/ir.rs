//! The agent-proxy protocol: what the proxy must do, as resources that change one by one.
//!
//! Resources name each other by id and children point to their parents, so that one changed object of the user is one
//! small message. Frames and sockets travel as [`frame`] and `channel` describe; [`message`] has the conversation.
//!
//! Compatibility: fields may be added with `#[serde(default)]`; unknown fields are ignored; an enum variant may be
//! added only together with a raised [`PROTOCOL`]. Each side speaks [`OLDEST_PROTOCOL`]..=[`PROTOCOL`].

pub mod backend;
pub mod certificate;
pub mod filter;
pub mod frame;
pub mod gateway;
pub mod id;
pub mod matching;
pub mod message;
pub mod resource;
pub mod route;
pub mod settings;
pub mod socket;

pub use backend::{Backend, BackendProtocol, Endpoint, EndpointState, ProxyProtocolOut};
pub use certificate::Certificate;
pub use filter::{Filter, HeaderEdit, HeaderModifier, Mirror, PathModifier, Redirect, Rewrite};
pub use gateway::{Gateway, Listener, ListenerProtocol, Port, PortProtocol, ProxyProtocolIn};
pub use id::{BackendId, CertificateId, GatewayId, Hostname, RouteId};
pub use matching::{HttpMatch, NameValueMatch, PathMatch, ValueMatch};
pub use message::{FromAgent, FromProxy, Problem};
pub use resource::{Key, Resource};
pub use route::{Attachment, BackendRef, HttpRule, L4Rule, Route, RouteRules, Timeouts};
pub use settings::{AccessLog, EscapedSlashes, Limits, Settings, TimeoutSettings};
pub use socket::{Family, SocketId};

/// The version that this build speaks when its neighbour can.
pub const PROTOCOL: u32 = 1;
/// The oldest version that this build still understands.
pub const OLDEST_PROTOCOL: u32 = 1;
