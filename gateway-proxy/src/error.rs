//! Why a connection or a request failed, and whose fault it was.

use std::io;
use std::net::SocketAddr;

use gateway_common::ir::BackendId;
use rustix::io::Errno;
use thiserror::Error;

use crate::access_log::Reason;
use crate::upstream::body::BodyError;
use crate::upstream::http1::decode::Invalid;

/// Why no stream to a backend could be had.
#[derive(Debug, Error)]
pub enum ConnectError {
    /// Every weight is 0 or there is no backend at all.
    #[error("the rule has no backend with a weight")]
    NoBackend,
    /// The reference chosen did not resolve.
    #[error("the backend reference did not resolve")]
    Unresolved,
    #[error("backend {0} has no endpoint")]
    NoEndpoint(BackendId),
    #[error("backend {backend}: connect to {address}: {source}")]
    Failed { backend: BackendId, address: SocketAddr, source: io::Error },
}

impl ConnectError {
    /// The one that was chosen.
    pub const fn backend(&self) -> Option<&BackendId> {
        match self {
            Self::NoEndpoint(backend) | Self::Failed { backend, .. } => Some(backend),
            Self::NoBackend | Self::Unresolved => None,
        }
    }

    /// As the access log and the metrics say it.
    pub fn reason(&self) -> Reason {
        match self {
            Self::NoBackend | Self::Unresolved => Reason::NoBackend,
            Self::NoEndpoint(_) => Reason::NoEndpoint,
            Self::Failed { source, .. } if source.kind() == io::ErrorKind::TimedOut => Reason::ConnectTimeout,
            Self::Failed { source, .. } if is_own(source) => Reason::Internal,
            Self::Failed { .. } => Reason::ConnectFailed,
        }
    }
}

/// The process or its node lacks something: no endpoint is to blame.
pub fn is_own(error: &io::Error) -> bool {
    let errno = error.raw_os_error().map(Errno::from_raw_os_error);
    matches!(errno, Some(Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM | Errno::ADDRNOTAVAIL))
}

/// Why a request got no answer from a backend.
#[derive(Debug, Error)]
pub enum ExchangeError {
    /// Nothing was sent.
    #[error(transparent)]
    Connect(ConnectError),
    /// It was sent, at least in part.
    #[error("the backend's answer: {0}")]
    Sent(AnswerError),
}

/// Why there is no answer, or no more of it.
#[derive(Debug, Error)]
pub enum AnswerError {
    #[error("the connection was closed before its end")]
    Closed,
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error("not HTTP: {0}")]
    Invalid(#[from] Invalid),
    #[error(transparent)]
    Request(#[from] BodyError),
    #[error("the request's body is not as long as it said")]
    Length,
    #[error(transparent)]
    Http2(#[from] hyper::Error),
}

impl AnswerError {
    /// It was no HTTP.
    pub fn is_invalid(&self) -> bool {
        match self {
            Self::Invalid(_) => true,
            Self::Http2(error) => error.is_parse(),
            Self::Closed | Self::Io(_) | Self::Request(_) | Self::Length => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_we_lack_is_not_the_endpoint_s_fault() {
        for (errno, reason) in [
            (Errno::MFILE, Reason::Internal),
            (Errno::ADDRNOTAVAIL, Reason::Internal),
            (Errno::CONNREFUSED, Reason::ConnectFailed),
            (Errno::HOSTUNREACH, Reason::ConnectFailed),
        ] {
            let (backend, address) = (BackendId::new("a/s:80"), ([192, 0, 2, 1], 80).into());
            let error = ConnectError::Failed { backend, address, source: errno.into() };
            assert_eq!(error.reason(), reason, "{errno:?}");
        }
    }
}
