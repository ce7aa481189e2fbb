//! A thread that stays inside a namespace and does there what it is handed, for tests that ask thousands of times.

use std::panic::{self, AssertUnwindSafe};
use std::sync::mpsc;
use std::thread::JoinHandle;

use anyhow::Result;

use crate::netns::Netns;

type Job = Box<dyn FnOnce() + Send>;

#[derive(Debug)]
pub struct Room {
    jobs: Option<mpsc::Sender<Job>>,
    thread: Option<JoinHandle<()>>,
}

impl Room {
    pub fn enter(netns: &Netns) -> Result<Self> {
        let (jobs, inbox) = mpsc::channel::<Job>();
        let thread = netns.spawn(move || inbox.into_iter().for_each(|job| job()))?;
        Ok(Self { jobs: Some(jobs), thread: Some(thread) })
    }

    /// Runs `f` inside and waits for its result.
    pub fn run<T: Send + 'static>(&self, f: impl FnOnce() -> T + Send + 'static) -> T {
        let (answer, result) = mpsc::sync_channel(1);
        let job: Job = Box::new(move || {
            // The asker may be gone; its result with it.
            let _unused = answer.send(panic::catch_unwind(AssertUnwindSafe(f)));
        });
        let sent = self.jobs.as_ref().is_some_and(|jobs| jobs.send(job).is_ok());
        assert!(sent, "the thread inside the namespace ended");
        match result.recv() {
            Ok(Ok(value)) => value,
            Ok(Err(panicked)) => panic::resume_unwind(panicked),
            Err(_) => panic!("the thread inside the namespace ended"),
        }
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        drop(self.jobs.take());
        if let Some(thread) = self.thread.take() {
            // Jobs catch their panics.
            let _unused = thread.join();
        }
    }
}
