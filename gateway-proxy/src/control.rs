//! The client of the agent's control socket: takes sockets and updates, hands sockets back to an agent that lost them,
//! connects again for ever. Workers serve on whatever happens here.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::Context;
use gateway_common::channel::{self, Receiver, Sender};
use gateway_common::ir::{FromAgent, FromProxy, OLDEST_PROTOCOL, PROTOCOL, SocketId};
use tokio::net::UnixStream;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing::{info, warn};

use crate::admin::Facts;
use crate::config::Config;
use crate::listen;
use crate::snapshot::{Current, Pending};
use crate::worker::{Command, Handle};

const FIRST_BACKOFF: Duration = Duration::from_millis(50);
const LONGEST_BACKOFF: Duration = Duration::from_secs(2);
/// A worker ends its connections at the deadline; this much later the process ends in any case.
const GRACE: Duration = Duration::from_secs(2);

pub struct Control {
    path: PathBuf,
    drain_deadline: Duration,
    current: Current,
    workers: Vec<Handle>,
    /// Every group that is served, for an agent that lost its descriptors.
    held: BTreeMap<SocketId, Vec<OwnedFd>>,
    facts: Arc<Facts>,
}

impl Control {
    pub fn new(config: &Config, current: Current, workers: Vec<Handle>, facts: Arc<Facts>) -> Self {
        Self {
            path: config.control.clone(),
            drain_deadline: config.drain_deadline,
            current,
            workers,
            held: BTreeMap::new(),
            facts,
        }
    }

    /// Until a signal or the agent says to drain, and that is done.
    pub async fn run(mut self) -> anyhow::Result<()> {
        let mut terminate = signal(SignalKind::terminate()).context("listen for SIGTERM")?;
        let mut interrupt = signal(SignalKind::interrupt()).context("listen for SIGINT")?;
        let deadline = tokio::select! {
            deadline = self.follow() => deadline,
            () = either(&mut terminate, &mut interrupt) => self.drain_deadline,
        };
        self.drain(deadline).await;
        Ok(())
    }

    /// Follows the agent, from one connection to the next, until it says to drain.
    async fn follow(&mut self) -> Duration {
        let mut backoff = FIRST_BACKOFF;
        loop {
            match UnixStream::connect(&self.path).await {
                Ok(stream) => {
                    backoff = FIRST_BACKOFF;
                    info!(socket = %self.path.display(), "agent connected");
                    self.facts.agent_connected.store(true, Ordering::Relaxed);
                    let conversation = self.converse(&stream).await;
                    self.facts.agent_connected.store(false, Ordering::Relaxed);
                    match conversation {
                        Ok(Some(deadline)) => return deadline,
                        Ok(None) => info!("agent gone"),
                        Err(error) => warn!(%error, "conversation with the agent ended"),
                    }
                }
                Err(error) if backoff == FIRST_BACKOFF => {
                    warn!(socket = %self.path.display(), %error, "agent not reachable, trying on");
                }
                Err(_) => {}
            }
            tokio::time::sleep(backoff).await;
            backoff = (backoff * 2).min(LONGEST_BACKOFF);
        }
    }

    async fn converse(&mut self, stream: &UnixStream) -> io::Result<Option<Duration>> {
        let (mut sender, mut receiver) = channel::split(stream);
        self.greet(&mut sender).await?;
        let mut pending = Pending::default();
        while let Some(message) = receiver.receive().await? {
            match message {
                FromAgent::Hello { protocol } if (OLDEST_PROTOCOL..=PROTOCOL).contains(&protocol) => {}
                FromAgent::Hello { protocol } => {
                    return Err(io::Error::other(format!("agent speaks unknown protocol {protocol}")));
                }
                FromAgent::Listen { id, fds } => self.listen(id, fds, &mut receiver)?,
                FromAgent::Unlisten { id } => self.unlisten(&id),
                FromAgent::Update { upsert, remove } => pending.update(upsert, remove),
                FromAgent::Commit { generation, full } => {
                    let acknowledgement = self.commit(std::mem::take(&mut pending), generation, full)?;
                    sender.send(&acknowledgement, &[]).await?;
                }
                FromAgent::Drain { deadline_ms } => return Ok(Some(Duration::from_millis(deadline_ms))),
            }
        }
        Ok(None)
    }

    async fn greet(&self, sender: &mut Sender<'_>) -> io::Result<()> {
        let hello = FromProxy::Hello {
            oldest: OLDEST_PROTOCOL,
            newest: PROTOCOL,
            pid: std::process::id(),
            draining: self.facts.draining.load(Ordering::Relaxed),
            generation: self.current.load().generation,
            holding: u32::try_from(self.held.len()).unwrap_or(u32::MAX),
        };
        sender.send(&hello, &[]).await?;
        for (id, fds) in &self.held {
            let fds: Vec<BorrowedFd<'_>> = fds.iter().map(AsFd::as_fd).collect();
            let count = u32::try_from(fds.len()).unwrap_or(u32::MAX);
            sender.send(&FromProxy::Holding { id: id.clone(), fds: count }, &fds).await?;
        }
        Ok(())
    }

    fn listen(&mut self, id: SocketId, fds: u32, receiver: &mut Receiver<'_>) -> io::Result<()> {
        let fds = receiver.take_fds(fds)?;
        if self.held.contains_key(&id) {
            return Ok(());
        }
        self.held.insert(id.clone(), fds);
        // Before the first configuration every connection would be turned away: they wait in the socket's queue.
        if self.is_configured() { self.accept(&id) } else { Ok(()) }
    }

    fn is_configured(&self) -> bool {
        self.current.load().generation > 0
    }

    /// Has the workers accept from a group.
    fn accept(&self, id: &SocketId) -> io::Result<()> {
        let Some(fds) = self.held.get(id) else { return Ok(()) };
        let copies = fds.iter().map(OwnedFd::try_clone).collect::<io::Result<Vec<_>>>()?;
        let shares = listen::distribute(id, copies, self.workers.len())?;
        for (worker, sockets) in self.workers.iter().zip(shares) {
            tell(worker, Command::Listen { id: id.clone(), sockets });
        }
        info!(socket = %id, sockets = fds.len(), "listening");
        Ok(())
    }

    fn unlisten(&mut self, id: &SocketId) {
        if self.held.remove(id).is_some() {
            info!(socket = %id, "not listening any more");
        }
        for worker in &self.workers {
            tell(worker, Command::Unlisten { id: id.clone() });
        }
    }

    fn commit(&mut self, pending: Pending, generation: u64, full: bool) -> io::Result<FromProxy> {
        let first = !self.is_configured();
        let applied = pending.commit(&self.current.load(), generation, full);
        for problem in &applied.problems {
            warn!(key = ?problem.key, problem = problem.message, "resource unusable");
        }
        self.current.store(Arc::new(applied.snapshot));
        for worker in &self.workers {
            tell(worker, Command::Changed);
        }
        if first {
            self.held.keys().try_for_each(|id| self.accept(id))?;
        }
        self.facts.set_problems(applied.problems.clone());
        Ok(FromProxy::Ack { generation, problems: applied.problems })
    }

    async fn drain(mut self, deadline: Duration) {
        info!(deadline = ?deadline, "draining");
        self.facts.draining.store(true, Ordering::Relaxed);
        self.held.clear();
        for worker in &self.workers {
            tell(worker, Command::Drain { deadline });
        }
        let end = tokio::time::Instant::now() + deadline + GRACE;
        while self.workers.iter().any(|worker| !worker.is_finished()) && tokio::time::Instant::now() < end {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        info!("drained");
    }
}

/// A worker that is gone has nothing left to be told.
fn tell(worker: &Handle, command: Command) {
    let _gone = worker.commands.send(command);
}

async fn either(a: &mut Signal, b: &mut Signal) {
    tokio::select! {
        _ = a.recv() => {}
        _ = b.recv() => {}
    }
}
