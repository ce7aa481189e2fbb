//! The conversation on the control socket.
//!
//! The proxy connects and says [`FromProxy::Hello`] with the sockets it already holds (a restarted agent takes them
//! over), the agent answers [`FromAgent::Hello`], then sends sockets and updates. The proxy acknowledges each committed
//! generation. The proxy connects again whenever the agent goes away, and serves on meanwhile.
//!
//! `fds` in a message says how many descriptors travel with it.

use serde::{Deserialize, Serialize};

use super::{Key, Resource, SocketId};

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum FromProxy {
    Hello {
        oldest: u32,
        newest: u32,
        pid: u32,
        /// Accepting, or draining (an agent gives a draining proxy nothing new).
        draining: bool,
        /// The generation it serves, 0 before the first.
        generation: u64,
        /// How many messages [`FromProxy::Holding`] follow.
        holding: u32,
    },
    /// One group of listening sockets, for an agent that lost them.
    Holding { id: SocketId, fds: u32 },
    /// The generation is served; `problems` name what could not be used (the rest is served).
    Ack { generation: u64, problems: Vec<Problem> },
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum FromAgent {
    /// The version that both speak from here on.
    Hello { protocol: u32 },
    /// Listen on these. A group that is held already keeps its old descriptors and drops these.
    Listen { id: SocketId, fds: u32 },
    /// Stop accepting on this group, drain what it accepted, close it.
    Unlisten { id: SocketId },
    /// Part of a change; nothing of it is served before [`FromAgent::Commit`].
    Update { upsert: Vec<Resource>, remove: Vec<Key> },
    /// Serve the updates since the last commit. `full`: what they do not name is removed.
    Commit { generation: u64, full: bool },
    /// A successor serves: stop accepting, finish, end at the deadline.
    Drain { deadline_ms: u64 },
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Problem {
    pub key: Key,
    pub message: String,
}

/// The protocol version for two neighbours, or None when their ranges are disjoint.
pub fn agree(oldest: u32, newest: u32) -> Option<u32> {
    let common = newest.min(super::PROTOCOL);
    (common >= oldest.max(super::OLDEST_PROTOCOL)).then_some(common)
}

#[cfg(test)]
mod tests {
    use super::super::{OLDEST_PROTOCOL, PROTOCOL};
    use super::*;

    #[test]
    fn neighbours_agree_on_the_newest_common_version() {
        assert_eq!(agree(OLDEST_PROTOCOL, PROTOCOL), Some(PROTOCOL));
        assert_eq!(agree(OLDEST_PROTOCOL, PROTOCOL + 1), Some(PROTOCOL));
        assert_eq!(agree(PROTOCOL + 1, PROTOCOL + 1), None);
    }
}
