//! Turns a `GatewayParameters` into what translation uses: defaults filled in, every value checked.

use std::collections::BTreeMap;
use std::time::Duration;

use gateway_common::abi;
use gateway_common::ir;
use ipnet::IpNet;

use super::{
    AccessLogFormat, BackendParameters, EscapedSlashes, GatewayParameters, Limits, NoListener, PathHandling,
    ProxyProtocol, ProxyProtocolVersion, Timeouts,
};
use crate::crds::duration::DurationText;
use crate::crds::field_error::FieldError;
use crate::object::NsName;

/// A checked `GatewayParameters`. `default()` is a Gateway without one.
#[derive(Clone, PartialEq, Debug)]
pub struct Parameters {
    pub settings: ir::Settings,
    pub no_listener: abi::NoListener,
    name: NsName,
    proxy_protocol: Vec<(usize, Listeners, ir::ProxyProtocolIn)>,
    /// Each with its index in `spec.backends`.
    backends: Backends,
}

type Backends = BTreeMap<(NsName, Option<u16>), (usize, ir::ProxyProtocolOut)>;

/// Which listeners an entry of `spec.proxyProtocol` means.
#[derive(Clone, PartialEq, Debug)]
enum Listeners {
    Section(String),
    Port(u16),
}

impl Listeners {
    fn has(&self, section: &str, port: u16) -> bool {
        match self {
            Self::Section(name) => name == section,
            Self::Port(number) => *number == port,
        }
    }
}

impl Default for Parameters {
    fn default() -> Self {
        Self {
            settings: ir::Settings::default(),
            no_listener: abi::NoListener::Reject,
            name: NsName::new("", ""),
            proxy_protocol: Vec::new(),
            backends: BTreeMap::new(),
        }
    }
}

impl Parameters {
    /// What connections to a port must begin with, given the names of the listeners on it.
    pub fn proxy_protocol<'a>(
        &self,
        port: u16,
        sections: impl IntoIterator<Item = &'a str> + Clone,
    ) -> Option<&ir::ProxyProtocolIn> {
        let holds =
            |listeners: &Listeners| sections.clone().into_iter().any(|name| listeners.has(name, port));
        self.proxy_protocol.iter().find(|(_, listeners, _)| holds(listeners)).map(|(_, _, setting)| setting)
    }

    /// The header that a connection or datagram to a Service's port begins with, and the field that says so.
    pub fn backend_proxy_protocol(
        &self,
        service: &NsName,
        port: u16,
    ) -> Option<(ir::ProxyProtocolOut, String)> {
        let exact = self.backends.get(&(service.clone(), Some(port)));
        let (index, version) = exact.or_else(|| self.backends.get(&(service.clone(), None)))?;
        let field = format!("spec.backends[{index}].proxyProtocol of GatewayParameters {}", self.name);
        Some((*version, field))
    }

    /// Entries of `spec.proxyProtocol` that do not fit the Gateway's listeners over TCP, given as name and port.
    pub fn check_listeners(&self, listeners: &[(&str, u16)]) -> Vec<FieldError> {
        let mut errors = Vec::new();
        let mut ports: BTreeMap<u16, (usize, &ir::ProxyProtocolIn)> = BTreeMap::new();
        for (index, selector, setting) in &self.proxy_protocol {
            let mut found = false;
            for (_, port) in listeners.iter().filter(|(name, port)| selector.has(name, *port)) {
                found = true;
                let (first, other) = *ports.entry(*port).or_insert((*index, setting));
                if other != setting {
                    errors.push(FieldError::new(
                        format!("spec.proxyProtocol[{index}]"),
                        format!(
                            "says something else about port {port} than spec.proxyProtocol[{first}]; the header comes \
                             before a listener is chosen, so keep one entry per port"
                        ),
                    ));
                }
            }
            if !found {
                errors.push(unknown_listener(*index, selector));
            }
        }
        errors.sort();
        errors.dedup();
        errors
    }
}

fn unknown_listener(index: usize, selector: &Listeners) -> FieldError {
    match selector {
        Listeners::Section(name) => FieldError::new(
            format!("spec.proxyProtocol[{index}].sectionName"),
            format!(
                "the Gateway has no HTTP, HTTPS, TLS or TCP listener {name:?}; name one of its spec.listeners[].name"
            ),
        ),
        Listeners::Port(port) => FieldError::new(
            format!("spec.proxyProtocol[{index}].port"),
            format!(
                "the Gateway has no HTTP, HTTPS, TLS or TCP listener on port {port}; use one of its spec.listeners[].port"
            ),
        ),
    }
}

/// Checks what types cannot. All problems are reported, not the first.
pub fn validate(object: &GatewayParameters) -> Result<Parameters, Vec<FieldError>> {
    let mut check = Check { errors: Vec::new() };
    let parameters = check.parameters(object);
    if check.errors.is_empty() { Ok(parameters) } else { Err(check.errors) }
}

struct Check {
    errors: Vec<FieldError>,
}

impl Check {
    fn error(&mut self, field: impl Into<String>, message: impl Into<String>) {
        self.errors.push(FieldError::new(field, message));
    }

    fn parameters(&mut self, object: &GatewayParameters) -> Parameters {
        let spec = &object.spec;
        let trusted = spec.client_identity.as_ref().map(|c| c.trusted_proxies.as_slice()).unwrap_or_default();
        let path = spec.path.clone().unwrap_or_default();
        let settings = ir::Settings {
            trusted_proxies: self.cidrs("spec.clientIdentity.trustedProxies", trusted),
            timeouts: self.timeouts(&spec.timeouts.clone().unwrap_or_default()),
            limits: self.limits(&spec.limits.clone().unwrap_or_default()),
            access_log: match spec.access_log.as_ref().map(|log| log.format) {
                None | Some(AccessLogFormat::None) => ir::AccessLog::Off,
                Some(AccessLogFormat::Json) => ir::AccessLog::Json,
            },
            merge_slashes: path.merge_slashes.unwrap_or(false),
            escaped_slashes: escaped_slashes(&path),
        };
        let namespace = object.metadata.namespace.as_deref().unwrap_or_default();
        Parameters {
            name: NsName::new(namespace, object.metadata.name.as_deref().unwrap_or_default()),
            settings,
            no_listener: match spec.no_listener {
                None | Some(NoListener::Reject) => abi::NoListener::Reject,
                Some(NoListener::Drop) => abi::NoListener::Drop,
            },
            proxy_protocol: spec
                .proxy_protocol
                .iter()
                .enumerate()
                .filter_map(|(index, entry)| self.proxy_protocol(index, entry))
                .collect(),
            backends: self.backends(namespace, &spec.backends),
        }
    }

    fn cidrs(&mut self, field: &str, texts: &[String]) -> Vec<IpNet> {
        let mut nets = Vec::with_capacity(texts.len());
        for (index, text) in texts.iter().enumerate() {
            match text.parse::<IpNet>() {
                Ok(net) => nets.push(net.trunc()),
                Err(_) => self.error(
                    format!("{field}[{index}]"),
                    format!(
                        "{text:?} is not a CIDR; write it as 192.0.2.0/24 or 2001:db8::/32, one address as 192.0.2.1/32"
                    ),
                ),
            }
        }
        nets
    }

    fn proxy_protocol(
        &mut self,
        index: usize,
        entry: &ProxyProtocol,
    ) -> Option<(usize, Listeners, ir::ProxyProtocolIn)> {
        let field = format!("spec.proxyProtocol[{index}]");
        if entry.trusted.is_empty() {
            self.error(
                format!("{field}.trusted"),
                "is empty, so no header would ever be believed; list the CIDRs of the load balancers",
            );
        }
        let trusted = self.cidrs(&format!("{field}.trusted"), &entry.trusted);
        let listeners = match (&entry.section_name, entry.port) {
            (Some(name), None) => Listeners::Section(name.clone()),
            (None, Some(port)) => Listeners::Port(self.port(&format!("{field}.port"), port)?),
            (Some(_), Some(_)) | (None, None) => {
                self.error(field, "set exactly one of sectionName and port");
                return None;
            }
        };
        Some((index, listeners, ir::ProxyProtocolIn { trusted, strict: entry.strict.unwrap_or(true) }))
    }

    fn port(&mut self, field: &str, port: i32) -> Option<u16> {
        let number = u16::try_from(port).ok().filter(|p| *p > 0);
        if number.is_none() {
            self.error(field, format!("{port} is not a port number; it must be 1 to 65535"));
        }
        number
    }

    fn backends(&mut self, namespace: &str, entries: &[BackendParameters]) -> Backends {
        let mut backends = Backends::new();
        let mut seen: BTreeMap<(NsName, Option<u16>), usize> = BTreeMap::new();
        for (index, entry) in entries.iter().enumerate() {
            let field = format!("spec.backends[{index}].service");
            let port = match entry.service.port {
                None => None,
                Some(port) => match self.port(&format!("{field}.port"), port) {
                    None => continue,
                    port => port,
                },
            };
            let service =
                NsName::new(entry.service.namespace.as_deref().unwrap_or(namespace), &entry.service.name);
            if let Some(first) = seen.insert((service.clone(), port), index) {
                self.error(
                    field,
                    format!("names the same Service and port as spec.backends[{first}]; keep one of the two"),
                );
            }
            match entry.proxy_protocol {
                Some(ProxyProtocolVersion::V1) => {
                    backends.insert((service, port), (index, ir::ProxyProtocolOut::V1));
                }
                Some(ProxyProtocolVersion::V2) => {
                    backends.insert((service, port), (index, ir::ProxyProtocolOut::V2));
                }
                None => {}
            }
        }
        backends
    }

    fn timeouts(&mut self, spec: &Timeouts) -> ir::TimeoutSettings {
        let default = ir::TimeoutSettings::default();
        ir::TimeoutSettings {
            proxy_header_ms: self.timeout("proxyHeader", spec.proxy_header.as_ref(), default.proxy_header_ms),
            handshake_ms: self.timeout("handshake", spec.handshake.as_ref(), default.handshake_ms),
            header_ms: self.timeout("header", spec.header.as_ref(), default.header_ms),
            idle_ms: self.timeout("idle", spec.idle.as_ref(), default.idle_ms),
            body_idle_ms: self.timeout("bodyIdle", spec.body_idle.as_ref(), default.body_idle_ms),
            stream_idle_ms: self.timeout("streamIdle", spec.stream_idle.as_ref(), default.stream_idle_ms),
            connect_ms: self.timeout("connect", spec.connect.as_ref(), default.connect_ms),
            upstream_idle_ms: self.timeout(
                "upstreamIdle",
                spec.upstream_idle.as_ref(),
                default.upstream_idle_ms,
            ),
            udp_idle_ms: self.timeout("udpIdle", spec.udp_idle.as_ref(), default.udp_idle_ms),
        }
    }

    fn timeout(&mut self, name: &str, text: Option<&DurationText>, default: u64) -> u64 {
        let Some(text) = text else { return default };
        match text.parse() {
            None => {
                self.error(
                    format!("spec.timeouts.{name}"),
                    format!("{:?} is not a duration; write it as 10s, 1m30s or 250ms (GEP-2257)", text.0),
                );
                default
            }
            Some(Duration::ZERO) => {
                self.error(
                    format!("spec.timeouts.{name}"),
                    "must be above zero: without a limit one peer could hold a connection for ever; for a very long wait \
                     write 9999h",
                );
                default
            }
            Some(duration) => u64::try_from(duration.as_millis()).unwrap_or(u64::MAX),
        }
    }

    fn limits(&mut self, spec: &Limits) -> ir::Limits {
        let default = ir::Limits::default();
        ir::Limits {
            connections: self.limit("connections", spec.connections, default.connections, 1..=10_000_000),
            header_bytes: self.limit(
                "headerBytes",
                spec.header_bytes,
                default.header_bytes,
                8_192..=1_048_576,
            ),
            headers: self.limit("headers", spec.headers, default.headers, 1..=1_000),
            streams: self.limit("streams", spec.streams, default.streams, 1..=10_000),
            udp_sessions: self.limit("udpSessions", spec.udp_sessions, default.udp_sessions, 1..=1_048_576),
        }
    }

    fn limit(
        &mut self,
        name: &str,
        value: Option<u32>,
        default: u32,
        range: std::ops::RangeInclusive<u32>,
    ) -> u32 {
        let Some(value) = value else { return default };
        if !range.contains(&value) {
            self.error(
                format!("spec.limits.{name}"),
                format!("{value} is out of range; it must be {} to {}", range.start(), range.end()),
            );
        }
        value
    }
}

fn escaped_slashes(path: &PathHandling) -> ir::EscapedSlashes {
    match path.escaped_slashes {
        None | Some(EscapedSlashes::Keep) => ir::EscapedSlashes::Keep,
        Some(EscapedSlashes::Reject) => ir::EscapedSlashes::Reject,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(spec: serde_json::Value) -> GatewayParameters {
        let mut object = GatewayParameters::new("p", serde_json::from_value(spec).unwrap());
        object.metadata.namespace = Some("shop".to_owned());
        object
    }

    fn problems(spec: serde_json::Value) -> Vec<String> {
        validate(&read(spec)).unwrap_err().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn nothing_said_is_the_default() {
        let want = Parameters { name: NsName::new("shop", "p"), ..Parameters::default() };
        assert_eq!(validate(&read(serde_json::json!({}))).unwrap(), want);
    }

    #[test]
    fn everything_said_arrives() {
        let parameters = validate(&read(serde_json::json!({
            "clientIdentity": {"trustedProxies": ["10.1.2.3/8", "2001:db8::/32"]},
            "proxyProtocol": [{"sectionName": "web", "trusted": ["10.0.0.0/8"]}],
            "backends": [
                {"service": {"name": "mail"}, "proxyProtocol": "V1"},
                {"service": {"name": "mail", "port": 25}, "proxyProtocol": "V2"},
                {"service": {"name": "db", "namespace": "data"}, "proxyProtocol": "V2"},
            ],
            "timeouts": {"proxyHeader": "1s", "handshake": "2s", "header": "3s", "idle": "4s", "bodyIdle": "5s",
                "streamIdle": "6s", "connect": "7s", "upstreamIdle": "8s", "udpIdle": "1m250ms"},
            "limits": {"connections": 1, "headerBytes": 8192, "headers": 2, "streams": 3, "udpSessions": 4},
            "accessLog": {"format": "JSON"},
            "path": {"mergeSlashes": true, "escapedSlashes": "Reject"},
            "noListener": "Drop",
        })))
        .unwrap();
        let want = ir::Settings {
            trusted_proxies: vec!["10.0.0.0/8".parse().unwrap(), "2001:db8::/32".parse().unwrap()],
            timeouts: ir::TimeoutSettings {
                proxy_header_ms: 1_000,
                handshake_ms: 2_000,
                header_ms: 3_000,
                idle_ms: 4_000,
                body_idle_ms: 5_000,
                stream_idle_ms: 6_000,
                connect_ms: 7_000,
                upstream_idle_ms: 8_000,
                udp_idle_ms: 60_250,
            },
            limits: ir::Limits {
                connections: 1,
                header_bytes: 8192,
                headers: 2,
                streams: 3,
                udp_sessions: 4,
            },
            access_log: ir::AccessLog::Json,
            merge_slashes: true,
            escaped_slashes: ir::EscapedSlashes::Reject,
        };
        assert_eq!(parameters.settings, want);
        assert_eq!(parameters.no_listener, abi::NoListener::Drop);

        let mail = NsName::new("shop", "mail");
        let header = |service: &NsName, port| parameters.backend_proxy_protocol(service, port);
        let says = |version, index: usize| {
            Some((version, format!("spec.backends[{index}].proxyProtocol of GatewayParameters shop/p")))
        };
        assert_eq!(header(&mail, 25), says(ir::ProxyProtocolOut::V2, 1));
        assert_eq!(header(&mail, 26), says(ir::ProxyProtocolOut::V1, 0));
        assert_eq!(header(&NsName::new("data", "db"), 1), says(ir::ProxyProtocolOut::V2, 2));
        assert_eq!(header(&NsName::new("shop", "db"), 1), None);

        let want = ir::ProxyProtocolIn { trusted: vec!["10.0.0.0/8".parse().unwrap()], strict: true };
        assert_eq!(parameters.proxy_protocol(80, ["other", "web"]), Some(&want));
        assert_eq!(parameters.proxy_protocol(80, ["other"]), None);
    }

    #[test]
    fn every_problem_is_named() {
        let found = problems(serde_json::json!({
            "clientIdentity": {"trustedProxies": ["10.0.0.0/8", "10.0.0.1"]},
            "proxyProtocol": [
                {"trusted": ["10.0.0.0/8"]},
                {"sectionName": "a", "port": 1, "trusted": ["10.0.0.0/8"]},
                {"port": 70000, "trusted": []},
            ],
            "backends": [{"service": {"name": "a"}}, {"service": {"name": "a", "namespace": "shop"}},
                {"service": {"name": "a", "port": 0}}],
            "timeouts": {"idle": "1d", "header": "0s"},
            "limits": {"connections": 0, "headerBytes": 100},
        }));
        let fields: Vec<_> = found.iter().map(|line| line.split_once(": ").unwrap().0).collect();
        assert_eq!(
            fields,
            [
                "spec.clientIdentity.trustedProxies[1]",
                "spec.timeouts.header",
                "spec.timeouts.idle",
                "spec.limits.connections",
                "spec.limits.headerBytes",
                "spec.proxyProtocol[0]",
                "spec.proxyProtocol[1]",
                "spec.proxyProtocol[2].trusted",
                "spec.proxyProtocol[2].port",
                "spec.backends[1].service",
                "spec.backends[2].service.port",
            ]
        );
    }

    #[test]
    fn entries_must_fit_the_listeners() {
        let parameters = validate(&read(serde_json::json!({"proxyProtocol": [
            {"sectionName": "web", "trusted": ["10.0.0.0/8"]},
            {"sectionName": "gone", "trusted": ["10.0.0.0/8"]},
            {"port": 443, "trusted": ["10.0.0.0/8"]},
            {"sectionName": "tls", "trusted": ["10.0.0.0/8"], "strict": false},
            {"port": 8080, "trusted": ["10.0.0.0/8"]},
        ]})))
        .unwrap();
        let errors = parameters.check_listeners(&[("web", 80), ("web2", 80), ("tls", 443), ("tls2", 443)]);
        let fields: Vec<_> = errors.iter().map(|e| e.field.as_str()).collect();
        assert_eq!(
            fields,
            ["spec.proxyProtocol[1].sectionName", "spec.proxyProtocol[3]", "spec.proxyProtocol[4].port"]
        );
    }

    #[test]
    fn descriptions_name_the_defaults() {
        let timeouts = ir::TimeoutSettings::default();
        let limits = ir::Limits::default();
        let duration = |ms| crate::crds::duration::format(Duration::from_millis(ms));
        let want = [
            ("timeouts", "proxyHeader", duration(timeouts.proxy_header_ms)),
            ("timeouts", "handshake", duration(timeouts.handshake_ms)),
            ("timeouts", "header", duration(timeouts.header_ms)),
            ("timeouts", "idle", duration(timeouts.idle_ms)),
            ("timeouts", "bodyIdle", duration(timeouts.body_idle_ms)),
            ("timeouts", "streamIdle", duration(timeouts.stream_idle_ms)),
            ("timeouts", "connect", duration(timeouts.connect_ms)),
            ("timeouts", "upstreamIdle", duration(timeouts.upstream_idle_ms)),
            ("timeouts", "udpIdle", duration(timeouts.udp_idle_ms)),
            ("limits", "connections", limits.connections.to_string()),
            ("limits", "headerBytes", limits.header_bytes.to_string()),
            ("limits", "headers", limits.headers.to_string()),
            ("limits", "streams", limits.streams.to_string()),
            ("limits", "udpSessions", limits.udp_sessions.to_string()),
        ];
        let crd = &crate::crds::definitions()[0];
        for (section, field, default) in want {
            let pointer = format!(
                "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/{section}/properties/{field}/description"
            );
            let description = crd.pointer(&pointer).and_then(|d| d.as_str()).unwrap_or_default();
            assert!(
                description.contains(&format!("Default: {default}.")),
                "{section}.{field}: {description:?}"
            );
        }
    }
}
