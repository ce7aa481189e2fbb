//! Looks at everything the chain needs; what cannot be seen is said, and stops nothing.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::path::PathBuf;
use std::time::Duration;

use gateway_common::abi::Proto;
use gateway_common::admin::{
    AgentStatus, BackendStatus, ListenerStatus, ObjectStatus, ProxyStatus, RouteAnswer, RouteBackend,
    RouteQuery, RouteStatus,
};
use gateway_common::ir::GatewayId;
use hyper::Method;

use super::chain::{
    Agent, Device, Endpoint, Facts, Holder, Listener, Locality, Proxy, Routing, Selected, Target,
};
use super::{Explain, mtu, queue};
use crate::announce::{self, Announcer};
use crate::cli::silence::Silence;
use crate::cli::{Paths, client, doctor, get};
use crate::datapath::programs::Program;
use crate::datapath::selection::Selection;
use crate::datapath::view::{View, VipView};

const CONNECT: Duration = Duration::from_secs(2);
/// Endpoints that are tried; a Service may have hundreds.
const MOST_TRIED: usize = 16;
/// While proxies come and go.
const MOST_LOOKS: usize = 3;

/// Looks again when the proxy that was asked gave way to a successor meanwhile: half of the facts would be of one that
/// drains or is gone.
pub(super) fn facts(explain: &Explain, paths: &Paths) -> anyhow::Result<Facts> {
    let mut asked = current(paths);
    for _ in 1..MOST_LOOKS {
        let facts = look(explain, paths, &asked)?;
        if asked.is_err() {
            return Ok(facts);
        }
        let now = current(paths);
        if now == asked {
            return Ok(facts);
        }
        asked = now;
    }
    look(explain, paths, &asked)
}

fn current(paths: &Paths) -> Result<PathBuf, String> {
    client::current(paths).map_err(|error| format!("{error:#}"))
}

fn look(explain: &Explain, paths: &Paths, proxy_socket: &Result<PathBuf, String>) -> anyhow::Result<Facts> {
    let (vip, port, proto) = (explain.target.ip(), explain.target.port(), explain.proto());
    let objects = get::objects_quietly(paths);
    let view = View::open(&paths.pin_dir).map_err(|error| error.to_string());
    let kernel = view.as_ref().ok().and_then(|view| entry(view, vip));
    let listeners = ask::<Vec<ListenerStatus>>(proxy_socket, "/listeners").unwrap_or_default();
    let holder = holder(&objects, vip);
    let mine = |listener: &&ListenerStatus| {
        let gateway = holder.as_ref().is_none_or(|holder| listener.gateway.as_str() == holder.name);
        gateway && listener.port == port && (listener.protocol == "UDP") == (proto == Proto::Udp)
    };
    let listeners: Vec<ListenerStatus> = listeners.iter().filter(mine).cloned().collect();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let network = runtime.block_on(network(explain, view.as_ref().ok()));
    let routing = routing(explain, proxy_socket, &listeners);
    let endpoints = endpoints(proxy_socket, &routing.backends, proto);
    Ok(Facts {
        vip,
        port,
        proto,
        agent: agent(paths),
        vip_in_kernel: view.as_ref().map(|_| kernel.is_some()).map_err(Clone::clone),
        route: network.route,
        device: network.device,
        port_in_kernel: kernel.as_ref().is_some_and(|vip| has_port(vip, port, proto)),
        ports: kernel
            .iter()
            .flat_map(|vip| &vip.ports)
            .map(|p| format!("{}/{}", p.port, p.protocol))
            .collect(),
        drops_without_listener: kernel.as_ref().is_some_and(|vip| vip.drops_without_listener),
        selected: view.and_then(|view| select(&view, explain)),
        proxy: proxy(proxy_socket),
        mtu: mtu::path(explain.from, &endpoints),
        endpoints,
        backends: routing.backends,
        routing: routing.answer,
        listeners: listeners.iter().map(listener).collect(),
        system: doctor::troubles(paths, vip.is_ipv4()),
        holder,
    })
}

fn ask<T: serde::de::DeserializeOwned>(socket: &Result<PathBuf, String>, path: &str) -> Result<T, String> {
    let socket = socket.as_ref().map_err(Clone::clone)?;
    client::ask(socket, &Method::GET, path, Vec::new()).map_err(|error| format!("{error:#}"))
}

fn agent(paths: &Paths) -> Result<Agent, Silence> {
    let status: AgentStatus = client::ask(&paths.agent_socket(), &Method::GET, "/status", Vec::new())
        .map_err(|error| Silence::of(&error))?;
    let AgentStatus { generation, spawns_proxies, errors, .. } = status;
    Ok(Agent { generation, spawns_proxies, errors })
}

fn holder(objects: &[ObjectStatus], vip: IpAddr) -> Option<Holder> {
    let name = get::holder(objects, vip)?;
    let is = |object: &&ObjectStatus| {
        object.kind == "Gateway"
            && format!("{}/{}", object.namespace.as_deref().unwrap_or_default(), object.name) == name
    };
    let problem = objects.iter().find(is).and_then(|gateway| get::problem(&gateway.status));
    Some(Holder { name, problem })
}

fn entry(view: &View, vip: IpAddr) -> Option<VipView> {
    let has = view.has_vip(vip).unwrap_or(false);
    view.vips().ok()?.into_iter().find(|entry| has && entry.address == vip)
}

fn has_port(vip: &VipView, port: u16, proto: Proto) -> bool {
    vip.ports.iter().any(|entry| entry.port == port && entry.protocol == proto.name())
}

fn select(view: &View, explain: &Explain) -> Result<Selected, String> {
    let unspecified: IpAddr =
        if explain.target.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let from = SocketAddr::new(explain.from.unwrap_or(unspecified), 40_000);
    match view.select(explain.proto(), from, explain.target) {
        Ok(Selection::Listener) => Ok(Selected::Listener),
        Ok(Selection::Rejected) => Ok(Selected::Rejected),
        Ok(Selection::Passed) => Ok(Selected::Passed),
        Err(error) => Err(error.to_string()),
    }
}

struct Network {
    route: Result<Locality, String>,
    device: Result<Device, String>,
}

async fn network(explain: &Explain, view: Option<&View>) -> Network {
    let announcer = match Announcer::open() {
        Ok(announcer) => announcer,
        Err(error) => return Network { route: Err(error.to_string()), device: Err(error.to_string()) },
    };
    Network {
        route: locality(&announcer, explain.target.ip()).await.map_err(|error| error.to_string()),
        device: device(&announcer, explain.from, view).await,
    }
}

async fn locality(announcer: &Announcer, vip: IpAddr) -> Result<Locality, announce::Error> {
    if announcer.routes().await?.contains(&vip) {
        return Ok(Locality::AnyIp);
    }
    Ok(if announcer.is_local(vip).await? { Locality::Other } else { Locality::None })
}

async fn device(announcer: &Announcer, from: Option<IpAddr>, view: Option<&View>) -> Result<Device, String> {
    let view = view.ok_or("the programs are not loaded")?;
    let devices = announcer.devices().await.map_err(|error| error.to_string())?;
    let filters = announcer.filters(&devices).await.map_err(|error| error.to_string())?;
    let programs = view.programs(&filters).map_err(|error| error.to_string())?;
    let on = |hook: &str| hook.ends_with("ingress");
    let all: Vec<String> =
        programs.iter().filter(|p| p.ours && on(&p.hook)).filter_map(|p| p.device.clone()).collect();
    let toward = match from {
        Some(ip) => announcer.device_toward(ip).await.map_err(|error| error.to_string())?,
        None => None,
    };
    let device = devices.iter().find(|device| Some(device.index) == toward && !device.loopback);
    let has_xdp = |name: Option<&str>| {
        let of = |p: &Program| name.is_none() || p.device.as_deref() == name;
        programs.iter().any(|p| p.ours && p.hook.starts_with("xdp") && of(p))
    };
    Ok(match device {
        // Of a client that nobody named the device is not known; one on the node passes none.
        None => {
            let xdp = from.is_none() && has_xdp(None);
            Device { name: None, attached: true, carrier: true, all, denied: None, xdp }
        }
        Some(device) => Device {
            xdp: has_xdp(Some(&device.name)),
            name: Some(device.name.clone()),
            attached: all.contains(&device.name),
            carrier: device.carrier,
            denied: denied(view, &programs, &device.name, from)?,
            all,
        },
    })
}

/// The prefix of the deny list that holds the client, when our XDP program, which reads it, runs on the device.
fn denied(
    view: &View,
    programs: &[Program],
    device: &str,
    from: Option<IpAddr>,
) -> Result<Option<String>, String> {
    let is_xdp = |p: &Program| p.ours && p.hook.starts_with("xdp") && p.device.as_deref() == Some(device);
    let Some(from) = from.filter(|_| programs.iter().any(is_xdp)) else { return Ok(None) };
    let net = view.denied(from).map_err(|error| error.to_string())?;
    Ok(net.map(|net| net.to_string()))
}

fn proxy(socket: &Result<PathBuf, String>) -> Result<Proxy, String> {
    let status: ProxyStatus = ask(socket, "/status")?;
    let problems = status.problems.iter().map(|problem| problem.message.clone()).collect();
    let queue = queue::fullest(status.pid);
    Ok(Proxy { pid: status.pid, generation: status.generation, draining: status.draining, problems, queue })
}

fn listener(status: &ListenerStatus) -> Listener {
    Listener {
        gateway: status.gateway.to_string(),
        name: status.name.clone(),
        protocol: status.protocol.clone(),
        routes: status.routes,
        certificates: status.certificates.len(),
    }
}

/// What the proxy would answer, and the backends that it would ask.
struct Routed {
    answer: Routing,
    backends: Vec<Target>,
}

fn routing(explain: &Explain, socket: &Result<PathBuf, String>, listeners: &[ListenerStatus]) -> Routed {
    let Some(first) = listeners.first() else {
        return Routed { answer: Routing::Unknown("no listener".to_owned()), backends: Vec::new() };
    };
    let routes: Vec<RouteStatus> = ask(socket, "/routes").unwrap_or_default();
    let here = |route: &&RouteStatus| {
        let attached = |l: &ListenerStatus| l.gateway == route.gateway && l.name == route.listener;
        route.port == explain.target.port() && listeners.iter().any(attached)
    };
    if ["TCP", "UDP"].contains(&first.protocol.as_str()) {
        // The host is not looked at.
        let Routed { answer, backends } =
            test(explain, socket, &first.gateway, listeners, explain.target.ip().to_string());
        let routed = matches!(answer, Routing::Answer { route: Some(_), .. });
        let answer = if routed { Routing::NotAsked } else { answer };
        return Routed { answer, backends };
    }
    let host = explain.host.clone().unwrap_or_else(|| {
        let named = routes.iter().filter(here).flat_map(|route| &route.hostnames).next();
        let named = named.or_else(|| listeners.iter().filter_map(|l| l.hostname.as_ref()).next());
        named.map_or_else(|| explain.target.ip().to_string(), |name| name.replace('*', "any"))
    });
    test(explain, socket, &first.gateway, listeners, host)
}

fn test(
    explain: &Explain,
    socket: &Result<PathBuf, String>,
    gateway: &GatewayId,
    listeners: &[ListenerStatus],
    host: String,
) -> Routed {
    let query = RouteQuery {
        gateway: Some(gateway.clone()),
        port: Some(explain.target.port()),
        host: host.clone(),
        path: explain.path.clone(),
        method: "GET".to_owned(),
        headers: Vec::new(),
    };
    let answer = socket.as_ref().map_err(Clone::clone).and_then(|socket| {
        let body = serde_json::to_vec(&query).map_err(|error| error.to_string())?;
        client::ask::<RouteAnswer>(socket, &Method::POST, "/route-test", body)
            .map_err(|error| format!("{error:#}"))
    });
    match answer {
        Err(error) => Routed { answer: Routing::Unknown(error), backends: Vec::new() },
        Ok(answer) => {
            // TCP and UDP may share the number of the port.
            let is_here = |name: &String| listeners.iter().any(|listener| listener.name == *name);
            let result = answer.results.iter().find(|r| r.listener.as_ref().is_none_or(is_here));
            let backends = result.into_iter().flat_map(|result| &result.backends);
            Routed {
                backends: backends.map(target).collect(),
                answer: Routing::Answer {
                    host,
                    path: explain.path.clone(),
                    listener: result.and_then(|result| result.listener.clone()),
                    status: result.map_or(Some(404), |result| result.status),
                    route: result.and_then(|result| result.route.as_ref()).map(ToString::to_string),
                },
            }
        }
    }
}

fn target(backend: &RouteBackend) -> Target {
    let RouteBackend { id, weight, endpoints } = backend;
    Target { id: id.as_ref().map(ToString::to_string), weight: *weight, endpoints: *endpoints }
}

fn endpoints(socket: &Result<PathBuf, String>, wanted: &[Target], proto: Proto) -> Vec<Endpoint> {
    let backends: Vec<BackendStatus> = ask(socket, "/backends").unwrap_or_default();
    let is_used = |id: &str| wanted.iter().any(|to| to.weight > 0 && to.id.as_deref() == Some(id));
    let used = backends.iter().filter(|backend| is_used(backend.id.as_str()));
    let mut found = Vec::new();
    for backend in used {
        for endpoint in &backend.endpoints {
            let try_it = proto == Proto::Tcp && found.len() < MOST_TRIED;
            found.push(Endpoint {
                backend: backend.id.to_string(),
                address: endpoint.address,
                state: endpoint.state.clone(),
                reachable: try_it.then(|| connect(endpoint.address)),
            });
        }
    }
    found
}

fn connect(address: SocketAddr) -> Result<(), String> {
    TcpStream::connect_timeout(&address, CONNECT).map(drop).map_err(|error| error.to_string())
}
