//! The loop that makes the node what the objects say. One task owns all state; everything else sends it input.
//!
//! Make before break: ports that go leave the maps, proxies get sockets and the change and acknowledge it, then new
//! ports enter the maps. A proxy that is away is not waited for: connections queue in the sockets that the agent holds.

mod addresses;
mod adopt;
pub mod held;
pub mod kernel;
mod proxies;
mod publish;
mod sent;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use gateway_common::ir::{Resource, SocketId};

use crate::admin::Operation;
use crate::announce::Changed;
use crate::desired::{Datapath, Outcomes, Proxy};
use crate::object::ObjectKey;
use crate::proxy::outbox::Outbox;
use crate::proxy::peer::{Event, Hello, PeerId};
use crate::proxy::spawn::Exited;
use crate::source;
use crate::translate::{Params, Translator};
use crate::world::World;
pub use adopt::Adopt;
use held::{Held, Unseen};
use kernel::Kernel;
pub use proxies::{Proxies, Spawning};
pub use publish::{Facts, News, Publisher, Work};
use sent::Sent;

/// A proxy that does not acknowledge a change within this time does not hold up the kernel any longer.
const PATIENCE: Duration = Duration::from_secs(5);

/// What the loop hears.
pub enum Input {
    Objects(source::Update),
    Proxy(Event),
    Exited(Exited),
    Operation(Operation),
    /// Devices, addresses or routes of the node changed.
    Node(Changed),
    /// Time passed, for what has a deadline.
    Tick,
    /// Compare the kernel with what it should be, whether or not anything changed.
    Drift,
}

/// What the loop works on, made by `app`.
pub struct Parts {
    pub params: Params,
    pub held: Held,
    pub kernel: Kernel,
    pub proxies: Proxies,
    pub publisher: Publisher,
    /// Until what proxies of a former agent hold is here, no sockets are opened.
    pub adopt: Option<Adopt>,
}

pub struct Reconciler {
    parts: Parts,
    world: World,
    translator: Translator,
    generation: u64,
    /// The source has told everything once.
    loaded: bool,
    changed: BTreeSet<ObjectKey>,
    unseen: Unseen,
    /// Who was not seen is not waited for any more.
    gave_up: bool,
    devices_changed: bool,
    /// Addresses of devices are others than those that were translated with.
    addresses_changed: bool,
    /// Something happened that others may want to see.
    news: bool,
    datapath: Datapath,
    /// The kernel may not be what it should be. A change of routes alone leaves it as it is, and costs it nothing.
    astray: bool,
    /// Since when the kernel waits for the proxies to follow.
    unsettled: Option<Instant>,
    sent: Sent,
    outcomes: Outcomes,
    socket_problems: BTreeMap<SocketId, String>,
    errors: Errors,
    told: addresses::Told,
    source_errors: Arc<[source::SourceError]>,
}

/// What went wrong last, by step.
#[derive(Default)]
struct Errors {
    devices: Vec<String>,
    change: Vec<String>,
    settle: Vec<String>,
}

impl Reconciler {
    pub fn new(parts: Parts) -> Self {
        Self {
            unseen: Unseen::new(parts.held.addresses()),
            gave_up: false,
            parts,
            world: World::default(),
            translator: Translator::default(),
            generation: 0,
            loaded: false,
            changed: BTreeSet::new(),
            devices_changed: true,
            addresses_changed: false,
            news: true,
            datapath: Datapath::default(),
            astray: true,
            unsettled: None,
            sent: Sent::default(),
            outcomes: Outcomes::default(),
            socket_problems: BTreeMap::new(),
            errors: Errors::default(),
            told: addresses::Told::default(),
            source_errors: Arc::new([]),
        }
    }

    /// Takes one input in, without acting on it.
    pub fn take(&mut self, input: Input, now: Instant) {
        self.news |= !matches!(input, Input::Tick);
        match input {
            Input::Objects(update) => self.take_objects(update, now),
            Input::Proxy(event) => self.take_proxy(event, now),
            Input::Exited(exited) => self.parts.proxies.exited(&exited, now),
            Input::Operation(Operation::ReplaceProxy) => self.parts.proxies.replace(),
            Input::Node(changed) => {
                self.parts.kernel.changed(&changed);
                self.devices_changed = true;
                if changed.vip_routes {
                    self.lead_back(now);
                }
            }
            Input::Tick => {}
            Input::Drift => {
                self.devices_changed = true;
                self.lead_back(now);
            }
        }
    }

    /// Has the kernel compared with what it should be.
    fn lead_back(&mut self, now: Instant) {
        self.astray = true;
        self.unsettled.get_or_insert(now);
    }

    /// Acts on everything taken in.
    pub async fn act(&mut self, now: Instant) {
        if std::mem::take(&mut self.devices_changed) {
            let problems = self.parts.kernel.attach().await;
            for problem in problems.iter().filter(|problem| !self.errors.devices.contains(problem)) {
                tracing::warn!(problem, "not in place");
            }
            self.errors.devices = problems;
            self.note_addresses();
        }
        if !self.loaded {
            return;
        }
        self.parts.proxies.supervise(self.generation, now);
        if self.parts.adopt.as_ref().is_some_and(|adopt| !adopt.is_over(now)) {
            return;
        }
        self.parts.adopt = None;
        if std::mem::take(&mut self.gave_up) || !self.changed.is_empty() || self.addresses_changed {
            self.change(now).await;
        }
        for id in std::mem::take(&mut self.parts.proxies.newcomers) {
            self.introduce(id, now);
        }
        if let Some(since) = self.unsettled
            && (self.parts.proxies.follow(self.generation) || now.duration_since(since) >= PATIENCE)
        {
            self.unsettled = None;
            self.news = true;
            self.settle().await;
        }
        if self.unsettled.is_none() && std::mem::take(&mut self.news) {
            self.publish();
        }
    }

    fn note_addresses(&mut self) {
        let Parts { kernel, params, .. } = &mut self.parts;
        if *kernel.addresses() != params.devices {
            params.devices.clone_from(kernel.addresses());
            // What comes first is translated with them in any case.
            self.addresses_changed = self.loaded;
        }
    }

    fn take_objects(&mut self, update: source::Update, now: Instant) {
        for event in update.events {
            self.changed.extend(self.world.apply(event));
        }
        self.parts.publisher.note(update.moved);
        self.source_errors = update.errors;
        self.gave_up |= !update.broken && self.unseen.give_up();
        if !std::mem::replace(&mut self.loaded, true) {
            // A source without objects is a change too: to nothing.
            self.unsettled = Some(now);
        }
    }

    fn take_proxy(&mut self, event: Event, now: Instant) {
        match event {
            Event::Joined { id, hello, outbox } => self.join(id, hello, outbox),
            Event::Acknowledged { id, generation, problems } => {
                self.parts.proxies.peers.acknowledge(id, generation, problems);
            }
            Event::Gone { id, reason } => {
                self.parts.proxies.gone(id, &reason);
                self.unsettled.get_or_insert(now);
            }
        }
    }

    fn join(&mut self, id: PeerId, mut hello: Hello, outbox: Outbox) {
        let holding = std::mem::take(&mut hello.holding);
        tracing::info!(
            pid = hello.pid,
            draining = hello.draining,
            sockets = holding.len(),
            "proxy connected"
        );
        self.parts.proxies.peers.join(id, &hello, outbox);
        if hello.draining {
            return;
        }
        if let Some(adopt) = &mut self.parts.adopt {
            adopt.joined(hello.pid, !holding.is_empty());
        }
        self.astray |= !holding.is_empty();
        let refused = self.parts.kernel.adopt(holding);
        self.parts.proxies.unlisten(id, &refused);
        self.parts.proxies.newcomers.insert(id);
    }

    /// Gives a new proxy everything: first what to serve, then the sockets, or it would turn away what waits in them.
    fn introduce(&mut self, id: PeerId, now: Instant) {
        let Parts { kernel, proxies, .. } = &mut self.parts;
        proxies.send_full(id, self.translator.resources(), self.generation);
        for socket in kernel.held() {
            proxies.listen(kernel, socket, Some(id));
        }
        self.unsettled.get_or_insert(now);
    }

    async fn change(&mut self, now: Instant) {
        let Parts { params, held, kernel, .. } = &mut self.parts;
        self.addresses_changed = false;
        let changed = std::mem::take(&mut self.changed);
        self.unseen.forget_gone(&mut params.held, self.world.gateways.keys());
        let change = self.translator.update(&self.world, params, &changed);
        params.held = self.unseen.beside(self.translator.held());
        self.errors.change.clear();
        if let Err(error) = held.keep(&params.held) {
            self.errors.change.push(format!("assigned addresses are not kept: {error:#}"));
        }
        if self.datapath != *self.translator.datapath() {
            self.datapath.clone_from(self.translator.datapath());
            self.astray = true;
        }
        self.told.tell(addresses::warnings(&self.datapath, self.translator.verdicts(), &params.devices));
        self.errors.change.extend(kernel.shrink(&self.datapath).await);
        self.generation += 1;
        self.open_sockets();
        self.sent.note(change.upsert.iter().map(Resource::key), &change.remove, self.generation);
        let Parts { kernel, proxies, publisher, .. } = &mut self.parts;
        proxies.send_delta(&change.upsert, change.remove, self.generation);
        for socket in kernel.close(&self.datapath) {
            proxies.unlisten_all(&socket);
        }
        for problem in &self.errors.change {
            tracing::error!(problem, "change");
        }
        tracing::debug!(generation = self.generation, objects = changed.len(), "changed");
        publisher.note(changed);
        publisher.note(change.verdicts);
        // Changes that follow each other closely do not put off the kernel when no proxy acknowledges.
        self.unsettled.get_or_insert(now);
    }

    fn open_sockets(&mut self) {
        let Parts { kernel, proxies, .. } = &mut self.parts;
        let (opened, failed) = kernel.open(&self.datapath);
        for (socket, problem) in failed.iter().filter(|(id, _)| !self.socket_problems.contains_key(*id)) {
            tracing::warn!(%socket, problem, "listening socket not opened");
        }
        self.astray |= !opened.is_empty();
        self.socket_problems = failed;
        for socket in &opened {
            proxies.listen(kernel, socket, None);
        }
    }

    async fn settle(&mut self) {
        // A port that another process held may be free by now.
        self.open_sockets();
        if !self.astray {
            return;
        }
        let outcome = self.parts.kernel.settle(&self.datapath).await;
        for problem in outcome.errors.iter().filter(|problem| !self.errors.settle.contains(problem)) {
            tracing::error!(problem, "kernel");
        }
        self.errors.settle = outcome.errors;
        self.outcomes.vips = outcome.vips;
        self.outcomes.ports = outcome.ports;
        self.outcomes.sockets = outcome.sockets;
        self.outcomes.sockets.extend(self.socket_problems.clone());
        let Outcomes { vips, ports, sockets, .. } = &self.outcomes;
        // What did not work is tried again at every occasion.
        self.astray =
            !(self.errors.settle.is_empty() && vips.is_empty() && ports.is_empty() && sockets.is_empty());
    }

    fn publish(&mut self) {
        let Parts { proxies, publisher, .. } = &mut self.parts;
        let acknowledged = proxies.peers.acknowledged();
        self.outcomes.proxy = match acknowledged {
            Some(_) => Proxy::Serving,
            None if proxies.peers.has_accepting() => Proxy::Silent,
            None => Proxy::Absent,
        };
        self.outcomes.unacknowledged = self.sent.unacknowledged(acknowledged);
        self.outcomes.proxy_problems = proxies.peers.problems();
        let Errors { devices, change, settle } = &self.errors;
        let facts = Facts {
            verdicts: self.translator.verdicts(),
            outcomes: &self.outcomes,
            generation: self.generation,
            proxies: proxies.peers.status(),
            source_errors: &self.source_errors,
            errors: [devices.as_slice(), change, settle].concat(),
        };
        publisher.publish(&mut self.world, facts);
    }
}
