//! Why the agent says nothing, and what to do about it.

use std::fmt;
use std::io::ErrorKind;

use tokio::time::error::Elapsed;

#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Silence {
    /// Nobody listens on its admin socket.
    NotRunning,
    /// Only root may ask.
    Denied,
    /// It listens and does not answer.
    Hung,
    /// It answered with this error.
    Failed(String),
}

impl Silence {
    pub(super) fn of(error: &anyhow::Error) -> Self {
        if error.chain().any(|cause| cause.is::<Elapsed>()) {
            return Self::Hung;
        }
        let io = error.chain().find_map(|cause| cause.downcast_ref::<std::io::Error>());
        match io.map(std::io::Error::kind) {
            Some(ErrorKind::NotFound | ErrorKind::ConnectionRefused) => Self::NotRunning,
            Some(ErrorKind::PermissionDenied) => Self::Denied,
            // So many wait for an answer that the socket's queue is full.
            Some(ErrorKind::WouldBlock) => Self::Hung,
            _ => Self::Failed(format!("{error:#}")),
        }
    }

    pub(super) const fn remedy(&self) -> &'static str {
        match self {
            Self::NotRunning => "start gateway-agent; its log says why it ended",
            Self::Denied => "run gatectl as root",
            Self::Hung => "see what its process waits for and its log, and restart gateway-agent",
            Self::Failed(_) => "see the agent's log",
        }
    }
}

impl fmt::Display for Silence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotRunning => f.write_str("the agent is not running"),
            Self::Denied => f.write_str("this user may not ask the agent"),
            Self::Hung => f.write_str("the agent runs and does not answer"),
            Self::Failed(error) => write!(f, "the agent did not answer as it should: {error}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixListener;
    use std::time::Duration;

    use crate::cli::client;

    fn ask(socket: &std::path::Path) -> Silence {
        let patience = Duration::from_millis(50);
        let asked = client::raw_within(patience, socket, &hyper::Method::GET, "/status", Vec::new());
        Silence::of(&asked.unwrap_err())
    }

    #[test]
    fn what_keeps_the_agent_from_answering_is_told_apart() {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("agent.sock");
        assert_eq!(ask(&socket), Silence::NotRunning);
        let listener = UnixListener::bind(&socket).unwrap();
        assert_eq!(ask(&socket), Silence::Hung);
        drop(listener);
        assert_eq!(ask(&socket), Silence::NotRunning, "its socket is left behind");
        let denied =
            anyhow::Error::from(std::io::Error::from(ErrorKind::PermissionDenied)).context("connecting");
        assert_eq!(Silence::of(&denied), Silence::Denied);
        assert_eq!(Silence::of(&anyhow::anyhow!("500")), Silence::Failed("500".to_owned()));
    }
}
