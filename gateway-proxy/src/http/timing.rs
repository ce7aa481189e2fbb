//! What a client connection is waiting for, and for how long it may: one deadline whose meaning follows the phase.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use gateway_common::ir::TimeoutSettings;

use crate::deadline::Deadline;
use crate::upstream::body::Progress;

/// Between two looks at whether a client that waits for its answer is there.
const LOOK_MS: u64 = 1000;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Phase {
    /// For the end of the TLS handshake.
    Handshake,
    /// For the next request.
    Idle,
    /// For the rest of a request's header.
    Header,
    /// For the end of an HTTP/2 connection that was idle, and was told to go.
    Leaving,
    /// For nothing of the client's: requests are being answered. Over HTTP/1.1 it is looked after from time to time.
    Active,
    /// For the client to read what it asked for.
    Blocked,
    /// For any byte of an upgraded connection.
    Stream,
    /// For nothing any more: the client sent too much that asks for nothing, or took too much back. Final.
    Flooded,
}

pub struct Timing {
    deadline: Deadline,
    phase: Cell<Phase>,
    requests: Cell<u32>,
    /// HTTP/2: bytes between requests are no header, and do not keep the connection from being idle.
    multiplexed: Cell<bool>,
    /// HTTP/1.1: the body of the last request, if it has one.
    upload: RefCell<Option<Rc<Progress>>>,
    timeouts: TimeoutSettings,
}

impl Timing {
    /// Of a connection that sent nothing yet.
    pub fn new(deadline: Deadline, timeouts: TimeoutSettings) -> Self {
        let phase = Cell::new(Phase::Idle);
        let (requests, multiplexed) = (Cell::new(0), Cell::new(false));
        let timing = Self { deadline, phase, requests, multiplexed, upload: RefCell::default(), timeouts };
        timing.enter(Phase::Idle);
        timing
    }

    pub fn phase(&self) -> Phase {
        self.phase.get()
    }

    /// Requests being answered.
    pub fn requests(&self) -> u32 {
        self.requests.get()
    }

    pub fn set_multiplexed(&self) {
        self.multiplexed.set(true);
        if self.phase.get() == Phase::Header {
            self.enter(Phase::Idle);
        }
    }

    pub fn enter(&self, phase: Phase) {
        if self.phase.get() == Phase::Flooded {
            return;
        }
        self.phase.set(phase);
        let limit = match phase {
            Phase::Handshake => self.timeouts.handshake_ms,
            Phase::Idle => self.timeouts.idle_ms,
            Phase::Header | Phase::Leaving => self.timeouts.header_ms,
            // Over HTTP/2 the client is read all the time, and heard when it goes.
            Phase::Active if self.multiplexed.get() => return self.deadline.disarm(),
            Phase::Active => LOOK_MS,
            Phase::Blocked => self.timeouts.body_idle_ms,
            Phase::Stream => self.timeouts.stream_idle_ms,
            Phase::Flooded => 0,
        };
        self.deadline.arm(Duration::from_millis(limit));
    }

    /// Bytes came from the client.
    pub fn received(&self) {
        match self.phase.get() {
            Phase::Idle if self.is_uploading() => self.enter(Phase::Idle),
            Phase::Idle if !self.multiplexed.get() => self.enter(Phase::Header),
            Phase::Stream => self.enter(Phase::Stream),
            Phase::Idle
            | Phase::Handshake
            | Phase::Header
            | Phase::Leaving
            | Phase::Active
            | Phase::Blocked
            | Phase::Flooded => {}
        }
    }

    /// Bytes went to the client, or could not because it does not read.
    pub fn sent(&self, blocked: bool) {
        match (self.phase.get(), blocked) {
            (Phase::Active, true) => self.enter(Phase::Blocked),
            (Phase::Blocked, false) => self.enter(Phase::Active),
            (Phase::Stream, false) => self.enter(Phase::Stream),
            _ => {}
        }
    }

    pub fn begin_request(&self) {
        self.requests.set(self.requests.get() + 1);
        self.enter(Phase::Active);
    }

    pub fn end_request(&self) {
        self.requests.set(self.requests.get() - 1);
        if self.requests.get() == 0 && self.phase.get() != Phase::Stream {
            self.enter(Phase::Idle);
        }
    }

    /// Milliseconds of the worker's clock.
    pub fn now_ms(&self) -> u64 {
        self.deadline.now_ms()
    }

    /// A request over HTTP/1.1 begins, and has this body.
    pub fn begin_upload(&self, progress: Option<Rc<Progress>>) {
        self.upload.replace(progress);
    }

    /// Somebody still reads a request's body, though its answer may have ended.
    fn is_uploading(&self) -> bool {
        let upload = self.upload.borrow();
        upload.as_ref().is_some_and(|progress| !progress.ended.get() && Rc::strong_count(progress) > 1)
    }

    /// The last body was not read whole: the client may be sending it.
    pub fn is_upload_left(&self) -> bool {
        self.upload.borrow().as_ref().is_some_and(|progress| !progress.ended.get())
    }

    pub async fn over(&self) {
        self.deadline.over().await;
    }

    pub fn poll_over(&self, cx: &mut Context<'_>) -> Poll<Phase> {
        self.deadline.poll_over(cx).map(|()| self.phase.get())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::deadline::Deadlines;

    #[test]
    fn the_phase_follows_the_bytes_and_the_requests() {
        let timing = Timing::new(Deadlines::new().deadline(), TimeoutSettings::default());
        timing.received();
        assert_eq!(timing.phase(), Phase::Header);
        timing.begin_request();
        timing.begin_request();
        timing.sent(true);
        assert_eq!(timing.phase(), Phase::Blocked);
        timing.sent(false);
        timing.end_request();
        assert_eq!(timing.phase(), Phase::Active);
        timing.end_request();
        assert_eq!(timing.phase(), Phase::Idle);
        timing.set_multiplexed();
        timing.received();
        assert_eq!(timing.phase(), Phase::Idle);
    }

    #[test]
    fn the_rest_of_a_body_is_no_header() {
        let timing = Timing::new(Deadlines::new().deadline(), TimeoutSettings::default());
        let read = Rc::new(Progress::default());
        timing.begin_request();
        timing.begin_upload(Some(read.clone()));
        timing.end_request();
        timing.received();
        assert_eq!((timing.phase(), timing.is_upload_left()), (Phase::Idle, true));
        read.ended.set(true);
        timing.received();
        assert_eq!((timing.phase(), timing.is_upload_left()), (Phase::Header, false));
    }
}
