//! How long an exchange with a backend may stand still, whichever side is to move.

use std::task::{Context, Poll, ready};
use std::time::Duration;

use crate::deadline::Deadline;
use crate::upstream::body::Progress;

pub struct Silence {
    deadline: Deadline,
    limit: Duration,
    /// Bytes of the request's body that had come when this was looked at.
    uploaded: u64,
}

impl Silence {
    pub fn new(deadline: Deadline, limit: Duration) -> Self {
        Self { deadline, limit, uploaded: 0 }
    }

    /// Something of the answer came.
    pub fn broken(&self) {
        self.deadline.disarm();
    }

    /// To be polled while the backend is waited for. `upload`: of a request with a body. Ready once neither the answer nor
    /// that body moved for the limit.
    pub fn poll_over(&mut self, cx: &mut Context<'_>, upload: Option<&Progress>) -> Poll<()> {
        if !self.deadline.is_armed() {
            self.deadline.arm(self.limit);
        }
        loop {
            ready!(self.deadline.poll_over(cx));
            let uploaded = upload.map_or(0, |progress| progress.bytes.get());
            if uploaded == self.uploaded {
                return Poll::Ready(());
            }
            self.uploaded = uploaded;
            self.deadline.arm(self.limit);
        }
    }
}
