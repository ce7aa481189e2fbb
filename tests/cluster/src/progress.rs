//! Signs of life of what takes long.

use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

/// A first sign of life, then one now and then.
pub(crate) const FIRST: Duration = Duration::from_secs(2);
pub(crate) const EACH: Duration = Duration::from_secs(15);

/// Told a line when something is done or goes on for long.
pub type Progress<'a> = &'a (dyn Fn(&str) + Sync);

/// Does `work`; while it goes on, `progress` is told its title and for how long.
pub fn telling<T>(progress: Progress<'_>, title: &str, work: impl FnOnce() -> T) -> T {
    telling_each(FIRST, EACH, progress, title, work)
}

/// The same, with a first sign of life after `first`, then one after each `each`.
pub(crate) fn telling_each<T>(
    first: Duration,
    each: Duration,
    progress: Progress<'_>,
    title: &str,
    work: impl FnOnce() -> T,
) -> T {
    let begun = Instant::now();
    // Closed when the work is done, also by a panic.
    let (working, ended) = mpsc::channel::<()>();
    thread::scope(|scope| {
        let _working = working;
        scope.spawn(move || {
            let mut wait = first;
            while ended.recv_timeout(wait) == Err(RecvTimeoutError::Timeout) {
                progress(&format!("{title} … {} s", begun.elapsed().as_secs()));
                wait = each;
            }
        });
        work()
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::wait::poll;

    #[test]
    fn only_what_takes_long_is_told() {
        let told = Mutex::new(Vec::new());
        let progress = |line: &str| told.lock().unwrap().push(line.to_owned());
        assert_eq!(telling(&progress, "quick", || 1), 1);
        assert!(told.lock().unwrap().is_empty());
        let moment = Duration::from_millis(1);
        let spoken = || (told.lock().unwrap().len() > 1).then_some(());
        let heard = telling_each(moment, moment, &progress, "slow", || poll(Duration::from_secs(30), spoken));
        assert!(heard.is_some());
        assert!(told.lock().unwrap().iter().all(|line| line.starts_with("slow … ")));
    }
}
