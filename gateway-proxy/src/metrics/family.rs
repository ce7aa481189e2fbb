//! The names, types and labels of everything that `/metrics` shows. `docs/metrics.md` has the same table.

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    Counter,
    Gauge,
    Histogram,
}

impl Kind {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

#[derive(Debug)]
pub struct Family {
    pub name: &'static str,
    pub kind: Kind,
    pub labels: &'static [&'static str],
    pub help: &'static str,
}

macro_rules! families {
    ($($constant:ident: $kind:ident $name:literal $labels:tt $help:literal;)+) => {
        $(pub const $constant: Family =
            Family { name: $name, kind: Kind::$kind, labels: &$labels, help: $help };)+
        pub const ALL: &[&Family] = &[$(&$constant,)+];
    };
}

families! {
    BUILD: Gauge "gatehouse_proxy_build_info" ["version"] "Always 1.";
    START: Gauge "gatehouse_proxy_start_time_seconds" [] "When the process started, in seconds since the epoch.";
    WORKERS: Gauge "gatehouse_proxy_workers" [] "Worker threads.";
    GENERATION: Gauge "gatehouse_proxy_generation" [] "The configuration that is served; 0 before the first.";
    PROBLEMS: Gauge "gatehouse_proxy_problems" [] "Resources of that configuration that cannot be used.";
    AGENT_CONNECTED: Gauge "gatehouse_proxy_agent_connected" [] "1 while the agent's control socket is connected.";
    DRAINING: Gauge "gatehouse_proxy_draining" [] "1 once a successor has taken over.";
    CONNECTIONS_TOTAL: Counter "gatehouse_proxy_connections_total" ["gateway", "port", "protocol"] "Client connections accepted.";
    CONNECTIONS: Gauge "gatehouse_proxy_connections" ["gateway", "port", "protocol"] "Client connections open.";
    CONNECTIONS_ENDED: Counter "gatehouse_proxy_connections_ended_total" ["gateway", "port", "reason"] "Client connections and UDP sessions ended for a reason other than `ok`.";
    TLS_HANDSHAKES: Counter "gatehouse_proxy_tls_handshakes_total" ["gateway", "port", "result"] "TLS handshakes: `full`, `resumed`, or the reason of the failure.";
    RECEIVED: Counter "gatehouse_proxy_stream_received_bytes_total" ["gateway", "port"] "Bytes from clients on TCP, passed-through TLS and UDP ports.";
    SENT: Counter "gatehouse_proxy_stream_sent_bytes_total" ["gateway", "port"] "Bytes to clients on TCP, passed-through TLS and UDP ports.";
    UDP_SESSIONS_TOTAL: Counter "gatehouse_proxy_udp_sessions_total" ["gateway", "port"] "UDP sessions begun.";
    UDP_SESSIONS: Gauge "gatehouse_proxy_udp_sessions" ["gateway", "port"] "UDP sessions open.";
    UDP_DATAGRAMS: Counter "gatehouse_proxy_udp_datagrams_total" ["gateway", "port", "direction"] "Datagrams passed on: `in` from clients, `out` to them.";
    UDP_DROPPED: Counter "gatehouse_proxy_udp_dropped_total" ["gateway", "port", "direction"] "Datagrams not passed on: a socket buffer was full, or there was nowhere to send them.";
    REQUESTS: Counter "gatehouse_proxy_requests_total" ["gateway", "listener", "code"] "Requests answered, by class of the status: `1xx` (an upgrade) to `5xx`; `none`: the client was gone before.";
    REQUEST_SECONDS: Histogram "gatehouse_proxy_request_duration_seconds" ["gateway", "listener"] "From the request's header to the end of the answer.";
    REQUESTS_ENDED: Counter "gatehouse_proxy_requests_ended_total" ["gateway", "listener", "reason"] "Requests ended for a reason other than `ok`.";
    UPSTREAM_CONNECTS: Counter "gatehouse_proxy_upstream_connects_total" ["backend"] "Connections opened to endpoints of the backend.";
    UPSTREAM_CONNECT_FAILURES: Counter "gatehouse_proxy_upstream_connect_failures_total" ["backend"] "Connections that could not be opened.";
    UPSTREAM_EJECTIONS: Counter "gatehouse_proxy_upstream_ejections_total" ["backend"] "Times that an endpoint was ejected after consecutive connect failures.";
    UPSTREAM_CONNECTIONS: Gauge "gatehouse_proxy_upstream_connections" ["backend"] "Connections open to endpoints of the backend.";
    UPSTREAM_REQUESTS: Counter "gatehouse_proxy_upstream_requests_total" ["backend"] "Requests, connections and UDP sessions sent to the backend.";
    LOG_LINES: Counter "gatehouse_proxy_access_log_lines_total" [] "Lines given to the access log's writer.";
    LOG_DROPPED: Counter "gatehouse_proxy_access_log_dropped_total" [] "Lines lost because the writer could not keep up or failed.";
    PROCESS_CPU: Counter "process_cpu_seconds_total" [] "User and system time.";
    PROCESS_MEMORY: Gauge "process_resident_memory_bytes" [] "Resident memory.";
    PROCESS_FDS: Gauge "process_open_fds" [] "Open descriptors.";
    PROCESS_MAX_FDS: Gauge "process_max_fds" [] "The limit of open descriptors.";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documentation_has_every_family_and_no_other() {
        let page = include_str!("../../../docs/metrics.md");
        let documented: Vec<_> =
            page.lines().filter(|line| line.starts_with("| `")).map(str::to_owned).collect();
        let wanted: Vec<_> = ALL
            .iter()
            .map(|f| format!("| `{}` | {} | {} | {} |", f.name, f.kind.as_str(), labels(f), f.help))
            .collect();
        assert_eq!(documented, wanted);
    }

    fn labels(family: &Family) -> String {
        family.labels.iter().map(|label| format!("`{label}`")).collect::<Vec<_>>().join(" ")
    }
}
