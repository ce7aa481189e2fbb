//! The proxies as the loop sees them: who is connected, who must be started.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Instant;

use gateway_common::ir::{FromAgent, Key, Resource, SocketId};
use tokio::sync::mpsc;

use super::kernel::Kernel;
use crate::desired::Resources;
use crate::proxy::encode;
use crate::proxy::peer::PeerId;
use crate::proxy::spawn::{Exited, Spawn};
use crate::proxy::supervise::{Action, Seen};
use crate::proxy::{Peers, Supervisor};

pub struct Proxies {
    pub peers: Peers,
    /// Connected before there was anything to tell them.
    pub newcomers: BTreeSet<PeerId>,
    spawning: Option<Spawning>,
    drain_deadline_ms: u64,
}

/// `--proxy spawn`.
pub struct Spawning {
    pub spawn: Spawn,
    pub supervisor: Supervisor,
    pub exits: mpsc::Sender<Exited>,
    /// Admin sockets of proxies; one that a dead proxy left is removed.
    pub socket_dir: PathBuf,
}

impl Proxies {
    pub fn new(spawning: Option<Spawning>, drain_deadline_ms: u64) -> Self {
        Self { peers: Peers::default(), newcomers: BTreeSet::new(), spawning, drain_deadline_ms }
    }

    /// Asks for a successor of the running proxy.
    pub fn replace(&mut self) {
        match &mut self.spawning {
            Some(spawning) => spawning.supervisor.replace(),
            None => {
                tracing::warn!("not replacing the proxy: it is not started by this agent (--proxy connect)")
            }
        }
    }

    pub fn gone(&mut self, id: PeerId, reason: &str) {
        self.newcomers.remove(&id);
        if let Some(pid) = self.peers.gone(id) {
            tracing::info!(pid, reason, "proxy disconnected");
        }
    }

    pub fn exited(&mut self, exited: &Exited, now: Instant) {
        let Some(spawning) = &mut self.spawning else { return };
        let Exited { pid, status } = exited;
        if status.is_some_and(|status| status.success()) {
            tracing::info!(pid, "proxy ended");
        } else {
            tracing::warn!(pid, ?status, "proxy died");
        }
        let _ = std::fs::remove_file(spawning.socket_dir.join(format!("{pid}.sock")));
        spawning.supervisor.ended(*pid, self.peers.has_accepting(), now);
    }

    /// Starts, ends or drains proxies as the supervisor decides.
    pub fn supervise(&mut self, generation: u64, now: Instant) {
        let Some(spawning) = &mut self.spawning else { return };
        loop {
            let started = spawning.supervisor.starting();
            let seen = Seen {
                accepting: self.peers.has_accepting(),
                started_serves: started.is_some_and(|pid| self.peers.serves(pid, generation)),
                surplus: self.peers.surplus(generation),
            };
            match spawning.supervisor.next(now, seen) {
                None => return,
                Some(Action::Start) => match spawning.spawn.start(&spawning.exits) {
                    Ok(pid) => {
                        tracing::info!(pid, "started a proxy");
                        spawning.supervisor.started(pid, now);
                    }
                    Err(error) => {
                        tracing::error!(error = format!("{error:#}"), "no proxy");
                        spawning.supervisor.failed(now);
                    }
                },
                Some(Action::Kill(pid)) => {
                    tracing::error!(pid, "the proxy does not come up; ending it");
                    kill(pid);
                }
                Some(Action::Drain { successor }) => {
                    tracing::info!(successor, "this proxy serves; draining the others");
                    self.peers.drain_all_but(successor, self.drain_deadline_ms);
                }
            }
        }
    }

    /// Every accepting proxy serves `generation`, or there is none to wait for.
    pub fn follow(&self, generation: u64) -> bool {
        !self.peers.has_accepting() || self.peers.acknowledged() >= Some(generation)
    }

    /// Sends a group's descriptors to one proxy or to all.
    pub fn listen(&mut self, kernel: &Kernel, id: &SocketId, to: Option<PeerId>) {
        let copies = match kernel.copies(id) {
            Ok(copies) => copies,
            Err(error) => {
                tracing::error!(socket = %id, %error, "listening sockets not sent to the proxy");
                return;
            }
        };
        let fds = u32::try_from(copies.len()).unwrap_or(0);
        let message = FromAgent::Listen { id: id.clone(), fds };
        self.send(to, encode::message(&message), &copies);
    }

    /// Tells all proxies to drain a group that is closed.
    pub fn unlisten_all(&mut self, id: &SocketId) {
        self.send(None, encode::message(&FromAgent::Unlisten { id: id.clone() }), &[]);
    }

    /// Tells one proxy to let go of sockets that lead nowhere.
    pub fn unlisten(&mut self, to: PeerId, refused: &BTreeMap<SocketId, String>) {
        for (id, problem) in refused {
            tracing::warn!(socket = %id, problem, "sockets that the proxy held are not used");
            self.send(Some(to), encode::message(&FromAgent::Unlisten { id: id.clone() }), &[]);
        }
    }

    /// A change, to all accepting proxies.
    pub fn send_delta(&mut self, upsert: &[Resource], remove: Vec<Key>, generation: u64) {
        let change = encode::change(upsert, remove, generation, false);
        self.send_change(None, change);
    }

    pub fn send_full(&mut self, to: PeerId, resources: &Resources, generation: u64) {
        let change = encode::change(resources.values(), Vec::new(), generation, true);
        self.send_change(Some(to), change);
    }

    fn send_change(&mut self, to: Option<PeerId>, change: Result<encode::Change, encode::Error>) {
        if let Ok((_, too_large)) = &change {
            for key in too_large {
                tracing::error!(?key, "too large to be sent to the proxy; split the object");
            }
        }
        self.send(to, change.map(|(frames, _)| frames), &[]);
    }

    fn send(
        &mut self,
        to: Option<PeerId>,
        frames: Result<std::sync::Arc<[u8]>, encode::Error>,
        fds: &[std::sync::Arc<std::os::fd::OwnedFd>],
    ) {
        match (frames, to) {
            (Ok(frames), Some(id)) => self.peers.send_to(id, &frames, fds),
            (Ok(frames), None) => self.peers.send(&frames, fds),
            (Err(error), _) => tracing::error!(%error, "message for the proxy not encoded"),
        }
    }
}

fn kill(pid: u32) {
    let pid = i32::try_from(pid).ok().and_then(rustix::process::Pid::from_raw);
    if let Some(pid) = pid {
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
    }
}
