//! One proxy's connection to the control socket.

use std::os::fd::OwnedFd;
use std::time::Duration;

use anyhow::{Context, bail};
use gateway_common::channel::{self, Receiver, Sender};
use gateway_common::ir::message::agree;
use gateway_common::ir::{FromAgent, FromProxy, OLDEST_PROTOCOL, PROTOCOL, Problem, SocketId};
use tokio::net::UnixStream;
use tokio::sync::mpsc;

use super::outbox::{Outbox, outbox};

const HANDSHAKE: Duration = Duration::from_secs(5);
/// More groups than a node can have Gateways.
const MAX_HOLDING: u32 = 65_536;

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct PeerId(pub u64);

#[derive(Debug)]
pub enum Event {
    Joined { id: PeerId, hello: Hello, outbox: Outbox },
    Acknowledged { id: PeerId, generation: u64, problems: Vec<Problem> },
    Gone { id: PeerId, reason: String },
}

/// How a proxy introduced itself.
#[derive(Debug)]
pub struct Hello {
    pub pid: u32,
    /// Clock ticks from boot until its process started; 0: unknown.
    pub started: u64,
    pub draining: bool,
    pub generation: u64,
    pub holding: Vec<(SocketId, Vec<OwnedFd>)>,
}

/// Serves the connection until either side ends it.
pub async fn serve(id: PeerId, stream: UnixStream, events: mpsc::Sender<Event>) {
    let reason = match talk(id, &stream, &events).await {
        Ok(()) => "closed by the proxy".to_owned(),
        Err(error) => format!("{error:#}"),
    };
    // The receiver is gone only when the agent ends.
    let _ = events.send(Event::Gone { id, reason }).await;
}

async fn talk(id: PeerId, stream: &UnixStream, events: &mpsc::Sender<Event>) -> anyhow::Result<()> {
    let (mut sender, mut receiver) = channel::split(stream);
    let hello = tokio::time::timeout(HANDSHAKE, handshake(&mut sender, &mut receiver))
        .await
        .context("no complete Hello within 5 s")??;
    let (outbox, delivery) = outbox();
    events.send(Event::Joined { id, hello, outbox }).await.context("the agent is ending")?;
    tokio::select! {
        read = read(id, &mut receiver, events) => read,
        delivered = delivery.run(&mut sender) => match delivered? {},
    }
}

async fn handshake(sender: &mut Sender<'_>, receiver: &mut Receiver<'_>) -> anyhow::Result<Hello> {
    let first = receiver.receive::<FromProxy>().await.context("reading Hello")?;
    let Some(FromProxy::Hello { oldest, newest, pid, draining, generation, holding }) = first else {
        bail!("the first message was not Hello");
    };
    let Some(protocol) = agree(oldest, newest) else {
        bail!(
            "the proxy speaks protocol {oldest}..={newest}, this agent {OLDEST_PROTOCOL}..={PROTOCOL}: run versions at most one apart"
        );
    };
    sender.send(&FromAgent::Hello { protocol }, &[]).await.context("sending Hello")?;
    let mut held = Vec::new();
    for _ in 0..holding.min(MAX_HOLDING) {
        let Some(FromProxy::Holding { id, fds }) = receiver.receive().await.context("reading Holding")?
        else {
            bail!("fewer Holding messages than announced");
        };
        held.push((id, receiver.take_fds(fds)?));
    }
    Ok(Hello { pid, started: started(pid).unwrap_or(0), draining, generation, holding: held })
}

/// `starttime` of proc_pid_stat(5). The name before it may hold blanks and parentheses.
fn started(pid: u32) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, behind_name) = stat.rsplit_once(')')?;
    behind_name.split_whitespace().nth(19)?.parse().ok()
}

async fn read(id: PeerId, receiver: &mut Receiver<'_>, events: &mpsc::Sender<Event>) -> anyhow::Result<()> {
    while let Some(message) = receiver.receive::<FromProxy>().await? {
        match message {
            FromProxy::Ack { generation, problems } => {
                events.send(Event::Acknowledged { id, generation, problems }).await?;
            }
            FromProxy::Hello { .. } | FromProxy::Holding { .. } => {
                bail!("Hello or Holding after the handshake")
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_child_started_after_its_parent() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let later = started(child.id());
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(started(1).unwrap() < later.unwrap());
        assert_eq!(started(0), None);
    }
}
