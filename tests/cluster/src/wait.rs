//! Bounded waiting: every wait asks for a state and gives up in the end.

use std::thread;
use std::time::{Duration, Instant};

/// Asks until there is an answer or the time is up. The last question comes after the time is up.
pub fn poll<T>(limit: Duration, mut ask: impl FnMut() -> Option<T>) -> Option<T> {
    let deadline = Instant::now() + limit;
    loop {
        let late = Instant::now() >= deadline;
        if let Some(answer) = ask() {
            return Some(answer);
        }
        if late {
            return None;
        }
        thread::sleep(Duration::from_millis(50));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_word_is_heard() {
        let mut asked = 0;
        let answer = poll(Duration::ZERO, || {
            asked += 1;
            None::<()>
        });
        assert_eq!((answer, asked), (None, 1));
        assert_eq!(poll(Duration::from_secs(10), || Some(1)), Some(1));
    }
}
