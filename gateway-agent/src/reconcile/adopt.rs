//! How long the listening sockets of a former agent's proxies are waited for. Pure: the caller brings the time.

use std::collections::BTreeSet;
use std::time::Instant;

/// Proxies that may bring sockets. None are opened before, or both sets would be listened on.
#[derive(Debug)]
pub struct Adopt {
    until: Instant,
    /// Alive when the agent started and not heard of yet, by process id.
    awaited: BTreeSet<u32>,
}

impl Adopt {
    pub fn new(awaited: BTreeSet<u32>, until: Instant) -> Self {
        Self { until, awaited }
    }

    /// A proxy connected. One that brought nothing, as a successor that was just started, says nothing of the others.
    pub fn joined(&mut self, pid: u32, brought: bool) {
        self.awaited.remove(&pid);
        if brought {
            self.awaited.clear();
        }
    }

    pub fn is_over(&self, now: Instant) -> bool {
        self.awaited.is_empty() || now >= self.until
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn of(pids: &[u32]) -> (Adopt, Instant) {
        let now = Instant::now();
        (Adopt::new(pids.iter().copied().collect(), now + Duration::from_secs(5)), now)
    }

    #[test]
    fn sockets_end_the_wait_and_a_proxy_without_any_does_not() {
        let (mut adopt, now) = of(&[7, 8]);
        adopt.joined(9, false);
        adopt.joined(8, false);
        assert!(!adopt.is_over(now));
        adopt.joined(7, true);
        assert!(adopt.is_over(now));
    }

    #[test]
    fn nobody_is_waited_for_who_came_or_was_never_there() {
        let (mut adopt, now) = of(&[7]);
        adopt.joined(7, false);
        assert!(adopt.is_over(now));
        assert!(of(&[]).0.is_over(now));
    }

    #[test]
    fn a_proxy_that_hangs_is_waited_for_in_vain_and_not_for_ever() {
        let (adopt, now) = of(&[7]);
        assert!(!adopt.is_over(now + Duration::from_secs(4)));
        assert!(adopt.is_over(now + Duration::from_secs(5)));
    }
}
