//! Who is compared: each listens on two ports and forwards to the same backend.

use std::fs;
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use gatehouse_tests::certificate::{Authority, Pair};
use gatehouse_tests::node::Node;
use gatehouse_tests::process::{Process, wait_for};
use gatehouse_tests::topology::{NODE_V4, Topology, Uplink, pod_v4};

use crate::cpu;

/// The network and the backend that all share.
pub(crate) struct Place {
    pub(crate) topology: Topology,
    pair: Pair,
    files: tempfile::TempDir,
    _backend: Process,
}

pub(crate) struct Contender<'a> {
    name: &'static str,
    address: IpAddr,
    /// Plain and TLS.
    ports: (u16, u16),
    runs: Runs<'a>,
}

enum Runs<'a> {
    Program(Process),
    Node(Box<Node<'a>>),
}

/// Of the backend.
const PORT: u16 = 8080;

impl Place {
    pub(crate) fn new() -> Result<Self> {
        let topology = Topology::new(Uplink::Plain)?;
        let pair = Authority::new()?.issue(&["bench.example.com"])?;
        let files = tempfile::tempdir().context("make a folder")?;
        let folder = files.path();
        // HAProxy wants chain and key in one file.
        fs::write(folder.join("pair.pem"), format!("{}{}", pair.chain, pair.key))?;
        fs::write(folder.join("chain.pem"), &pair.chain)?;
        fs::write(folder.join("key.pem"), &pair.key)?;
        fs::create_dir(folder.join("www"))?;
        fs::write(folder.join("www/small"), "x".repeat(128))?;
        fs::write(folder.join("www/large"), "x".repeat(64 << 10))?;
        let config = nginx_config(folder, "backend", &backend_server(folder));
        let backend = start_nginx(&topology.pods, folder, "backend", &config)?;
        let place = Self { topology, pair, files, _backend: backend };
        place.wait_open(SocketAddr::new(pod_v4(2), PORT))?;
        Ok(place)
    }

    /// Waits until the node can connect there.
    fn wait_open(&self, address: SocketAddr) -> Result<()> {
        let connect = || TcpStream::connect_timeout(&address, Duration::from_secs(1)).ok();
        let open = || self.topology.node.run(connect);
        wait_for(Duration::from_secs(10), open).with_context(|| format!("nothing listens on {address}"))?;
        Ok(())
    }
}

impl<'a> Contender<'a> {
    pub(crate) fn gatehouse(place: &'a Place) -> Result<Self> {
        let mut node = Node::new(&place.topology.node)?.with_arguments(&["--workers", "2"]);
        node.write("objects.yaml", OBJECTS)?;
        node.write("secret.yaml", &place.pair.secret("bench", "tls"))?;
        node.start()?;
        let (v4, _) = node.wait_addresses("bench", "gateway")?;
        let address = v4.context("the Gateway has no IPv4 address")?;
        Ok(Self { name: crate::figures::OURS, address, ports: (80, 443), runs: Runs::Node(Box::new(node)) })
    }

    pub(crate) fn haproxy(place: &'a Place) -> Result<Self> {
        let folder = place.files.path();
        let config = folder.join("haproxy.cfg");
        fs::write(&config, haproxy_config(folder))?;
        let mut command = place.topology.node.command("haproxy")?;
        command.args(["-db", "-f"]).arg(config);
        Self::program(
            place,
            "haproxy",
            (8080, 8443),
            Process::start("haproxy", command, &folder.join("haproxy.log"))?,
        )
    }

    pub(crate) fn nginx(place: &'a Place) -> Result<Self> {
        let folder = place.files.path();
        let config = nginx_config(folder, "nginx", &proxy_server(folder));
        let process = start_nginx(&place.topology.node, folder, "nginx", &config)?;
        Self::program(place, "nginx", (8081, 8444), process)
    }

    fn program(
        place: &'a Place,
        name: &'static str,
        ports: (u16, u16),
        mut process: Process,
    ) -> Result<Self> {
        for port in [ports.0, ports.1] {
            if let Err(error) = place.wait_open(SocketAddr::new(NODE_V4, port)) {
                bail!("{name}: {error:#}\n{}{:?}", process.log(), process.ended());
            }
        }
        Ok(Self { name, address: NODE_V4, ports, runs: Runs::Program(process) })
    }

    pub(crate) fn name(&self) -> &'static str {
        self.name
    }

    pub(crate) fn address(&self, tls: bool) -> SocketAddr {
        SocketAddr::new(self.address, if tls { self.ports.1 } else { self.ports.0 })
    }

    /// Everything that handles its requests, by process id.
    pub(crate) fn processes(&self) -> Result<Vec<u32>> {
        match &self.runs {
            Runs::Program(process) => Ok(cpu::family(process.id())),
            Runs::Node(node) => node.proxies(),
        }
    }
}

fn start_nginx(
    netns: &gatehouse_tests::netns::Netns,
    folder: &Path,
    name: &str,
    config: &str,
) -> Result<Process> {
    let file = folder.join(format!("{name}.conf"));
    fs::write(&file, config)?;
    let mut command = netns.command("nginx")?;
    command.arg("-p").arg(folder).arg("-e").arg(folder.join(format!("{name}.error"))).arg("-c").arg(file);
    Process::start(name, command, &folder.join(format!("{name}.log")))
}

fn nginx_config(folder: &Path, name: &str, server: &str) -> String {
    let folder = folder.display();
    format!(
        "daemon off; user root; worker_processes 2; pid {folder}/{name}.pid; error_log {folder}/{name}.error;\n\
         worker_rlimit_nofile 8192;\n\
         events {{ worker_connections 4096; }}\n\
         http {{\n access_log off; sendfile on; tcp_nopush on; keepalive_requests 1000000000; keepalive_timeout 60;\n\
         client_body_temp_path {folder}/{name}-1; proxy_temp_path {folder}/{name}-2;\n\
         fastcgi_temp_path {folder}/{name}-3; uwsgi_temp_path {folder}/{name}-4; scgi_temp_path {folder}/{name}-5;\n\
         {server}}}\n"
    )
}

fn backend_server(folder: &Path) -> String {
    let (folder, host) = (folder.display(), pod_v4(2));
    format!(
        "open_file_cache max=10 inactive=600s; open_file_cache_valid 600s;\n\
         server {{ listen {host}:{PORT} reuseport; root {folder}/www; default_type text/plain; }}\n"
    )
}

fn proxy_server(folder: &Path) -> String {
    let (folder, host) = (folder.display(), pod_v4(2));
    format!(
        "upstream backend {{ server {host}:{PORT}; keepalive 128; keepalive_requests 1000000000; }}\n\
         server {{\n  listen {NODE_V4}:8081 reuseport;\n  listen {NODE_V4}:8444 ssl http2 reuseport;\n  \
         ssl_certificate {folder}/chain.pem; ssl_certificate_key {folder}/key.pem; ssl_protocols TLSv1.2 TLSv1.3;\n  \
         http2_max_requests 1000000000;\n  \
         location / {{ proxy_pass http://backend; proxy_http_version 1.1; proxy_set_header Connection \"\";\n    \
         proxy_set_header Host $host; proxy_set_header X-Forwarded-For $remote_addr; }}\n}}\n"
    )
}

fn haproxy_config(folder: &Path) -> String {
    let (folder, host) = (folder.display(), pod_v4(2));
    format!(
        "global\n  nbthread 2\n  maxconn 4096\n\
         defaults\n  mode http\n  timeout connect 5s\n  timeout client 60s\n  timeout server 60s\n  \
         option http-keep-alive\n  option forwardfor\n  http-reuse always\n\
         frontend clients\n  bind {NODE_V4}:8080\n  \
         bind {NODE_V4}:8443 ssl crt {folder}/pair.pem alpn h2,http/1.1 ssl-min-ver TLSv1.2\n  default_backend pods\n\
         backend pods\n  server pod {host}:{PORT}\n"
    )
}

const OBJECTS: &str = r#"apiVersion: gateway.networking.k8s.io/v1
kind: GatewayClass
metadata: {name: gatehouse}
spec: {controllerName: gatehouse.dev/gateway-controller}
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {namespace: bench, name: gateway}
spec:
  gatewayClassName: gatehouse
  listeners:
  - {name: http, protocol: HTTP, port: 80}
  - {name: https, protocol: HTTPS, port: 443, tls: {certificateRefs: [{name: tls}]}}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {namespace: bench, name: route}
spec:
  parentRefs: [{name: gateway}]
  rules:
  - backendRefs: [{name: backend, port: 80}]
---
apiVersion: v1
kind: Service
metadata: {namespace: bench, name: backend}
spec:
  ports: [{name: http, port: 80, targetPort: 8080}]
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {namespace: bench, name: backend-ipv4, labels: {kubernetes.io/service-name: backend}}
addressType: IPv4
ports: [{name: http, port: 8080, protocol: TCP}]
endpoints:
- {addresses: [10.0.1.2], conditions: {ready: true}}
"#;
