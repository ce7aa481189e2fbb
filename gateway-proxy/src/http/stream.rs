//! One stream of an HTTP/2 client connection, reset when the client does not make room for its answer in time. The
//! connection's own watch sees only a client that reads nothing at all.

use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::task::spawn_local;
use tracing::debug;

use super::client::Client;
use crate::deadline::Deadline;

/// What a stream waits for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Flow {
    /// For a backend, or nothing.
    #[default]
    Inward,
    /// For the client to take what is there for it.
    Outward,
    /// As [`Flow::Outward`], and nothing has been asked of the answer since it was noted.
    Stuck,
}

/// Spawns hyper's streams of one connection on the worker's own thread.
#[derive(Clone)]
pub struct Streams {
    pub client: Rc<Client>,
    /// What a client may leave its answer untaken for.
    pub limit: Duration,
}

impl<F> hyper::rt::Executor<F> for Streams
where
    F: Future<Output = ()> + 'static,
{
    fn execute(&self, work: F) {
        spawn_local(watched(work, self.clone()));
    }
}

/// Does the work of a stream, and drops it when the client is overdue, which resets the stream.
fn watched(work: impl Future<Output = ()>, streams: Streams) -> impl Future<Output = ()> {
    // Boxed, because the runtime moves what it is given several times.
    let mut work = Box::pin(work);
    let mut flow = Flow::Inward;
    // Made when the client is waited for, which few streams do.
    let mut stuck = None;
    poll_fn(move |cx| {
        let now = &streams.client.flow;
        // The body of the answer, somewhere in the work, says what becomes of it.
        now.set(if flow == Flow::Inward { Flow::Inward } else { Flow::Stuck });
        let done = work.as_mut().poll(cx);
        flow = now.take();
        if done.is_ready() {
            return done;
        }
        match (flow, &stuck) {
            (Flow::Inward, _) => {
                stuck = None;
                Poll::Pending
            }
            (Flow::Stuck, Some(deadline)) => streams.overdue(deadline, cx),
            (Flow::Outward | Flow::Stuck, _) => {
                let deadline = stuck.get_or_insert_with(|| streams.client.worker.deadlines.deadline());
                deadline.arm(streams.limit);
                streams.overdue(deadline, cx)
            }
        }
    })
}

impl Streams {
    fn overdue(&self, deadline: &Deadline, cx: &mut Context<'_>) -> Poll<()> {
        let over = deadline.poll_over(cx);
        if over.is_ready() {
            debug!("stream reset: its answer is not taken");
        }
        over
    }
}
