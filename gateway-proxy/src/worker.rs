//! A worker: one thread, one runtime, its own share of every listening socket and its own pools. Workers share the
//! snapshot to read and nothing to write.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::Context;
use arc_swap::Cache;
use gateway_common::ir::{Family, SocketId};
use tokio::runtime::{Builder, LocalOptions};
use tokio::sync::mpsc;
use tokio::task::spawn_local;
use tracing::debug;

use crate::accept;
use crate::accept::spread::{Arrived, Spread};
use crate::access_log::{AccessLog, WorkerLog};
use crate::admin::Question;
use crate::connections::Connections;
use crate::deadline::{Deadlines, SWEEP};
use crate::drain::{Anchor, Drains};
use crate::listen::{Listening, Socket};
use crate::snapshot::{Current, Snapshot};
use crate::udp;
use crate::upstream::Upstreams;

/// What every connection of a worker may use. Lives on the worker's thread alone.
pub struct Worker {
    pub index: usize,
    pub deadlines: Rc<Deadlines>,
    pub drains: Drains,
    pub upstreams: Upstreams,
    pub connections: Rc<Connections>,
    pub spread: Arc<Spread>,
    pub log: WorkerLog,
    pub udp: udp::Tables,
    /// What connections get to finish when their listener is removed or the process ends.
    pub drain_deadline: Cell<Duration>,
    current: RefCell<Cache<Current, Arc<Snapshot>>>,
    view: RefCell<View>,
}

/// A snapshot as a worker's requests hold it: counted without touching memory of other cores.
pub type View = Rc<Arc<Snapshot>>;

/// From the control thread.
pub enum Command {
    Listen {
        id: SocketId,
        sockets: Vec<Socket>,
    },
    Unlisten {
        id: SocketId,
    },
    /// There is a new snapshot.
    Changed,
    /// From the admin thread.
    Ask(Question),
    /// Stop accepting, finish, end at the deadline.
    Drain {
        deadline: Duration,
    },
}

/// The control thread's end of a worker.
pub struct Handle {
    pub commands: mpsc::UnboundedSender<Command>,
    thread: JoinHandle<()>,
}

/// What a worker is made of beside its index.
struct Shared {
    current: Current,
    log: AccessLog,
    drain_deadline: Duration,
    spread: Arc<Spread>,
}

impl Worker {
    fn new(index: usize, shared: Shared) -> Rc<Self> {
        let Shared { current, log, drain_deadline, spread } = shared;
        let view = Rc::new(current.load_full());
        let deadlines = Deadlines::new();
        Rc::new(Self {
            index,
            upstreams: Upstreams::new(deadlines.clone()),
            deadlines,
            drains: Drains::default(),
            connections: Connections::new(index),
            spread,
            log: log.worker(),
            udp: udp::Tables::default(),
            drain_deadline: Cell::new(drain_deadline),
            current: RefCell::new(Cache::new(current)),
            view: RefCell::new(view),
        })
    }

    /// The snapshot of this moment.
    pub fn view(&self) -> View {
        let mut current = self.current.borrow_mut();
        let newest = current.load();
        let mut view = self.view.borrow_mut();
        if !Arc::ptr_eq(newest, &view) {
            *view = Rc::new(newest.clone());
        }
        view.clone()
    }

    async fn run(
        self: Rc<Self>,
        mut commands: mpsc::UnboundedReceiver<Command>,
        mut arrivals: mpsc::UnboundedReceiver<Arrived>,
    ) {
        let mut listening = Listening::default();
        let mut sweep = tokio::time::interval(SWEEP);
        sweep.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let ended = self.deadlines.deadline();
        loop {
            tokio::select! {
                command = commands.recv() => match command {
                    None => return,
                    Some(Command::Listen { id, sockets }) => listening.start(&self, id, sockets),
                    Some(Command::Unlisten { id }) => {
                        listening.stop(&id);
                        self.drains.drain_if(|anchor| anchor.came_by(&id));
                    }
                    Some(Command::Changed) => self.changed(),
                    Some(Command::Ask(question)) => drop(spawn_local(question.answer(self.clone()))),
                    Some(Command::Drain { deadline }) => {
                        self.drain_deadline.set(deadline);
                        listening.stop_all();
                        self.drains.drain_all();
                        // Later than the connections' own deadlines, so that they end with a reason.
                        ended.arm(deadline + 2 * SWEEP);
                    }
                },
                Some(arrived) = arrivals.recv() => accept::arrive(&self, arrived),
                _ = sweep.tick() => {
                    self.deadlines.sweep();
                    self.upstreams.sweep();
                    self.log.flush();
                    let open = self.drains.open();
                    if self.drains.is_draining() && (open == 0 || ended.is_over()) {
                        // From here on the others keep what they accept; what is under way is still to be served.
                        arrivals.close();
                        if let Ok(arrived) = arrivals.try_recv() {
                            accept::arrive(&self, arrived);
                            continue;
                        }
                        debug!(worker = self.index, open, "drained");
                        return;
                    }
                }
            }
        }
    }

    fn changed(&self) {
        let view = self.view();
        self.upstreams.retain(&view);
        self.drain_gone();
    }

    /// Drains the connections whose port or listener the snapshot of this moment lacks.
    pub fn drain_gone(&self) {
        let view = self.view();
        self.drains.drain_if(|anchor| !anchor.stands(&view));
    }
}

impl Handle {
    /// Starts `count` workers, each on a thread of its own.
    pub fn start(
        count: usize,
        current: &Current,
        log: &AccessLog,
        drain_deadline: Duration,
    ) -> anyhow::Result<Vec<Self>> {
        let (senders, receivers): (Vec<_>, Vec<_>) = (0..count).map(|_| mpsc::unbounded_channel()).unzip();
        let spread = Spread::new(senders);
        let one = |(index, arrivals)| {
            let (current, log, spread) = (current.clone(), log.clone(), spread.clone());
            Self::one(index, arrivals, Shared { current, log, drain_deadline, spread })
        };
        receivers.into_iter().enumerate().map(one).collect()
    }

    fn one(index: usize, arrivals: mpsc::UnboundedReceiver<Arrived>, shared: Shared) -> anyhow::Result<Self> {
        let (commands, receiver) = mpsc::unbounded_channel();
        let (started, starting) = std::sync::mpsc::sync_channel(1);
        let thread = std::thread::Builder::new()
            .name(format!("worker-{index}"))
            .spawn(move || {
                // Made here, because a local runtime stays on the thread that made it.
                match Builder::new_current_thread().enable_all().build_local(LocalOptions::default()) {
                    Ok(runtime) => {
                        let _ = started.send(Ok(()));
                        runtime.block_on(Worker::new(index, shared).run(receiver, arrivals));
                    }
                    Err(error) => drop(started.send(Err(error))),
                }
            })
            .with_context(|| format!("start the thread of worker {index}"))?;
        let starting = starting.recv().with_context(|| format!("the thread of worker {index} ended"))?;
        starting.with_context(|| format!("start the runtime of worker {index}"))?;
        Ok(Self { commands, thread })
    }

    /// Whether it came to its end.
    pub fn is_finished(&self) -> bool {
        self.thread.is_finished()
    }
}

impl Anchor {
    /// Whether the configuration still has it.
    fn stands(&self, snapshot: &Snapshot) -> bool {
        let Some(gateway) = snapshot.gateway(&self.gateway) else { return false };
        let number = self.vip.port();
        let port = if self.udp { gateway.udp_port(number) } else { gateway.stream_port(number) };
        port.is_some_and(|port| self.listener.as_deref().is_none_or(|name| port.listener(name).is_some()))
    }

    /// Whether it came in on this group of sockets.
    fn came_by(&self, id: &SocketId) -> bool {
        match id {
            SocketId::Tcp { gateway, family } => {
                !self.udp && self.gateway == *gateway && self.vip.is_ipv4() == (*family == Family::V4)
            }
            SocketId::Udp { gateway, address } => {
                self.udp && self.gateway == *gateway && self.vip == *address
            }
        }
    }
}
