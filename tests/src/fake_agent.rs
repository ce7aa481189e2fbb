//! An agent for tests of the proxy alone: plain loopback listeners, resources as the test says them.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use gateway_common::channel;
use gateway_common::ir::{Attachment, Hostname, Problem, Route, RouteId, RouteRules};
use gateway_common::ir::{
    Backend, BackendId, BackendProtocol, BackendRef, Endpoint, EndpointState, Family, FromAgent, FromProxy,
    Gateway, GatewayId, HttpMatch, HttpRule, Key, Listener, ListenerProtocol, PathMatch, Port, PortProtocol,
    Resource, Settings, SocketId, Timeouts,
};
use socket2::{Domain, Socket, Type};
use tokio::net::{UnixListener, UnixStream};

use crate::process::{Process, program};

/// The Gateway of most tests.
pub const GATEWAY: &str = "default/web";
const PATIENCE: Duration = Duration::from_secs(30);
const WORKERS: usize = 2;
/// The file in the agent's folder.
const ACCESS_LOG: &str = "access.log";

/// A running proxy and the agent that it talks to.
#[derive(Debug)]
pub struct FakeAgent {
    pub proxy: Process,
    /// What the proxy said it holds when it connected last.
    pub held: BTreeMap<SocketId, usize>,
    listener: UnixListener,
    stream: Option<UnixStream>,
    generation: u64,
    folder: tempfile::TempDir,
}

impl FakeAgent {
    /// Starts a proxy with these further arguments and waits until it connects.
    pub async fn start(arguments: &[&str]) -> Result<Self> {
        let folder = tempfile::tempdir().context("make a folder")?;
        let listener =
            UnixListener::bind(folder.path().join("control.sock")).context("open the control socket")?;
        let proxy = spawn(folder.path(), arguments)?;
        let held = BTreeMap::new();
        let mut agent = Self { proxy, held, listener, stream: None, generation: 0, folder };
        agent.connect().await?;
        Ok(agent)
    }

    /// The proxy's admin socket.
    pub fn admin(&self) -> PathBuf {
        self.folder.path().join(format!("{}.sock", self.proxy.id()))
    }

    /// The lines of the access log, once there are so many.
    pub async fn logged(&self, count: usize) -> Result<Vec<serde_json::Value>> {
        let file = self.folder.path().join(ACCESS_LOG);
        let end = tokio::time::Instant::now() + PATIENCE;
        loop {
            let text = std::fs::read_to_string(&file).unwrap_or_default();
            if text.lines().count() >= count && text.ends_with('\n') {
                return text.lines().map(|line| serde_json::from_str(line).context("read a line")).collect();
            }
            ensure!(tokio::time::Instant::now() < end, "{count} lines are wanted, there is:\n{text}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Waits for the proxy to connect, once more after [`Self::vanish`].
    pub async fn connect(&mut self) -> Result<()> {
        let accepted = tokio::time::timeout(PATIENCE, self.listener.accept()).await;
        let (stream, _) = accepted.context("the proxy did not connect")??;
        let (mut sender, mut receiver) = channel::split(&stream);
        let Some(FromProxy::Hello { newest, holding, .. }) = receiver.receive().await? else {
            bail!("the proxy did not say hello");
        };
        self.held.clear();
        for _ in 0..holding {
            let Some(FromProxy::Holding { id, fds }) = receiver.receive().await? else {
                bail!("the proxy did not say what it holds");
            };
            self.held.insert(id, receiver.take_fds(fds)?.len());
        }
        sender.send(&FromAgent::Hello { protocol: newest }, &[]).await?;
        self.stream = Some(stream);
        Ok(())
    }

    /// Closes the connection, as an agent that is killed does.
    pub fn vanish(&mut self) {
        self.stream = None;
    }

    /// Opens `ports` loopback ports, a socket per worker each, as the one group of `gateway`.
    pub async fn listen(&mut self, gateway: &str, ports: usize) -> Result<Vec<SocketAddr>> {
        let mut addresses = Vec::new();
        let mut fds: Vec<OwnedFd> = Vec::new();
        for _ in 0..ports {
            let group = sockets(Type::STREAM)?;
            addresses.push(group.0);
            fds.extend(group.1);
        }
        let id = SocketId::Tcp { gateway: GatewayId::new(gateway), family: Family::V4 };
        let borrowed: Vec<BorrowedFd<'_>> = fds.iter().map(|fd| fd.as_fd()).collect();
        let message = FromAgent::Listen { id, fds: u32::try_from(borrowed.len())? };
        self.send(&message, &borrowed).await?;
        Ok(addresses)
    }

    /// Opens a loopback UDP port, a socket per worker, as a group of `gateway`.
    pub async fn listen_udp(&mut self, gateway: &str) -> Result<SocketAddr> {
        let (address, fds) = sockets(Type::DGRAM)?;
        let id = SocketId::Udp { gateway: GatewayId::new(gateway), address };
        let borrowed: Vec<BorrowedFd<'_>> = fds.iter().map(|fd| fd.as_fd()).collect();
        let message = FromAgent::Listen { id, fds: u32::try_from(borrowed.len())? };
        self.send(&message, &borrowed).await?;
        Ok(address)
    }

    pub async fn unlisten(&mut self, gateway: &str) -> Result<()> {
        let id = SocketId::Tcp { gateway: GatewayId::new(gateway), family: Family::V4 };
        self.send(&FromAgent::Unlisten { id }, &[]).await
    }

    /// Changes the configuration and waits until it is served; what could not be used comes back.
    pub async fn apply(&mut self, upsert: Vec<Resource>, remove: Vec<Key>) -> Result<Vec<Problem>> {
        self.commit(upsert, remove, false).await
    }

    /// Replaces the configuration.
    pub async fn replace(&mut self, all: Vec<Resource>) -> Result<Vec<Problem>> {
        self.commit(all, Vec::new(), true).await
    }

    pub async fn drain(&mut self, deadline: Duration) -> Result<()> {
        let deadline_ms = u64::try_from(deadline.as_millis())?;
        self.send(&FromAgent::Drain { deadline_ms }, &[]).await
    }

    async fn commit(&mut self, upsert: Vec<Resource>, remove: Vec<Key>, full: bool) -> Result<Vec<Problem>> {
        self.generation += 1;
        let wanted = self.generation;
        self.send(&FromAgent::Update { upsert, remove }, &[]).await?;
        self.send(&FromAgent::Commit { generation: wanted, full }, &[]).await?;
        let stream = self.stream.as_ref().context("no proxy is connected")?;
        let (_, mut receiver) = channel::split(stream);
        let answer = tokio::time::timeout(PATIENCE, receiver.receive::<FromProxy>()).await;
        let answer = answer
            .with_context(|| format!("generation {wanted} was not acknowledged\n{}", self.proxy.log()))?;
        match answer? {
            Some(FromProxy::Ack { generation, problems }) => {
                ensure!(generation == wanted, "generation {generation} was acknowledged, not {wanted}");
                Ok(problems)
            }
            other => bail!("the proxy said {other:?}"),
        }
    }

    async fn send(&self, message: &FromAgent, fds: &[BorrowedFd<'_>]) -> Result<()> {
        let stream = self.stream.as_ref().context("no proxy is connected")?;
        channel::split(stream).0.send(message, fds).await.context("talk to the proxy")
    }
}

fn spawn(folder: &Path, arguments: &[&str]) -> Result<Process> {
    let mut command = Command::new(program("gateway-proxy")?);
    command.arg("--control").arg(folder.join("control.sock")).arg("--admin-dir").arg(folder);
    command.arg("--access-log").arg(folder.join(ACCESS_LOG));
    command.args(["--workers", &WORKERS.to_string(), "--log", "debug"]).args(arguments);
    Process::start("gateway-proxy", command, &folder.join("log"))
}

/// A loopback port with a socket per worker.
fn sockets(kind: Type) -> Result<(SocketAddr, Vec<OwnedFd>)> {
    let mut address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let mut fds = Vec::new();
    for _ in 0..WORKERS {
        let socket = Socket::new(Domain::IPV4, kind, None)?;
        // The first takes its port alone: the kernel may give a port of a group of the same user to a socket that may share.
        if address.port() == 0 {
            socket.bind(&address.into())?;
            socket.set_reuse_port(true)?;
        } else {
            socket.set_reuse_port(true)?;
            socket.bind(&address.into())?;
        }
        if kind == Type::STREAM {
            socket.listen(1024)?;
        }
        address = socket.local_addr()?.as_socket().context("no IP socket")?;
        fds.push(OwnedFd::from(socket));
    }
    Ok((address, fds))
}

/// A Gateway with these ports and the default settings.
pub fn gateway(ports: Vec<Port>) -> Gateway {
    Gateway { id: GatewayId::new(GATEWAY), ports, settings: Settings::default() }
}

/// An HTTP port with one listener, `http`, for every host name.
pub fn http_port(port: u16) -> Port {
    let listener = Listener { name: "http".to_owned(), hostname: None, protocol: ListenerProtocol::Http };
    Port { port, protocol: PortProtocol::Http, proxy_protocol: None, listeners: vec![listener] }
}

/// An HTTP backend `default/NAME:80`.
pub fn backend(name: &str, protocol: BackendProtocol, endpoints: &[SocketAddr]) -> Resource {
    let endpoint = |address: &SocketAddr| Endpoint { address: *address, state: EndpointState::Ready };
    Resource::Backend(Backend {
        id: backend_id(name),
        protocol,
        endpoints: endpoints.iter().map(endpoint).collect(),
        proxy_protocol: None,
    })
}

pub fn backend_id(name: &str) -> BackendId {
    BackendId::new(format!("default/{name}:80"))
}

/// All requests below `prefix`, to one backend.
pub fn rule(prefix: &str, name: &str) -> HttpRule {
    let path = PathMatch::Prefix(prefix.to_owned());
    HttpRule {
        name: None,
        matches: vec![HttpMatch { path, method: None, headers: Vec::new(), query: Vec::new() }],
        filters: Vec::new(),
        backends: vec![share(name, 1)],
        timeouts: Timeouts::default(),
    }
}

pub fn share(name: &str, weight: u32) -> BackendRef {
    BackendRef { weight, backend: Some(backend_id(name)), filters: Vec::new() }
}

/// An HTTPRoute on one listener of [`GATEWAY`].
pub fn route(name: &str, port: u16, listener: &str, hostnames: &[&str], rules: Vec<HttpRule>) -> Route {
    let attachment = Attachment {
        gateway: GatewayId::new(GATEWAY),
        port,
        listener: listener.to_owned(),
        hostnames: hostnames.iter().map(|name| Hostname::new(*name)).collect(),
    };
    Route {
        id: RouteId::new(format!("HTTPRoute/default/{name}")),
        created: 0,
        attachments: vec![attachment],
        rules: RouteRules::Http(rules),
    }
}
