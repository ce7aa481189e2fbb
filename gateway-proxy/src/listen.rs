//! The sockets of one worker: its share of each group that the agent sent.

use std::collections::BTreeMap;
use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::os::fd::OwnedFd;
use std::rc::{Rc, Weak};
use std::time::Duration;

use gateway_common::ir::{GatewayId, SocketId};
use rustix::io::Errno;
use tokio::sync::Notify;
use tokio::task::{AbortHandle, spawn_local};
use tracing::warn;

use crate::drain::Anchor;
use crate::worker::Worker;
use crate::{accept, keepalive, udp};

/// Time without accepting after the process ran out of descriptors or memory.
const EXHAUSTED: Duration = Duration::from_millis(50);

/// One listening socket.
pub enum Socket {
    Tcp(TcpListener),
    Udp(UdpSocket),
}

/// What a worker listens on.
#[derive(Default)]
pub struct Listening {
    groups: BTreeMap<SocketId, Vec<Serving>>,
    /// Of UDP groups that drain. What has drained is dead.
    draining: BTreeMap<SocketId, Vec<Weak<Notify>>>,
}

/// How serving a socket is ended.
enum Serving {
    Tcp(AbortHandle),
    /// Drains by itself, unless it is told that it was superseded.
    Udp(Weak<Notify>),
}

/// Splits a group's descriptors over `workers`: descriptor i belongs to worker i % workers.
pub fn distribute(id: &SocketId, fds: Vec<OwnedFd>, workers: usize) -> io::Result<Vec<Vec<Socket>>> {
    let mut shares: Vec<Vec<Socket>> = (0..workers).map(|_| Vec::new()).collect();
    for (index, fd) in fds.into_iter().enumerate() {
        rustix::io::ioctl_fionbio(&fd, true)?;
        let socket = match id {
            SocketId::Tcp { .. } => Socket::Tcp(TcpListener::from(fd)),
            SocketId::Udp { .. } => Socket::Udp(UdpSocket::from(fd)),
        };
        shares[index % workers].push(socket);
    }
    Ok(shares)
}

impl Listening {
    /// Begins to serve a group; one that is served already stays as it is.
    pub fn start(&mut self, worker: &Rc<Worker>, id: SocketId, sockets: Vec<Socket>) {
        if self.groups.contains_key(&id) {
            return;
        }
        self.draining.retain(|_, sockets| sockets.iter().any(|socket| socket.strong_count() > 0));
        for superseded in self.draining.remove(&id).iter().flatten().filter_map(Weak::upgrade) {
            superseded.notify_one();
        }
        let mut tasks = Vec::new();
        for socket in sockets {
            match serve(worker, &id, socket) {
                Ok(task) => tasks.push(task),
                Err(error) => warn!(socket = %id, %error, "listening socket unusable"),
            }
        }
        self.groups.insert(id, tasks);
    }

    /// Stops accepting on a group and closes this worker's sockets of it. UDP sessions end by their own draining.
    pub fn stop(&mut self, id: &SocketId) {
        for task in self.groups.remove(id).unwrap_or_default() {
            match task {
                Serving::Tcp(task) => task.abort(),
                Serving::Udp(superseded) => {
                    self.draining.entry(id.clone()).or_default().push(superseded);
                }
            }
        }
    }

    pub fn stop_all(&mut self) {
        for id in self.groups.keys().cloned().collect::<Vec<_>>() {
            self.stop(&id);
        }
    }
}

fn serve(worker: &Rc<Worker>, id: &SocketId, socket: Socket) -> io::Result<Serving> {
    let worker = worker.clone();
    let gateway = id.gateway().clone();
    let task = match socket {
        Socket::Tcp(listener) => {
            keepalive::listener(&listener)?;
            let listener = tokio::net::TcpListener::from_std(listener)?;
            Serving::Tcp(spawn_local(accept_all(worker, gateway, listener)).abort_handle())
        }
        Socket::Udp(socket) => {
            let vip = socket.local_addr()?;
            let socket = tokio::net::UdpSocket::from_std(socket)?;
            let anchor = Anchor { gateway: gateway.clone(), udp: true, vip, listener: None };
            let drain = worker.drains.register(anchor);
            let superseded = Rc::new(Notify::new());
            let serving = Serving::Udp(Rc::downgrade(&superseded));
            // Not aborted: the socket is needed until its sessions have drained.
            spawn_local(udp::serve(worker, gateway, socket, drain, superseded));
            serving
        }
    };
    Ok(task)
}

async fn accept_all(worker: Rc<Worker>, gateway: GatewayId, listener: tokio::net::TcpListener) {
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => accept::begin(&worker, &gateway, stream, canonical(peer)),
            Err(error) => match error.raw_os_error().map(Errno::from_raw_os_error) {
                Some(Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM) => {
                    warn!(%gateway, %error, "accept paused");
                    tokio::time::sleep(EXHAUSTED).await;
                }
                // The connection died in the queue; the next one is not to blame.
                Some(_) | None => tokio::task::yield_now().await,
            },
        }
    }
}

/// An IPv4 peer of an IPv6 socket, as the IPv4 address that it is.
fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}
