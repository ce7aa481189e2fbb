//! A request's body as a mirror gets it: as the client sends it, and whole or broken off.

use std::cell::Cell;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::Frame;
use tokio::sync::mpsc;

use super::body::BodyError;
use crate::deadline::Deadline;

/// Frames that may wait for a mirror; one that is slower than the backend by more gets no more.
const FRAMES: usize = 16;

/// The client's end.
pub struct Copier {
    frames: mpsc::Sender<Frame<Bytes>>,
    whole: Rc<Cell<bool>>,
}

/// The mirror's end.
pub struct Copied {
    frames: mpsc::Receiver<Frame<Bytes>>,
    whole: Rc<Cell<bool>>,
    patience: Patience,
}

/// How long a mirror may keep what it was given without anything moving.
#[derive(Clone)]
pub struct Patience {
    deadline: Rc<Deadline>,
    limit: Duration,
}

pub fn pair(patience: Patience) -> (Copier, Copied) {
    let (sender, receiver) = mpsc::channel(FRAMES);
    let whole = Rc::new(Cell::new(false));
    (Copier { frames: sender, whole: whole.clone() }, Copied { frames: receiver, whole, patience })
}

impl Copier {
    /// false: the mirror gets no more of it.
    pub fn copy(&self, frame: &Frame<Bytes>) -> bool {
        let copy = match (frame.data_ref(), frame.trailers_ref()) {
            (Some(data), _) => Frame::data(data.clone()),
            (_, Some(trailers)) => Frame::trailers(trailers.clone()),
            (None, None) => return true,
        };
        self.frames.try_send(copy).is_ok()
    }

    /// That was all. Without it the mirror's request is broken off as the client's was.
    pub fn end(self) {
        self.whole.set(true);
    }
}

impl Copied {
    pub fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let frame = ready!(self.frames.poll_recv(cx));
        self.patience.renew();
        Poll::Ready(match frame {
            Some(frame) => Some(Ok(frame)),
            None if self.whole.get() => None,
            None => Some(Err(BodyError::Copy)),
        })
    }
}

impl Patience {
    pub fn new(deadline: Deadline, limit: Duration) -> Self {
        deadline.arm(limit);
        Self { deadline: Rc::new(deadline), limit }
    }

    pub fn renew(&self) {
        self.deadline.arm(self.limit);
    }

    /// Waits until it is over.
    pub async fn over(&self) {
        self.deadline.over().await;
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;
    use crate::deadline::Deadlines;

    fn data(text: &'static str) -> Frame<Bytes> {
        Frame::data(Bytes::from_static(text.as_bytes()))
    }

    fn next(copied: &mut Copied) -> Option<Result<Bytes, BodyError>> {
        let mut cx = Context::from_waker(Waker::noop());
        let Poll::Ready(frame) = copied.poll_frame(&mut cx) else { panic!("nothing comes") };
        frame.map(|frame| frame.map(|frame| frame.into_data().unwrap()))
    }

    fn new() -> (Copier, Copied) {
        pair(Patience::new(Deadlines::new().deadline(), Duration::from_secs(1)))
    }

    #[test]
    fn what_ends_is_whole_and_what_breaks_off_is_not() {
        for whole in [true, false] {
            let (copier, mut copied) = new();
            assert!(copier.copy(&data("a")));
            if whole {
                copier.end();
            } else {
                drop(copier);
            }
            assert_eq!(next(&mut copied).unwrap().unwrap(), "a");
            assert_eq!(next(&mut copied).is_none(), whole);
        }
    }

    #[test]
    fn a_mirror_that_does_not_read_gets_no_more() {
        let (copier, mut copied) = new();
        for _ in 0..FRAMES {
            assert!(copier.copy(&data("a")));
        }
        assert!(!copier.copy(&data("a")));
        drop(copier);
        for _ in 0..FRAMES {
            assert!(matches!(next(&mut copied), Some(Ok(_))));
        }
        assert!(matches!(next(&mut copied), Some(Err(BodyError::Copy))));
    }
}
