//! The proxies that are connected now, and what each of them serves.

use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::OwnedFd;
use std::sync::Arc;

use gateway_common::admin::ProxyPeer;
use gateway_common::ir::{FromAgent, Key, Problem};

use super::encode;
use super::outbox::Outbox;
use super::peer::{Hello, PeerId};
use super::supervise::Surplus;

#[derive(Default)]
pub struct Peers {
    peers: BTreeMap<PeerId, Peer>,
}

struct Peer {
    pid: u32,
    started: u64,
    draining: bool,
    /// None until its first acknowledgement to this agent.
    acknowledged: Option<u64>,
    problems: Vec<Problem>,
    outbox: Outbox,
}

impl Peers {
    pub fn join(&mut self, id: PeerId, hello: &Hello, outbox: Outbox) {
        let Hello { pid, started, draining, .. } = *hello;
        let peer = Peer { pid, started, draining, acknowledged: None, problems: Vec::new(), outbox };
        self.peers.insert(id, peer);
    }

    pub fn acknowledge(&mut self, id: PeerId, generation: u64, problems: Vec<Problem>) {
        if let Some(peer) = self.peers.get_mut(&id) {
            peer.acknowledged = Some(generation);
            peer.problems = problems;
        }
    }

    /// The pid of the one that went.
    pub fn gone(&mut self, id: PeerId) -> Option<u32> {
        self.peers.remove(&id).map(|peer| peer.pid)
    }

    pub fn has_accepting(&self) -> bool {
        self.accepting().next().is_some()
    }

    /// Some proxy with this pid accepts and serves `generation` or a newer one.
    pub fn serves(&self, pid: u32, generation: u64) -> bool {
        self.accepting().any(|(_, peer)| peer.pid == pid && peer.acknowledged >= Some(generation))
    }

    /// Whether more than one process accepts, and which of them is to stay: the one started last of those that serve
    /// `generation`.
    pub fn surplus(&self, generation: u64) -> Option<Surplus> {
        let pids: BTreeSet<u32> = self.accepting().map(|(_, peer)| peer.pid).collect();
        let serving = || self.accepting().filter(|(_, peer)| peer.acknowledged >= Some(generation));
        (pids.len() > 1).then(|| Surplus {
            best: serving().map(|(_, peer)| (peer.started, peer.pid)).max().map(|(_, pid)| pid),
            settled: serving().count() == self.accepting().count(),
        })
    }

    /// The newest generation that every accepting proxy serves; None without a proxy or before its first word.
    pub fn acknowledged(&self) -> Option<u64> {
        self.accepting().map(|(_, peer)| peer.acknowledged).min().flatten()
    }

    /// What any accepting proxy could not use.
    pub fn problems(&self) -> BTreeMap<Key, String> {
        self.accepting()
            .flat_map(|(_, peer)| &peer.problems)
            .map(|problem| (problem.key.clone(), problem.message.clone()))
            .collect()
    }

    /// Sends to every accepting proxy.
    pub fn send(&mut self, frames: &Arc<[u8]>, fds: &[Arc<OwnedFd>]) {
        let ids: Vec<_> = self.accepting().map(|(id, _)| *id).collect();
        for id in ids {
            self.send_to(id, frames, fds);
        }
    }

    /// Sends to one; a proxy for which too much waits is cut off, and comes back for everything.
    pub fn send_to(&mut self, id: PeerId, frames: &Arc<[u8]>, fds: &[Arc<OwnedFd>]) {
        let Some(peer) = self.peers.get(&id) else { return };
        if !peer.outbox.put(frames, fds) {
            tracing::warn!(pid = peer.pid, "the proxy does not read its updates; cutting it off");
            self.peers.remove(&id);
        }
    }

    /// Tells all but `successor` to stop accepting and to end.
    pub fn drain_all_but(&mut self, successor: u32, deadline_ms: u64) {
        let Ok(frames) = encode::message(&FromAgent::Drain { deadline_ms }) else { return };
        let ids: Vec<_> =
            self.accepting().filter(|(_, peer)| peer.pid != successor).map(|(id, _)| *id).collect();
        for id in ids {
            self.send_to(id, &frames, &[]);
            if let Some(peer) = self.peers.get_mut(&id) {
                peer.draining = true;
            }
        }
    }

    pub fn status(&self) -> Vec<ProxyPeer> {
        self.peers
            .values()
            .map(|peer| ProxyPeer {
                pid: peer.pid,
                acknowledged: peer.acknowledged.unwrap_or(0),
                draining: peer.draining,
            })
            .collect()
    }

    fn accepting(&self) -> impl Iterator<Item = (&PeerId, &Peer)> {
        self.peers.iter().filter(|(_, peer)| !peer.draining)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::outbox::{Delivery, bounded};
    use super::*;

    fn join(peers: &mut Peers, number: u64, draining: bool) -> Delivery {
        let (outbox, delivery) = bounded(20, Duration::from_secs(10));
        let hello =
            Hello { pid: number as u32, started: 100 - number, draining, generation: 0, holding: Vec::new() };
        peers.join(PeerId(number), &hello, outbox);
        delivery
    }

    #[test]
    fn the_slowest_accepting_proxy_counts() {
        let mut peers = Peers::default();
        assert_eq!(peers.acknowledged(), None);
        let _a = join(&mut peers, 1, false);
        let _b = join(&mut peers, 2, false);
        let _old = join(&mut peers, 3, true);
        peers.acknowledge(PeerId(1), 5, Vec::new());
        assert_eq!(peers.acknowledged(), None);
        peers.acknowledge(PeerId(2), 4, Vec::new());
        assert_eq!(peers.acknowledged(), Some(4));
        assert!(peers.serves(1, 5) && !peers.serves(2, 5));
    }

    #[test]
    fn a_successor_drains_the_others() {
        let mut peers = Peers::default();
        let mut old = join(&mut peers, 1, false);
        let mut new = join(&mut peers, 2, false);
        peers.drain_all_but(2, 1000);
        assert!(old.take().is_some());
        assert!(new.take().is_none());
        assert!(peers.status().iter().any(|p| p.pid == 1 && p.draining));
    }

    #[test]
    fn of_two_that_accept_the_younger_stays_once_it_serves() {
        let mut peers = Peers::default();
        let _young = join(&mut peers, 1, false);
        assert_eq!(peers.surplus(3), None);
        let _drains = join(&mut peers, 3, true);
        assert_eq!(peers.surplus(3), None);
        let _old = join(&mut peers, 2, false);
        assert_eq!(peers.surplus(0), Some(Surplus { best: None, settled: false }));
        peers.acknowledge(PeerId(2), 3, Vec::new());
        assert_eq!(peers.surplus(3), Some(Surplus { best: Some(2), settled: false }));
        peers.acknowledge(PeerId(1), 3, Vec::new());
        assert_eq!(peers.surplus(3), Some(Surplus { best: Some(1), settled: true }));
        peers.drain_all_but(1, 0);
        assert_eq!(peers.surplus(3), None);
    }

    #[test]
    fn a_proxy_that_does_not_read_is_cut_off() {
        let mut peers = Peers::default();
        let _queue = join(&mut peers, 1, false);
        let frames: Arc<[u8]> = Arc::from(*b"ten bytes.");
        for _ in 0..3 {
            peers.send(&frames, &[]);
        }
        assert!(!peers.has_accepting());
    }
}
