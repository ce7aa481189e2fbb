//! The Prometheus text format, version 0.0.4.

use std::fmt::{Display, Write as _};

use super::counter::BUCKETS_US;
use super::family::{self, Family};
use super::listener::CLASSES;
use super::port::{PortShard, protocol};
use super::process::ProcessUsage;
use super::{Backend, BackendShard, Counted, Listener, Port};
use crate::access_log::Reason;
use gateway_common::ir::PortProtocol;

/// `Content-Type` of the answer.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// What is not counted but known.
#[derive(Clone, Debug)]
pub struct Facts {
    pub version: String,
    pub start_seconds: u64,
    pub workers: usize,
    pub generation: u64,
    pub problems: usize,
    pub agent_connected: bool,
    pub draining: bool,
    pub log_lines: u64,
    pub log_dropped: u64,
    pub usage: Option<ProcessUsage>,
}

pub fn render(counted: &Counted, facts: &Facts) -> String {
    let mut page = Page(String::new());
    page.facts(facts);
    page.ports(&counted.ports);
    page.tls(&counted.ports);
    page.udp(&counted.ports);
    page.listeners(&counted.listeners);
    page.backends(&counted.backends);
    if let Some(usage) = &facts.usage {
        page.usage(usage);
    }
    page.0
}

struct Page(String);

impl Page {
    fn head(&mut self, family: &Family) {
        // Writing to a String cannot fail.
        let _ = writeln!(
            self.0,
            "# HELP {} {}\n# TYPE {} {}",
            family.name,
            family.help,
            family.name,
            family.kind.as_str()
        );
    }

    fn sample<const N: usize>(
        &mut self,
        family: &Family,
        suffix: &str,
        labels: [(&str, &str); N],
        value: impl Display,
    ) {
        let _ = write!(self.0, "{}{suffix}", family.name);
        for (index, (name, value)) in labels.into_iter().enumerate() {
            let _ = write!(self.0, "{}{name}=\"", if index == 0 { '{' } else { ',' });
            escape(value, &mut self.0);
            self.0.push('"');
        }
        let _ = writeln!(self.0, "{} {value}", if N == 0 { "" } else { "}" });
    }

    fn single(&mut self, family: &Family, value: impl Display) {
        self.head(family);
        self.sample(family, "", [], value);
    }

    fn facts(&mut self, facts: &Facts) {
        self.head(&family::BUILD);
        self.sample(&family::BUILD, "", [("version", &facts.version)], 1);
        self.single(&family::START, facts.start_seconds);
        self.single(&family::WORKERS, facts.workers);
        self.single(&family::GENERATION, facts.generation);
        self.single(&family::PROBLEMS, facts.problems);
        self.single(&family::AGENT_CONNECTED, u8::from(facts.agent_connected));
        self.single(&family::DRAINING, u8::from(facts.draining));
        self.single(&family::LOG_LINES, facts.log_lines);
        self.single(&family::LOG_DROPPED, facts.log_dropped);
    }

    fn ports(&mut self, ports: &[std::sync::Arc<Port>]) {
        let streams = || ports.iter().filter(|p| p.protocol != PortProtocol::Udp);
        for (family, value) in [
            (&family::CONNECTIONS_TOTAL, (|port| port.sum(|s| &s.opened)) as fn(&Port) -> u64),
            (&family::CONNECTIONS, Port::open),
        ] {
            self.head(family);
            for port in streams() {
                let labels = [
                    ("gateway", port.gateway.as_str()),
                    ("port", &port.port.to_string()),
                    ("protocol", protocol(port.protocol)),
                ];
                self.sample(family, "", labels, value(port));
            }
        }
        self.head(&family::CONNECTIONS_ENDED);
        for port in ports {
            for reason in Reason::ALL.iter().filter(|r| **r != Reason::Ok && port.ended(**r) > 0) {
                self.port_extra(
                    &family::CONNECTIONS_ENDED,
                    port,
                    ("reason", reason.as_str()),
                    port.ended(*reason),
                );
            }
        }
        for (family, value) in [
            (&family::RECEIVED, (|s| &s.received) as fn(&PortShard) -> &super::counter::Counter),
            (&family::SENT, |s| &s.sent),
        ] {
            self.head(family);
            for port in ports.iter().filter(|p| p.protocol != PortProtocol::Http) {
                self.port(family, port, port.sum(value));
            }
        }
    }

    fn tls(&mut self, ports: &[std::sync::Arc<Port>]) {
        let family = &family::TLS_HANDSHAKES;
        self.head(family);
        for port in ports.iter().filter(|p| p.protocol == PortProtocol::Tls) {
            self.port_extra(family, port, ("result", "full"), port.sum(|s| &s.handshakes_full));
            self.port_extra(family, port, ("result", "resumed"), port.sum(|s| &s.handshakes_resumed));
            for reason in [Reason::TlsHandshake, Reason::TlsTimeout] {
                self.port_extra(family, port, ("result", reason.as_str()), port.ended(reason));
            }
        }
    }

    fn udp(&mut self, ports: &[std::sync::Arc<Port>]) {
        let ports = || ports.iter().filter(|p| p.protocol == PortProtocol::Udp);
        self.head(&family::UDP_SESSIONS_TOTAL);
        for port in ports() {
            self.port(&family::UDP_SESSIONS_TOTAL, port, port.sum(|s| &s.opened));
        }
        self.head(&family::UDP_SESSIONS);
        for port in ports() {
            self.port(&family::UDP_SESSIONS, port, port.open());
        }
        self.head(&family::UDP_DATAGRAMS);
        for port in ports() {
            self.port_extra(&family::UDP_DATAGRAMS, port, ("direction", "in"), port.sum(|s| &s.datagrams_in));
            self.port_extra(
                &family::UDP_DATAGRAMS,
                port,
                ("direction", "out"),
                port.sum(|s| &s.datagrams_out),
            );
        }
        self.head(&family::UDP_DROPPED);
        for port in ports() {
            self.port_extra(&family::UDP_DROPPED, port, ("direction", "in"), port.sum(|s| &s.dropped_in));
            self.port_extra(&family::UDP_DROPPED, port, ("direction", "out"), port.sum(|s| &s.dropped_out));
        }
    }

    fn port(&mut self, family: &Family, port: &Port, value: u64) {
        let labels = [("gateway", port.gateway.as_str()), ("port", &port.port.to_string())];
        self.sample(family, "", labels, value);
    }

    fn port_extra(&mut self, family: &Family, port: &Port, extra: (&str, &str), value: u64) {
        let number = port.port.to_string();
        let labels = [("gateway", port.gateway.as_str()), ("port", &number), extra];
        self.sample(family, "", labels, value);
    }

    fn listeners(&mut self, listeners: &[std::sync::Arc<Listener>]) {
        // Without a name: what no listener wanted, if there was any.
        let any = |listener: &Listener| (0..CLASSES.len()).any(|class| listener.requests(class) > 0);
        let listeners: Vec<_> =
            listeners.iter().filter(|listener| !listener.name.is_empty() || any(listener)).collect();
        self.head(&family::REQUESTS);
        for listener in &listeners {
            for (class, code) in CLASSES.iter().enumerate() {
                let labels =
                    [("gateway", listener.gateway.as_str()), ("listener", &listener.name), ("code", code)];
                self.sample(&family::REQUESTS, "", labels, listener.requests(class));
            }
        }
        self.head(&family::REQUESTS_ENDED);
        for listener in &listeners {
            for reason in Reason::ALL.iter().filter(|r| **r != Reason::Ok && listener.ended(**r) > 0) {
                let labels = [
                    ("gateway", listener.gateway.as_str()),
                    ("listener", &listener.name),
                    ("reason", reason.as_str()),
                ];
                self.sample(&family::REQUESTS_ENDED, "", labels, listener.ended(*reason));
            }
        }
        self.head(&family::REQUEST_SECONDS);
        for listener in listeners {
            self.durations(listener);
        }
    }

    fn durations(&mut self, listener: &Listener) {
        let family = &family::REQUEST_SECONDS;
        let base = [("gateway", listener.gateway.as_str()), ("listener", listener.name.as_str())];
        let (buckets, sum_us) = listener.durations();
        let mut count = 0;
        for (index, in_bucket) in buckets.into_iter().enumerate() {
            count += in_bucket;
            let bound = BUCKETS_US.get(index).map_or("+Inf".to_owned(), |us| seconds(*us).to_string());
            self.sample(family, "_bucket", [base[0], base[1], ("le", &bound)], count);
        }
        self.sample(family, "_sum", base, seconds(sum_us));
        self.sample(family, "_count", base, count);
    }

    fn backends(&mut self, backends: &[std::sync::Arc<Backend>]) {
        for (family, value) in [
            (&family::UPSTREAM_CONNECTS, (|s| &s.connects) as fn(&BackendShard) -> &super::counter::Counter),
            (&family::UPSTREAM_CONNECT_FAILURES, |s| &s.connect_failures),
            (&family::UPSTREAM_EJECTIONS, |s| &s.ejections),
            (&family::UPSTREAM_CONNECTIONS, |s| &s.connections),
            (&family::UPSTREAM_REQUESTS, |s| &s.requests),
        ] {
            self.head(family);
            for backend in backends {
                self.sample(family, "", [("backend", &backend.id)], backend.sum(value));
            }
        }
    }

    fn usage(&mut self, usage: &ProcessUsage) {
        self.single(&family::PROCESS_CPU, usage.cpu_seconds);
        self.single(&family::PROCESS_MEMORY, usage.resident_bytes);
        self.single(&family::PROCESS_FDS, usage.open_fds);
        self.single(&family::PROCESS_MAX_FDS, usage.max_fds);
    }
}

fn seconds(us: u64) -> f64 {
    us as f64 / 1e6
}

fn escape(value: &str, out: &mut String) {
    for c in value.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '"' => out.push_str("\\\""),
            '\n' => out.push_str("\\n"),
            c => out.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::time::Duration;

    use gateway_common::ir::{BackendId, GatewayId};
    use http::StatusCode;

    use super::*;
    use crate::metrics::Metrics;

    fn facts() -> Facts {
        Facts {
            version: "1.2.3".into(),
            start_seconds: 1_700_000_000,
            workers: 2,
            generation: 7,
            problems: 0,
            agent_connected: true,
            draining: false,
            log_lines: 0,
            log_dropped: 0,
            usage: ProcessUsage::read(),
        }
    }

    #[test]
    fn samples_of_all_workers_are_summed_and_buckets_cumulate() {
        let metrics = Metrics::new(2);
        let gateway = GatewayId::new("default/web");
        let listener = metrics.listener(&gateway, "http");
        listener.of(0).request(Some(StatusCode::OK), Reason::Ok, Duration::from_micros(400));
        listener.of(1).request(Some(StatusCode::OK), Reason::Ok, Duration::from_millis(2));
        listener.of(1).request(Some(StatusCode::NOT_FOUND), Reason::RouteNotFound, Duration::ZERO);
        let port = metrics.port(&gateway, 53, PortProtocol::Udp);
        port.of(0).opened.add(3);
        port.of(1).closed.add(1);
        let page = render(&metrics.counted(), &facts());
        for line in [
            r#"gatehouse_proxy_requests_total{gateway="default/web",listener="http",code="2xx"} 2"#,
            r#"gatehouse_proxy_requests_total{gateway="default/web",listener="http",code="4xx"} 1"#,
            r#"gatehouse_proxy_requests_ended_total{gateway="default/web",listener="http",reason="route_not_found"} 1"#,
            r#"gatehouse_proxy_request_duration_seconds_bucket{gateway="default/web",listener="http",le="0.0005"} 2"#,
            r#"gatehouse_proxy_request_duration_seconds_bucket{gateway="default/web",listener="http",le="0.0025"} 3"#,
            r#"gatehouse_proxy_request_duration_seconds_bucket{gateway="default/web",listener="http",le="+Inf"} 3"#,
            r#"gatehouse_proxy_request_duration_seconds_sum{gateway="default/web",listener="http"} 0.0024"#,
            r#"gatehouse_proxy_request_duration_seconds_count{gateway="default/web",listener="http"} 3"#,
            r#"gatehouse_proxy_udp_sessions{gateway="default/web",port="53"} 2"#,
            "gatehouse_proxy_generation 7",
        ] {
            assert!(page.lines().any(|l| l == line), "{line} is missing in\n{page}");
        }
    }

    #[test]
    fn every_family_is_rendered_once_and_what_is_removed_goes_away() {
        let metrics = Metrics::new(1);
        let port = metrics.port(&GatewayId::new("default/web"), 443, PortProtocol::Tls);
        let backend = metrics.backend(&BackendId::new("default/\"api\":80"));
        let page = render(&metrics.counted(), &facts());
        assert!(page.contains(r#"backend="default/\"api\":80""#));
        let heads: Vec<_> =
            page.lines().filter_map(|l| l.strip_prefix("# TYPE ")?.split(' ').next()).collect();
        let wanted: BTreeSet<_> = family::ALL.iter().map(|f| f.name).collect();
        assert_eq!(heads.iter().copied().collect::<BTreeSet<_>>(), wanted);
        assert_eq!(heads.len(), wanted.len());
        drop((port, backend));
        let page = render(&metrics.counted(), &facts());
        assert!(!page.contains("gateway=") && !page.contains("backend="));
    }
}
