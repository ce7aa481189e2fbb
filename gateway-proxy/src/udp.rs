//! UDP sessions: each client of a VIP and port talks to one endpoint until it is idle.
//!
//! The kernel hashes a client's datagrams to one worker's socket of the group, so sessions are the worker's own. The
//! socket is bound to the VIP and port: what is sent on it comes from there.

mod session;
mod table;

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::rc::Rc;
use std::time::Duration;

use gateway_common::ir::{AccessLog, GatewayId, ProxyProtocolOut};
use rustix::net::SendFlags;
use tokio::net::UdpSocket;
use tokio::sync::Notify;
use tokio::task::spawn_local;
use tracing::debug;

use crate::access_log::{Reason, Record};
use crate::connections::Protocol;
use crate::drain::Drain;
use crate::proxy_protocol::{self, Addresses};
use crate::snapshot::{Snapshot, l4};
use crate::upstream::{Open, balance};
use crate::worker::Worker;
use session::{Beginning, Sent, Session};
use table::Table;
pub use table::Tables;

/// No datagram is longer.
const LONGEST: usize = 65_535;
/// Datagrams taken from a socket before other tasks get their turn.
const TURN: usize = 64;
/// How often idle sessions are looked for, at most; a quarter of the idle timeout if that is shorter.
const LOOK: Duration = Duration::from_secs(1);
/// After draining began, answers are passed on until none came for this long.
const QUIET: Duration = Duration::from_secs(2);

thread_local! {
    static BUFFER: RefCell<Box<[u8]>> = RefCell::new(vec![0; LONGEST].into());
}

/// One worker's socket of one VIP and port.
struct Vip {
    worker: Rc<Worker>,
    gateway: GatewayId,
    address: SocketAddr,
    socket: UdpSocket,
    sessions: RefCell<HashMap<SocketAddr, Rc<Session>, foldhash::fast::RandomState>>,
    table: Rc<Table>,
    /// The configuration that the sessions' endpoints were last compared with.
    generation: Cell<u64>,
    /// When a client was last answered.
    answered: Cell<u64>,
}

/// Serves one worker's socket of one VIP and port, until drained. `superseded` ends the draining: another socket of the same
/// address is there, and the kernel would go on to give this one its share of datagrams.
pub async fn serve(
    worker: Rc<Worker>,
    gateway: GatewayId,
    socket: UdpSocket,
    drain: Drain,
    superseded: Rc<Notify>,
) {
    let Ok(address) = socket.local_addr() else { return };
    let vip = Rc::new(Vip {
        table: worker.udp.of(&gateway),
        generation: Cell::new(worker.view().generation),
        answered: Cell::new(0),
        sessions: RefCell::default(),
        address,
        socket,
        gateway,
        worker,
    });
    let look = vip.worker.deadlines.deadline();
    look.arm(vip.look());
    loop {
        tokio::select! {
            biased;
            () = drain.draining() => break,
            () = look.over() => {
                vip.clean();
                look.arm(vip.look());
            }
            ready = vip.socket.readable() => match ready {
                Ok(()) => vip.receive(),
                Err(_) => break,
            },
        }
    }
    tokio::select! {
        () = vip.wind_down() => {}
        () = superseded.notified() => {}
    }
    vip.end_all();
}

impl Vip {
    /// Passes on what clients sent.
    fn receive(self: &Rc<Self>) {
        BUFFER.with_borrow_mut(|buffer| {
            for _ in 0..TURN {
                let Ok((length, client)) = self.socket.try_recv_from(buffer) else { break };
                self.datagram(client, &buffer[..length]);
            }
        });
    }

    fn datagram(self: &Rc<Self>, client: SocketAddr, datagram: &[u8]) {
        let now = self.worker.deadlines.now_ms();
        let mut tried = Vec::new();
        // Once more when a session's endpoint turns out to be gone.
        for _ in 0..2 {
            let known = self.sessions.borrow().get(&client).cloned();
            let session = match known.map_or_else(|| self.begin(client, &tried, now), Ok) {
                Ok(session) => session,
                Err(reason) => return self.lost(Some(reason)),
            };
            match session.send(datagram, now) {
                Sent::Passed => {
                    let counters = session.handle.counters();
                    counters.datagrams_in.increment();
                    counters.received.add(datagram.len() as u64);
                    return;
                }
                Sent::Lost => return self.lost(None),
                Sent::Unreachable => {
                    tried.push(session.address());
                    session.end(Reason::ConnectFailed);
                }
            }
        }
        self.lost(None);
    }

    /// Counts a datagram that was not passed on.
    fn lost(&self, reason: Option<Reason>) {
        let view = self.worker.view();
        let port = view.gateway(&self.gateway).and_then(|gateway| gateway.udp_port(self.address.port()));
        if let Some(port) = port {
            let counters = port.metrics.of(self.worker.index);
            counters.dropped_in.increment();
            if let Some(reason) = reason {
                counters.end(reason);
            }
        }
    }

    fn begin(
        self: &Rc<Self>,
        client: SocketAddr,
        tried: &[SocketAddr],
        now: u64,
    ) -> Result<Rc<Session>, Reason> {
        let view = self.worker.view();
        let gateway = view.gateway(&self.gateway).ok_or(Reason::RouteNotFound)?;
        let port = gateway.udp_port(self.address.port()).ok_or(Reason::RouteNotFound)?;
        let route = port.l4.any().ok_or(Reason::RouteNotFound)?;
        let chosen = balance::weighted(l4::backends(route)).ok_or(Reason::NoBackend)?;
        let id = chosen.backend.as_ref().ok_or(Reason::NoBackend)?;
        let lease = self.worker.upstreams.lease(&view, id, tried).map_err(|error| error.reason())?;
        self.make_room(&view, gateway.settings.limits.udp_sessions)?;

        let peer = SocketAddr::new(client.ip().to_canonical(), client.port());
        let backend = view.backend(id).ok_or(Reason::NoBackend)?;
        backend.metrics.of(self.worker.index).requests.increment();
        let open = Open::new(lease.endpoint().clone(), backend.metrics.clone(), self.worker.index);
        let header = header(backend.proxy_protocol, peer, self.address).ok_or(Reason::NoBackend)?;
        let connections = &self.worker.connections;
        let handle = connections.open(port.metrics.clone(), Protocol::Udp, peer, self.address, None);
        let (route, backend) = (route.id.clone(), id.clone());
        let beginning = Beginning { client, route, backend, handle, lease, header, open, now };
        let session = Session::connect(self, beginning).map_err(|error| {
            debug!(gateway = %self.gateway, %error, "UDP session not begun");
            if error.kind() == std::io::ErrorKind::NetworkUnreachable {
                Reason::ConnectFailed
            } else {
                Reason::Internal
            }
        })?;
        self.sessions.borrow_mut().insert(client, session.clone());
        self.table.add(&session);
        spawn_local(answer(self.clone(), session.clone()));
        Ok(session)
    }

    /// Keeps to this worker's share of the Gateway's limit.
    fn make_room(&self, view: &Snapshot, limit: u32) -> Result<(), Reason> {
        let share = (limit as usize).div_ceil(view.metrics.workers());
        if self.table.live() >= share {
            self.table.evict();
        }
        if self.table.live() < share { Ok(()) } else { Err(Reason::Limit) }
    }

    /// Called by a session that ends.
    fn forget(&self, client: SocketAddr) {
        if self.sessions.borrow_mut().remove(&client).is_some() {
            self.table.removed();
        }
    }

    fn idle(&self) -> Duration {
        let view = self.worker.view();
        let idle = view.gateway(&self.gateway).map(|gateway| gateway.settings.timeouts.udp_idle_ms);
        Duration::from_millis(idle.filter(|ms| *ms > 0).unwrap_or(60_000))
    }

    fn look(&self) -> Duration {
        (self.idle() / 4).min(LOOK)
    }

    /// Ends sessions that are idle, or whose client would not come to their endpoint any more.
    fn clean(&self) {
        let idle = u64::try_from(self.idle().as_millis()).unwrap_or(u64::MAX);
        self.table.expire(self.worker.deadlines.now_ms().saturating_sub(idle));
        let view = self.worker.view();
        if self.generation.replace(view.generation) == view.generation {
            return;
        }
        let gone: Vec<_> = self
            .sessions
            .borrow()
            .values()
            .filter(|session| !self.is_wanted(&view, session))
            .cloned()
            .collect();
        for session in gone {
            session.end(Reason::EndpointGone);
        }
    }

    /// The route still sends to the session's backend, and that still has its endpoint.
    fn is_wanted(&self, view: &Snapshot, session: &Session) -> bool {
        let port = view.gateway(&self.gateway).and_then(|gateway| gateway.udp_port(self.address.port()));
        // Without its port the session drains.
        let Some(port) = port else { return true };
        let mut refs = port.l4.any().into_iter().flat_map(|route| l4::backends(route));
        let backend = view.backend(&session.backend);
        refs.any(|to| to.weight > 0 && to.backend.as_ref() == Some(&session.backend))
            && backend.is_some_and(|b| b.endpoints.iter().any(|e| e.address == session.address()))
    }

    /// The listener's name where the Gateway wants a log.
    fn logged(&self) -> Option<String> {
        let view = self.worker.view();
        let gateway = view.gateway(&self.gateway)?;
        let listener = gateway.udp_port(self.address.port())?.ir.listeners.first()?;
        (gateway.settings.access_log == AccessLog::Json).then(|| listener.name.clone())
    }

    /// Passes one endpoint's answers on, as many as there are; false when nobody is there.
    fn answers(&self, session: &Session) -> bool {
        let now = self.worker.deadlines.now_ms();
        let counters = session.handle.counters();
        BUFFER.with_borrow_mut(|buffer| {
            for _ in 0..TURN {
                let length = match session.receive(buffer, now) {
                    Ok(Some(length)) => length,
                    Ok(None) => return true,
                    Err(_) => return false,
                };
                self.answered.set(now);
                let answer = &buffer[..length];
                let sent =
                    rustix::net::sendto(self.socket.as_fd(), answer, SendFlags::DONTWAIT, &session.client);
                if sent.is_ok() {
                    counters.datagrams_out.increment();
                    counters.sent.add(length as u64);
                } else {
                    counters.dropped_out.increment();
                }
            }
            true
        })
    }

    /// Answers that are on their way are still passed on; what clients send is the successor's.
    async fn wind_down(&self) {
        let (end, quiet) = (self.worker.deadlines.deadline(), self.worker.deadlines.deadline());
        end.arm(self.worker.drain_deadline.get());
        while !self.sessions.borrow().is_empty() && !end.is_over() {
            quiet.arm(QUIET);
            tokio::select! {
                () = quiet.over() => {}
                () = end.over() => {}
            }
            let since = self.worker.deadlines.now_ms().saturating_sub(self.answered.get());
            if u128::from(since) >= QUIET.as_millis() {
                break;
            }
        }
    }

    fn end_all(&self) {
        let left: Vec<_> = self.sessions.borrow().values().cloned().collect();
        for session in left {
            session.end(Reason::Drain);
        }
    }
}

/// A session's task: answers go to the client until the session ends.
async fn answer(vip: Rc<Vip>, session: Rc<Session>) {
    // The Gateway may be gone by the end.
    let listener = vip.logged();
    let reason = loop {
        tokio::select! {
            biased;
            reason = session.ended() => break reason,
            () = session.readable() => {
                if !vip.answers(&session) {
                    session.end(Reason::ConnectFailed);
                }
            }
        }
    };
    if reason != Reason::Ok {
        session.handle.end(reason);
    }
    if let Some(listener) = listener {
        vip.worker.log.write(&Record {
            gateway: &vip.gateway,
            listener: Some(&listener),
            protocol: Protocol::Udp.as_str(),
            client: session.handle.client.get(),
            vip: vip.address,
            sni: None,
            request: None,
            route: Some(&session.route),
            backend: Some(&session.backend),
            endpoint: Some(session.address()),
            reason,
            detail: None,
            duration: session.handle.opened.elapsed(),
            bytes_in: session.handle.bytes_in.get(),
            bytes_out: session.handle.bytes_out.get(),
        });
    }
}

/// What goes before each datagram: nothing, or a PROXY header of version 2, as dnsdist and PowerDNS read it. Version 1
/// cannot carry UDP, so a backend that wants it gets nothing.
fn header(version: Option<ProxyProtocolOut>, source: SocketAddr, destination: SocketAddr) -> Option<Vec<u8>> {
    let mut header = Vec::new();
    match version {
        None => {}
        Some(ProxyProtocolOut::V2) => {
            proxy_protocol::write_datagram(&Addresses { source, destination }, &mut header);
        }
        Some(ProxyProtocolOut::V1) => return None,
    }
    Some(header)
}
