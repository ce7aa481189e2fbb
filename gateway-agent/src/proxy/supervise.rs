//! Decides when a proxy is started, and when a replaced one is told to drain. Pure: the caller brings the time.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

/// A proxy that ran on from the agent's predecessor connects and brings its sockets within this time, or another is started
/// with new ones. It tries every 2 s at least.
pub const ADOPT: Duration = Duration::from_secs(5);
/// A started proxy connects and serves within this time, or it is ended.
const START: Duration = Duration::from_secs(15);
const BACKOFF_FIRST: Duration = Duration::from_millis(100);
const BACKOFF_MOST: Duration = Duration::from_secs(5);
/// A proxy that lived this long was healthy: the next death is restarted at once.
const HEALTHY: Duration = Duration::from_secs(10);

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Action {
    Start,
    /// It started and never served.
    Kill(u32),
    /// This one serves: all others drain.
    Drain {
        successor: u32,
    },
}

/// What is true now.
#[derive(Clone, Copy, Debug)]
pub struct Seen {
    /// Some proxy accepts connections.
    pub accepting: bool,
    /// The proxy that was started last serves the current generation.
    pub started_serves: bool,
    /// More than one proxy accepts.
    pub surplus: Option<Surplus>,
}

/// Proxies that accept beside each other. An agent that died while it replaced one leaves two behind, and a proxy that
/// hung while its agent started comes back to a second.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Surplus {
    /// The one to stay; None before any serves the current generation.
    pub best: Option<u32>,
    /// All of them serve the current generation.
    pub settled: bool,
}

#[derive(Debug)]
pub struct Supervisor {
    wait_until: Instant,
    backoff: Duration,
    /// Started by us and not exited.
    children: BTreeSet<u32>,
    /// The one started last, until it serves.
    starting: Option<(u32, Instant)>,
    replacing: bool,
    healthy_since: Option<Instant>,
    surplus_since: Option<Instant>,
}

impl Supervisor {
    /// `survivors`: proxies of a former agent are alive and may connect.
    pub fn new(now: Instant, survivors: bool) -> Self {
        Self {
            wait_until: if survivors { now + ADOPT } else { now },
            backoff: Duration::ZERO,
            children: BTreeSet::new(),
            starting: None,
            replacing: false,
            healthy_since: None,
            surplus_since: None,
        }
    }

    /// Replaces the proxy gracefully: a successor is started, and the others drain once it serves.
    pub fn replace(&mut self) {
        self.replacing = true;
    }

    pub fn replacing(&self) -> bool {
        self.replacing
    }

    pub fn starting(&self) -> Option<u32> {
        self.starting.map(|(pid, _)| pid)
    }

    pub fn started(&mut self, pid: u32, now: Instant) {
        self.children.insert(pid);
        self.starting = Some((pid, now));
    }

    /// A child ended; `accepting`: another proxy serves, so nothing is lost.
    pub fn ended(&mut self, pid: u32, accepting: bool, now: Instant) {
        self.children.remove(&pid);
        if self.starting() == Some(pid) {
            self.starting = None;
        } else if accepting {
            return;
        }
        self.failed(now);
    }

    /// A start came to nothing.
    pub fn failed(&mut self, now: Instant) {
        let was_healthy = self.healthy_since.is_some_and(|since| now.duration_since(since) >= HEALTHY);
        self.backoff =
            if was_healthy { Duration::ZERO } else { (self.backoff * 2).clamp(BACKOFF_FIRST, BACKOFF_MOST) };
        self.healthy_since = None;
        self.wait_until = self.wait_until.max(now + self.backoff);
    }

    /// What to do now; called again after each action and at least once a second.
    pub fn next(&mut self, now: Instant, seen: Seen) -> Option<Action> {
        if let Some((pid, since)) = self.starting {
            if seen.started_serves {
                self.starting = None;
                self.healthy_since = Some(now);
                return std::mem::take(&mut self.replacing).then_some(Action::Drain { successor: pid });
            }
            if now.duration_since(since) < START {
                return None;
            }
            self.starting = None;
            self.replacing = false;
            return Some(Action::Kill(pid));
        }
        if let Some(successor) = self.settle(now, seen.surplus) {
            return Some(Action::Drain { successor });
        }
        let wanted = self.replacing || !seen.accepting;
        (wanted && now >= self.wait_until).then_some(Action::Start)
    }

    /// The one to stay of several. The younger gets the time of a start to serve; a replacement under way settles it too.
    fn settle(&mut self, now: Instant, surplus: Option<Surplus>) -> Option<u32> {
        let Some(Surplus { best, settled }) = surplus.filter(|_| !self.replacing) else {
            self.surplus_since = None;
            return None;
        };
        let since = *self.surplus_since.get_or_insert(now);
        best.filter(|_| settled || now.duration_since(since) >= START)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOBODY: Seen = Seen { accepting: false, started_serves: false, surplus: None };
    const OLD_ONLY: Seen = Seen { accepting: true, ..NOBODY };
    const SERVES: Seen = Seen { started_serves: true, ..OLD_ONLY };

    fn two(best: Option<u32>, settled: bool) -> Seen {
        Seen { surplus: Some(Surplus { best, settled }), ..OLD_ONLY }
    }

    #[test]
    fn starts_at_once_on_a_fresh_node() {
        let now = Instant::now();
        assert_eq!(Supervisor::new(now, false).next(now, NOBODY), Some(Action::Start));
    }

    #[test]
    fn waits_for_survivors_and_then_starts() {
        let now = Instant::now();
        let mut supervisor = Supervisor::new(now, true);
        assert_eq!(supervisor.next(now, NOBODY), None);
        assert_eq!(supervisor.next(now + ADOPT, OLD_ONLY), None);
        assert_eq!(supervisor.next(now + ADOPT, NOBODY), Some(Action::Start));
    }

    #[test]
    fn restarts_back_off_and_recover() {
        let mut now = Instant::now();
        let mut supervisor = Supervisor::new(now, false);
        for wait in [100, 200, 400] {
            supervisor.started(7, now);
            supervisor.ended(7, false, now);
            assert_eq!(supervisor.next(now, NOBODY), None);
            now += Duration::from_millis(wait);
            assert_eq!(supervisor.next(now, NOBODY), Some(Action::Start));
        }
        supervisor.started(8, now);
        assert_eq!(supervisor.next(now, SERVES), None);
        now += HEALTHY;
        supervisor.ended(8, false, now);
        assert_eq!(supervisor.next(now, NOBODY), Some(Action::Start));
    }

    #[test]
    fn the_end_of_a_drained_proxy_is_no_failure() {
        let now = Instant::now();
        let mut supervisor = Supervisor::new(now, false);
        supervisor.started(7, now);
        assert_eq!(supervisor.next(now, SERVES), None);
        supervisor.ended(6, true, now);
        assert_eq!(supervisor.next(now, NOBODY), Some(Action::Start));
    }

    #[test]
    fn a_replacement_drains_the_old_only_when_it_serves() {
        let now = Instant::now();
        let mut supervisor = Supervisor::new(now, false);
        supervisor.replace();
        assert_eq!(supervisor.next(now, OLD_ONLY), Some(Action::Start));
        supervisor.started(9, now);
        assert_eq!(supervisor.next(now, OLD_ONLY), None);
        assert_eq!(supervisor.next(now, SERVES), Some(Action::Drain { successor: 9 }));
        assert_eq!(supervisor.next(now, OLD_ONLY), None);
    }

    #[test]
    fn two_that_serve_become_one() {
        let now = Instant::now();
        let mut supervisor = Supervisor::new(now, true);
        assert_eq!(supervisor.next(now, two(None, false)), None);
        assert_eq!(supervisor.next(now, two(Some(5), false)), None);
        assert_eq!(supervisor.next(now, two(Some(6), true)), Some(Action::Drain { successor: 6 }));
        assert_eq!(supervisor.next(now, OLD_ONLY), None);
    }

    #[test]
    fn one_that_never_serves_beside_another_is_not_waited_for() {
        let now = Instant::now();
        let mut supervisor = Supervisor::new(now, true);
        assert_eq!(supervisor.next(now, two(Some(5), false)), None);
        let late = supervisor.next(now + START, two(Some(5), false));
        assert_eq!(late, Some(Action::Drain { successor: 5 }));
    }

    #[test]
    fn a_replacement_under_way_decides_who_stays() {
        let now = Instant::now();
        let mut supervisor = Supervisor::new(now, false);
        supervisor.replace();
        assert_eq!(supervisor.next(now, two(Some(5), true)), Some(Action::Start));
        supervisor.started(9, now);
        assert_eq!(supervisor.next(now, two(Some(5), true)), None);
        let serves = Seen { started_serves: true, ..two(Some(9), true) };
        assert_eq!(supervisor.next(now, serves), Some(Action::Drain { successor: 9 }));
    }

    #[test]
    fn a_successor_that_never_serves_is_ended_and_the_old_stays() {
        let now = Instant::now();
        let mut supervisor = Supervisor::new(now, false);
        supervisor.replace();
        supervisor.started(9, now);
        assert_eq!(supervisor.next(now + START, OLD_ONLY), Some(Action::Kill(9)));
        assert_eq!(supervisor.next(now + START, OLD_ONLY), None);
    }
}
