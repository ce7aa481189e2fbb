//! Coarse deadlines for things that a worker has by the ten thousand: arming and disarming is one store, and a sweep
//! a few times a second wakes what is overdue. A deadline never fires early and at most two sweeps late.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

/// Time between two sweeps.
pub const SWEEP: Duration = Duration::from_millis(200);

/// All deadlines of one worker.
pub struct Deadlines {
    start: Instant,
    now: Cell<u64>,
    entries: RefCell<Vec<Rc<Entry>>>,
    /// Those of `entries` that nobody has at the moment: a deadline per request costs no allocation.
    free: RefCell<Vec<Rc<Entry>>>,
}

/// One deadline; dropping it is forgetting it.
pub struct Deadline {
    entry: Rc<Entry>,
    owner: Rc<Deadlines>,
}

struct Entry {
    due: Cell<u64>,
    waker: RefCell<Option<Waker>>,
}

const NEVER: u64 = u64::MAX;

impl Deadlines {
    pub fn new() -> Rc<Self> {
        Rc::new(Self {
            start: Instant::now(),
            now: Cell::new(0),
            entries: RefCell::default(),
            free: RefCell::default(),
        })
    }

    /// Milliseconds since the worker began, as of the last sweep.
    pub fn now_ms(&self) -> u64 {
        self.now.get()
    }

    /// A new deadline, not armed.
    pub fn deadline(self: &Rc<Self>) -> Deadline {
        let entry = self.free.borrow_mut().pop().unwrap_or_else(|| {
            let entry = Rc::new(Entry { due: Cell::new(NEVER), waker: RefCell::default() });
            self.entries.borrow_mut().push(entry.clone());
            entry
        });
        Deadline { entry, owner: self.clone() }
    }

    /// Wakes what is overdue. Called by the worker every [`SWEEP`].
    pub fn sweep(&self) {
        let now = u64::try_from(self.start.elapsed().as_millis()).unwrap_or(NEVER - 1);
        self.now.set(now);
        // Half of what was not needed since: a rush that is over does not keep its room for ever.
        let mut free = self.free.borrow_mut();
        let half = free.len() / 2;
        free.truncate(half);
        let mut overdue = Vec::new();
        self.entries.borrow_mut().retain(|entry| {
            if entry.due.get() <= now {
                overdue.extend(entry.waker.borrow_mut().take());
            }
            Rc::strong_count(entry) > 1
        });
        drop(free);
        for waker in overdue {
            waker.wake();
        }
    }
}

impl Deadline {
    /// Due `after` from now, whatever was armed before.
    pub fn arm(&self, after: Duration) {
        let after = u64::try_from((after + SWEEP).as_millis()).unwrap_or(NEVER);
        self.entry.due.set(self.owner.now.get().saturating_add(after));
    }

    /// As [`Deadlines::now_ms`].
    pub fn now_ms(&self) -> u64 {
        self.owner.now_ms()
    }

    pub fn disarm(&self) {
        self.entry.due.set(NEVER);
    }

    pub fn is_armed(&self) -> bool {
        self.entry.due.get() != NEVER
    }

    pub fn is_over(&self) -> bool {
        self.entry.due.get() <= self.owner.now.get()
    }

    /// Ready once overdue. The last task that polled is woken.
    pub fn poll_over(&self, cx: &mut Context<'_>) -> Poll<()> {
        if self.is_over() {
            return Poll::Ready(());
        }
        let mut waker = self.entry.waker.borrow_mut();
        match &*waker {
            Some(held) if held.will_wake(cx.waker()) => {}
            Some(_) | None => *waker = Some(cx.waker().clone()),
        }
        Poll::Pending
    }

    /// Waits until it is overdue.
    pub async fn over(&self) {
        std::future::poll_fn(|cx| self.poll_over(cx)).await;
    }
}

impl Drop for Deadline {
    fn drop(&mut self) {
        self.disarm();
        drop(self.entry.waker.take());
        self.owner.free.borrow_mut().push(self.entry.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::task::Waker;

    #[test]
    fn a_deadline_fires_once_armed_and_due() {
        let deadlines = Deadlines::new();
        let deadline = deadlines.deadline();
        let mut cx = Context::from_waker(Waker::noop());
        assert!(deadline.poll_over(&mut cx).is_pending());
        deadline.arm(Duration::ZERO);
        assert!(!deadline.is_over());
        std::thread::sleep(SWEEP + Duration::from_millis(5));
        deadlines.sweep();
        assert!(deadline.poll_over(&mut cx).is_ready());
        deadline.disarm();
        assert!(deadline.poll_over(&mut cx).is_pending());
    }

    #[test]
    fn a_dropped_deadline_serves_again_or_is_forgotten() {
        let deadlines = Deadlines::new();
        let first = deadlines.deadline();
        first.arm(Duration::ZERO);
        drop(first);
        let kept = deadlines.deadline();
        assert!(!kept.is_armed());
        assert_eq!(deadlines.entries.borrow().len(), 1);
        drop(deadlines.deadline());
        assert_eq!(deadlines.entries.borrow().len(), 2);
        deadlines.sweep();
        assert_eq!(deadlines.entries.borrow().len(), 1);
        drop(kept);
    }
}
