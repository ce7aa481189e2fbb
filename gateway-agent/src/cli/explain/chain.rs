//! The chain from a client's packet to a backend, link by link: pure. Stops at the first broken link.

mod reach;

use std::net::{IpAddr, SocketAddr};

use gateway_common::abi::Proto;
use serde::Serialize;

use crate::cli::silence::Silence;

/// A link of the chain, in order. The exit code of `gatectl explain` is that of the first broken one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Stage {
    Agent,
    Address,
    Kernel,
    Device,
    Route,
    Port,
    Socket,
    Proxy,
    Generation,
    Listener,
    Routing,
    Endpoints,
    Backend,
    Mtu,
    System,
}

impl Stage {
    pub(super) const ALL: [Self; 15] = [
        Self::Agent,
        Self::Address,
        Self::Kernel,
        Self::Device,
        Self::Route,
        Self::Port,
        Self::Socket,
        Self::Proxy,
        Self::Generation,
        Self::Listener,
        Self::Routing,
        Self::Endpoints,
        Self::Backend,
        Self::Mtu,
        Self::System,
    ];

    pub(super) const fn exit_code(self) -> u8 {
        match self {
            Self::Agent => 10,
            Self::Address => 11,
            Self::Kernel => 12,
            Self::Route => 13,
            Self::Device => 14,
            Self::Port => 15,
            Self::Socket => 16,
            Self::Proxy => 17,
            Self::Generation => 18,
            Self::Listener => 19,
            Self::Routing => 20,
            Self::Endpoints => 21,
            Self::Backend => 22,
            Self::System => 23,
            Self::Mtu => 24,
        }
    }

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Agent => "agent",
            Self::Address => "address",
            Self::Kernel => "kernel",
            Self::Route => "route",
            Self::Device => "device",
            Self::Port => "port",
            Self::Socket => "socket",
            Self::Proxy => "proxy",
            Self::Generation => "generation",
            Self::Listener => "listener",
            Self::Routing => "routing",
            Self::Endpoints => "endpoints",
            Self::Backend => "backend",
            Self::Mtu => "mtu",
            Self::System => "system",
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum State {
    Ok,
    /// Works, but not as it should.
    Warning,
    Broken,
    /// Cannot be said, or does not apply.
    Skipped,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Verdict {
    pub(super) stage: Stage,
    pub(super) state: State,
    pub(super) text: String,
    /// What to do; empty when all is well.
    pub(super) remedy: String,
}

/// What the walk looks at, gathered from kernel, agent and proxy. `Err` is why something could not be found out.
#[derive(Clone, Debug)]
pub(super) struct Facts {
    pub(super) vip: IpAddr,
    pub(super) port: u16,
    pub(super) proto: Proto,
    pub(super) agent: Result<Agent, Silence>,
    pub(super) holder: Option<Holder>,
    pub(super) vip_in_kernel: Result<bool, String>,
    pub(super) route: Result<Locality, String>,
    pub(super) device: Result<Device, String>,
    pub(super) port_in_kernel: bool,
    /// Other ports of the VIP that listen.
    pub(super) ports: Vec<String>,
    pub(super) drops_without_listener: bool,
    pub(super) selected: Result<Selected, String>,
    pub(super) proxy: Result<Proxy, String>,
    pub(super) listeners: Vec<Listener>,
    pub(super) routing: Routing,
    /// Backends that the route names.
    pub(super) backends: Vec<Target>,
    pub(super) endpoints: Vec<Endpoint>,
    pub(super) mtu: PathMtu,
    /// Errors and warnings that `gatectl doctor` finds and that are about such packets.
    pub(super) system: Vec<(String, String)>,
}

#[derive(Clone, Debug)]
pub(super) struct Agent {
    pub(super) generation: u64,
    pub(super) spawns_proxies: bool,
    pub(super) errors: Vec<String>,
}

/// The Gateway that has the address.
#[derive(Clone, Debug)]
pub(super) struct Holder {
    pub(super) name: String,
    /// Its conditions that are not as one would wish.
    pub(super) problem: Option<String>,
}

/// What makes the node take packets for the VIP itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Locality {
    AnyIp,
    /// Another local route, as the kernel's for an address of a device.
    Other,
    None,
}

/// Where the client's packets arrive.
#[derive(Clone, Debug)]
pub(super) struct Device {
    /// None: the client is this node or a Pod of it, and `sk_lookup` serves it.
    pub(super) name: Option<String>,
    pub(super) attached: bool,
    pub(super) carrier: bool,
    /// Devices that carry our program.
    pub(super) all: Vec<String>,
    /// The prefix of the deny list that holds the client, where XDP reads it.
    pub(super) denied: Option<String>,
    /// Our XDP runs on it; where it is not known, on any.
    pub(super) xdp: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Selected {
    Listener,
    Rejected,
    Passed,
}

#[derive(Clone, Debug)]
pub(super) struct Proxy {
    pub(super) pid: u32,
    pub(super) generation: u64,
    pub(super) draining: bool,
    pub(super) problems: Vec<String>,
    /// Connections that wait to be accepted, and how many may: the fullest of its sockets.
    pub(super) queue: Option<(u32, u32)>,
}

#[derive(Clone, Debug)]
pub(super) struct Listener {
    pub(super) gateway: String,
    pub(super) name: String,
    pub(super) protocol: String,
    pub(super) routes: usize,
    pub(super) certificates: usize,
}

/// What an HTTP request would get.
#[derive(Clone, Debug)]
pub(super) enum Routing {
    /// Nothing in a connection is looked at.
    NotAsked,
    Answer {
        host: String,
        path: String,
        /// None: no listener of the port takes the host.
        listener: Option<String>,
        status: Option<u16>,
        route: Option<String>,
    },
    Unknown(String),
}

/// What a route sends to.
#[derive(Clone, Debug)]
pub(super) struct Target {
    /// None: a reference that does not resolve.
    pub(super) id: Option<String>,
    pub(super) weight: u32,
    pub(super) endpoints: usize,
}

impl Target {
    fn answers(&self) -> bool {
        self.id.is_some() && self.endpoints > 0
    }

    fn name(&self) -> &str {
        self.id.as_deref().unwrap_or("a backendRef that does not resolve")
    }
}

/// What the kernel believes to fit through, in bytes.
#[derive(Clone, Debug, Default)]
pub(super) struct PathMtu {
    pub(super) client: Option<(IpAddr, u32)>,
    pub(super) endpoints: Vec<(SocketAddr, u32)>,
    /// `net.ipv4.ip_no_pmtu_disc`: the node takes no notice of "fragmentation needed".
    pub(super) deaf: bool,
}

#[derive(Clone, Debug)]
pub(super) struct Endpoint {
    pub(super) backend: String,
    pub(super) address: SocketAddr,
    pub(super) state: String,
    /// None: not tried (UDP).
    pub(super) reachable: Option<Result<(), String>>,
}

/// Verdicts up to the first broken link.
pub(super) fn walk(facts: &Facts) -> Vec<Verdict> {
    let mut verdicts = Vec::new();
    for stage in Stage::ALL {
        let (state, text, remedy) = judge(stage, facts);
        verdicts.push(Verdict { stage, state, text, remedy });
        if state == State::Broken {
            break;
        }
    }
    verdicts
}

type Judgement = (State, String, String);

fn ok(text: impl Into<String>) -> Judgement {
    (State::Ok, text.into(), String::new())
}

fn skipped(text: impl Into<String>) -> Judgement {
    (State::Skipped, text.into(), String::new())
}

fn warning(text: impl Into<String>, remedy: impl Into<String>) -> Judgement {
    (State::Warning, text.into(), remedy.into())
}

fn broken(text: impl Into<String>, remedy: impl Into<String>) -> Judgement {
    (State::Broken, text.into(), remedy.into())
}

fn judge(stage: Stage, facts: &Facts) -> Judgement {
    match stage {
        Stage::Agent => agent(facts),
        Stage::Address => address(facts),
        Stage::Kernel => kernel(facts),
        Stage::Route => route(facts),
        Stage::Device => device(facts),
        Stage::Port => port(facts),
        Stage::Socket => socket(facts),
        Stage::Proxy => proxy(facts),
        Stage::Generation => generation(facts),
        Stage::Listener => listener(facts),
        Stage::Routing => routing(facts),
        Stage::Endpoints => reach::endpoints(facts),
        Stage::Backend => reach::backend(facts),
        Stage::Mtu => reach::mtu(facts),
        Stage::System => reach::system(facts),
    }
}

fn agent(facts: &Facts) -> Judgement {
    match &facts.agent {
        Err(silence) => {
            warning(format!("{silence}; traffic goes on as it was configured last"), silence.remedy())
        }
        Ok(agent) if !agent.errors.is_empty() => warning(agent.errors.join("; "), "see the agent's log"),
        Ok(agent) => ok(format!("runs, generation {}", agent.generation)),
    }
}

fn address(facts: &Facts) -> Judgement {
    let vip = facts.vip;
    match &facts.holder {
        None => broken(
            format!("no Gateway has the address {vip}"),
            "`gatectl get gateways -o yaml` shows status.addresses; ask for it in spec.addresses, or add a pool that holds it (--address-pool)",
        ),
        Some(Holder { name, problem: Some(problem) }) => {
            warning(format!("Gateway {name}, but {problem}"), format!("gatectl get gateway {}", last(name)))
        }
        Some(Holder { name, problem: None }) => ok(format!("Gateway {name}")),
    }
}

fn last(name: &str) -> &str {
    name.rsplit('/').next().unwrap_or(name)
}

fn kernel(facts: &Facts) -> Judgement {
    match &facts.vip_in_kernel {
        Ok(true) => ok("the VIP is in the kernel's map VIPS"),
        Ok(false) => broken(
            "the VIP is not in the kernel's map VIPS",
            "is the Gateway Programmed? `gatectl get gateways`; the agent's log says what the kernel refused",
        ),
        Err(error) if facts.agent.as_ref().err() == Some(&Silence::Denied) => {
            broken(format!("nothing can be read: {error}"), Silence::Denied.remedy())
        }
        Err(error) => broken(error.clone(), "start gateway-agent: it loads and pins the programs"),
    }
}

fn route(facts: &Facts) -> Judgement {
    let vip = facts.vip;
    match &facts.route {
        Ok(Locality::AnyIp) => ok("the VIP is local by an AnyIP route"),
        Ok(Locality::Other) => ok("the VIP is local by another route: it is an address of a device"),
        Ok(Locality::None) => broken(
            format!("no route makes {vip} local, so its packets are routed away"),
            format!(
                "start the agent, which restores it, or: ip route add local {vip} dev lo proto {}",
                crate::announce::PROTOCOL
            ),
        ),
        Err(error) => skipped(error.clone()),
    }
}

fn device(facts: &Facts) -> Judgement {
    let device = match &facts.device {
        Ok(device) => device,
        Err(error) => return skipped(error.clone()),
    };
    let all = if device.all.is_empty() { "no device".to_owned() } else { device.all.join(", ") };
    match &device.name {
        None if device.all.is_empty() => warning(
            "our TC program runs on no device: sk_lookup serves, uncounted and unfiltered",
            "name the devices with --device; `gatectl doctor` lists them",
        ),
        None => ok(format!("programs run on {all}")),
        Some(name) if !device.carrier => {
            broken(format!("{name} has no carrier"), "check cable, switch port or bond")
        }
        Some(name) if device.denied.is_some() => broken(
            format!(
                "XDP on {name} drops the client: {} of the deny list holds it",
                device.denied.as_deref().unwrap_or("-")
            ),
            "take the prefix out of the agent's --deny, if the client is welcome; `gatectl map dump DENY` shows all",
        ),
        Some(name) if !device.attached => warning(
            format!(
                "the client's packets arrive on {name}, where our TC program does not run (it runs on {all}): sk_lookup serves them, uncounted and unfiltered"
            ),
            format!("right for Pods of this node; otherwise run the agent with --device '{name}'"),
        ),
        Some(name) => ok(format!("the client's packets arrive on {name}, where our program runs")),
    }
}

fn port(facts: &Facts) -> Judgement {
    let Facts { vip, port, proto, .. } = facts;
    let name = proto.name();
    if facts.port_in_kernel {
        return ok(format!("{vip} port {port}/{name} has a socket slot"));
    }
    let xdp = facts.device.as_ref().is_ok_and(|device| device.xdp);
    let fate = match (facts.drops_without_listener, xdp) {
        (true, _) => "dropped in silence",
        (false, true) => "dropped in silence by XDP",
        (false, false) => "refused",
    };
    let others = if facts.ports.is_empty() { "none".to_owned() } else { facts.ports.join(", ") };
    broken(
        format!(
            "no listener on {vip} port {port}/{name}: clients are {fate}; ports with listeners: {others}"
        ),
        "add a listener with this port to the Gateway, or look at its conditions: `gatectl get gateways`",
    )
}

fn socket(facts: &Facts) -> Judgement {
    match &facts.selected {
        Ok(Selected::Listener) => ok("the kernel's program selects the listening socket"),
        Ok(Selected::Rejected) if facts.proxy.is_err() => {
            skipped("the slot is empty: clients are refused until a proxy holds the listening socket")
        }
        Ok(Selected::Rejected) => broken(
            "the slot is empty: no process holds the listening socket",
            "start the agent; it opens the sockets and gives them to the proxy",
        ),
        Ok(Selected::Passed) => broken(
            "sk_lookup does not take the VIP",
            "another sk_lookup program may stand before ours: `gatectl prog list`",
        ),
        Err(error) => broken(
            format!("the sk_lookup program cannot be asked: {error}"),
            "its link is gone; start the agent, which attaches it again",
        ),
    }
}

fn proxy(facts: &Facts) -> Judgement {
    match &facts.proxy {
        Err(error) => broken(
            format!("no proxy serves: {error}"),
            match &facts.agent {
                Ok(_) => format!("see its log and the agent's for why it ended or hangs; {}", replace(facts)),
                Err(Silence::NotRunning) => {
                    "start gateway-agent, which starts the proxy (--proxy spawn)".to_owned()
                }
                Err(silence) => silence.remedy().to_owned(),
            },
        ),
        Ok(proxy) if proxy.draining => broken(
            format!("the proxy {} only drains", proxy.pid),
            "start the agent, which starts a successor (--proxy spawn)",
        ),
        Ok(Proxy { pid, queue: Some((waiting, most)), .. }) if waiting >= most && *most > 0 => broken(
            format!("the accept queue of proxy {pid} is full ({waiting} of {most})"),
            format!("the proxy is stuck or overloaded: see its CPU and log; {}", replace(facts)),
        ),
        Ok(proxy) => ok(format!("proxy {} accepts", proxy.pid)),
    }
}

/// How another proxy is started.
fn replace(facts: &Facts) -> &'static str {
    match &facts.agent {
        Ok(agent) if !agent.spawns_proxies => "whoever started it must start another (--proxy connect)",
        _ => "`gatectl replace-proxy` starts another",
    }
}

fn generation(facts: &Facts) -> Judgement {
    let (Ok(agent), Ok(proxy)) = (&facts.agent, &facts.proxy) else {
        return skipped("without the agent nobody knows the newest configuration");
    };
    if proxy.generation < agent.generation {
        return broken(
            format!("the proxy serves generation {}, the agent has {}", proxy.generation, agent.generation),
            format!("wait a moment; if it stays, see the proxy's log; {}", replace(facts)),
        );
    }
    if !proxy.problems.is_empty() {
        return warning(
            format!("the proxy could not use: {}", proxy.problems.join("; ")),
            "mend the objects named",
        );
    }
    ok(format!("the proxy serves generation {}", proxy.generation))
}

fn listener(facts: &Facts) -> Judgement {
    if facts.listeners.is_empty() {
        return broken(
            format!("the proxy has no listener on port {}", facts.port),
            format!("the kernel and the proxy disagree, which please report; {}", replace(facts)),
        );
    }
    let is_asked = |l: &&Listener| match &facts.routing {
        Routing::Answer { listener: Some(name), .. } => l.name == *name,
        Routing::Answer { .. } | Routing::NotAsked | Routing::Unknown(_) => true,
    };
    let mut asked = facts.listeners.iter().filter(is_asked);
    if let Some(bare) = asked.find(|l| l.protocol == "HTTPS" && l.certificates == 0) {
        return broken(
            format!(
                "listener {} of {} has no usable certificate: every TLS handshake fails",
                bare.name, bare.gateway
            ),
            "check its certificateRefs and what is said of them: `gatectl get gateways`; the proxy's log names what it cannot use",
        );
    }
    let names: Vec<_> = facts.listeners.iter().map(|l| format!("{} ({})", l.name, l.protocol)).collect();
    ok(names.join(", "))
}

fn routing(facts: &Facts) -> Judgement {
    if facts.listeners.iter().all(|listener| listener.routes == 0) {
        return broken(
            "no route is attached to any listener of this port",
            "check parentRefs, hostnames and allowedRoutes: `gatectl get httproutes`",
        );
    }
    match &facts.routing {
        Routing::NotAsked => ok("routes are attached"),
        Routing::Unknown(error) => skipped(error.clone()),
        Routing::Answer { host, path, status: Some(404), .. } => broken(
            format!("no rule matches host {host} path {path}: the client gets 404"),
            "give --host and --path of the real request; `gatectl route list` shows all rules",
        ),
        Routing::Answer { host, listener: None, .. } => broken(
            format!(
                "no listener of this port takes the host {host}: the TLS handshake ends with unrecognized_name"
            ),
            "give --host of the real request; `gatectl listener list` shows the hostnames",
        ),
        Routing::Answer { host, route: None, status: None, .. } => broken(
            format!("no route takes the host {host}: the client's connection is closed"),
            "give --host of the real request; `gatectl route list` shows all hostnames",
        ),
        Routing::Answer { host, path, route: None, status: Some(status), .. } => broken(
            format!("the proxy refuses the request for host {host} path {path}: the client gets {status}"),
            "give --host and --path as the client sends them; the path's escapes are judged by the Gateway's GatewayParameters",
        ),
        Routing::Answer { host, path, route: Some(route), .. } if reach::without_endpoints(facts) => {
            ok(format!("host {host} path {path} → {route}"))
        }
        Routing::Answer { host, path, status: Some(status), route: Some(route), .. } if *status >= 500 => {
            broken(
                format!("host {host} path {path} matches {route}, but the client gets {status}"),
                "its backendRefs do not resolve: `gatectl get httproutes`",
            )
        }
        Routing::Answer { host, path, status, route: Some(route), .. } => {
            let answer = status.map_or_else(String::new, |status| format!(", answers {status}"));
            ok(format!("host {host} path {path} → {route}{answer}"))
        }
    }
}

#[cfg(test)]
#[path = "chain_tests.rs"]
mod tests;
