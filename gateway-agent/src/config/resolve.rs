//! Settings as written to settings as used. Pure: what the machine is like comes in.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ipnet::IpNet;
use tracing_subscriber::EnvFilter;

use super::{
    Config, EbpfLog, Host, LogFormat, Problem, Problems, ProxyMode, ProxyUser, Purpose, Settings, Tc, Xdp,
};
use crate::crds::duration;
use crate::source::is_dns_name;

const CONTROLLER: &str = "gatehouse.dev/gateway-controller";
/// `sun_path` less its final zero; see unix(7).
const LONGEST_SOCKET_PATH: usize = 107;
/// Who owns nothing: the user of distroless images.
const NONROOT: ProxyUser = ProxyUser { uid: 65_532, gid: 65_532 };

pub(super) fn resolve(settings: Settings, host: &Host, purpose: Purpose) -> Result<Config, Problems> {
    let mut check = Check { purpose, problems: Vec::new() };
    let config = check.config(settings, host);
    match config {
        Some(config) if check.problems.is_empty() => Ok(config),
        _ => Err(Problems(check.problems)),
    }
}

/// Loopback, link-local, multicast, unspecified, reserved and mapped addresses (RFC 6890).
fn unreachable() -> Vec<IpNet> {
    let texts = ["0.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "224.0.0.0/4", "255.255.255.255/32"]
        .into_iter()
        .chain(["::/127", "::ffff:0:0/96", "fe80::/10", "ff00::/8"]);
    texts.filter_map(|text| text.parse().ok()).collect()
}

struct Check {
    purpose: Purpose,
    problems: Vec<Problem>,
}

impl Check {
    fn problem(&mut self, setting: &'static str, message: impl Into<String>) {
        self.problems.push(Problem { setting, message: message.into() });
    }

    fn config(&mut self, s: Settings, host: &Host) -> Option<Config> {
        let source = self.source(s.source.as_deref());
        let xdp = s.xdp.unwrap_or(Xdp::Off);
        let deny = self.nets("deny", &s.deny);
        if !deny.is_empty() && xdp == Xdp::Off {
            self.problem("deny", "XDP does the dropping and is off; add --xdp native (or generic)");
        }
        let proxy = s.proxy.unwrap_or(ProxyMode::Spawn);
        if proxy == ProxyMode::Connect && s.proxy_binary.is_some() {
            self.problem(
                "proxy-binary",
                "does not go with --proxy connect, which starts none; remove one of the two",
            );
        }
        let runtime_dir = self.absolute("runtime-dir", s.runtime_dir, "/run/gatehouse");
        let state_dir = self.absolute("state-dir", s.state_dir, "/var/lib/gatehouse");
        for (setting, dir) in [("runtime-dir", &runtime_dir), ("state-dir", &state_dir)] {
            if source.as_ref().is_some_and(|source| dir.starts_with(source)) {
                self.problem(
                    setting,
                    "must not lie below --source: what is written there would be read as objects",
                );
            }
        }
        self.socket_paths(&runtime_dir);
        let config = Config {
            status_dir: self.status_dir(s.status_dir, source.as_deref()),
            source: source.unwrap_or_default(),
            state_dir,
            runtime_dir,
            pin_dir: self.absolute("pin-dir", s.pin_dir, "/sys/fs/bpf/gatehouse"),
            mount_bpffs: s.mount_bpffs.unwrap_or(false),
            node_name: self.node_name(s.node_name, host),
            controller_name: self.controller_name(s.controller_name),
            address_pools: self.address_pools(&s.address_pool),
            devices: self.globs("device", s.device),
            exclude_devices: self.globs("exclude-device", s.exclude_device),
            tc: s.tc.unwrap_or(Tc::Auto),
            xdp,
            deny,
            proxy,
            proxy_binary: s.proxy_binary.unwrap_or_else(|| proxy_beside(host)),
            proxy_user: self.proxy_user(s.proxy_user.as_deref(), host),
            workers: self.workers(s.workers, host),
            drain_deadline: self.drain_deadline(s.drain_deadline.as_deref()),
            access_log: self.access_log(s.access_log),
            metrics_listen: self.metrics_listen(s.metrics_listen.as_deref()),
            log: self.log(s.log),
            log_format: s.log_format.unwrap_or(LogFormat::Text),
            ebpf_log: s.ebpf_log.unwrap_or(EbpfLog::Off),
        };
        Some(config)
    }

    fn source(&mut self, source: Option<&Path>) -> Option<PathBuf> {
        if self.purpose == Purpose::Cleanup {
            return source.and_then(|source| std::path::absolute(source).ok());
        }
        let Some(source) = source else {
            self.problem("source", "is required: the directory with the Gateways and routes to serve");
            return None;
        };
        if !source.is_dir() {
            self.problem(
                "source",
                format!("{} is not a directory; create it, it may be empty", source.display()),
            );
        }
        std::path::absolute(source).ok()
    }

    fn status_dir(&mut self, dir: Option<PathBuf>, source: Option<&Path>) -> Option<PathBuf> {
        let dir = std::path::absolute(dir?).ok()?;
        if source.is_some_and(|source| dir.starts_with(source) || source.starts_with(&dir)) {
            self.problem(
                "status-dir",
                "must lie beside --source: what is written there would be read as objects",
            );
        }
        Some(dir)
    }

    fn absolute(&mut self, setting: &'static str, path: Option<PathBuf>, default: &str) -> PathBuf {
        let path = path.unwrap_or_else(|| default.into());
        if !path.is_absolute() {
            self.problem(setting, format!("{} is not absolute; begin it with /", path.display()));
        }
        path
    }

    fn socket_paths(&mut self, runtime_dir: &Path) {
        let longest = runtime_dir.join("proxy/4194304.sock").as_os_str().len();
        if longest > LONGEST_SOCKET_PATH {
            let over = longest - LONGEST_SOCKET_PATH;
            self.problem(
                "runtime-dir",
                format!("is {over} bytes too long for the name of a Unix socket; use a shorter path"),
            );
        }
    }

    fn access_log(&mut self, target: Option<String>) -> String {
        let target = target.unwrap_or_else(|| "-".to_owned());
        if target != "-" && !target.starts_with('/') {
            self.problem(
                "access-log",
                format!("{target:?} is neither an absolute path nor - for standard output"),
            );
        }
        target
    }

    fn metrics_listen(&mut self, address: Option<&str>) -> Option<SocketAddr> {
        let text = address?;
        let parsed = text.parse().ok();
        if parsed.is_none() {
            self.problem(
                "metrics-listen",
                format!("{text:?} is not ADDR:PORT, as 127.0.0.1:9901 or [::]:9901"),
            );
        }
        parsed
    }

    fn node_name(&mut self, name: Option<String>, host: &Host) -> String {
        let name = name.unwrap_or_else(|| host.name.to_ascii_lowercase());
        if !is_dns_name(&name) {
            self.problem(
                "node-name",
                format!("{name:?} is not a DNS name in lower case, as names of nodes are; set one that is"),
            );
        }
        name
    }

    fn controller_name(&mut self, name: Option<String>) -> String {
        let name = name.unwrap_or_else(|| CONTROLLER.to_owned());
        let fits = name.split_once('/').is_some_and(|(domain, path)| is_dns_name(domain) && !path.is_empty());
        if !fits {
            self.problem("controller-name", format!("{name:?} is not of the form {CONTROLLER}"));
        }
        name
    }

    fn nets(&mut self, setting: &'static str, texts: &[String]) -> Vec<IpNet> {
        let mut nets = Vec::with_capacity(texts.len());
        for text in texts {
            match text.trim().parse::<IpNet>() {
                Ok(IpNet::V6(net)) if net.network().to_ipv4_mapped().is_some() && net.prefix_len() >= 96 => {
                    self.problem(setting, format!("{text:?} is of IPv4 addresses; write it as a prefix of IPv4"));
                }
                Ok(net) => nets.push(net.trunc()),
                Err(_) => self.problem(
                    setting,
                    format!("{text:?} is not a CIDR; write it as 192.0.2.0/24 or 2001:db8::/64, one address as 192.0.2.1/32"),
                ),
            }
        }
        nets
    }

    fn address_pools(&mut self, texts: &[String]) -> Vec<IpNet> {
        let pools = self.nets("address-pool", texts);
        for (index, pool) in pools.iter().enumerate() {
            let special = unreachable().into_iter().find(|net| net.contains(pool) || pool.contains(net));
            if let Some(special) = special {
                self.problem(
                    "address-pool",
                    format!(
                        "{pool} holds addresses of {special}, which other hosts cannot reach; use others"
                    ),
                );
            }
            if let Some(other) =
                pools[..index].iter().find(|other| other.contains(pool) || pool.contains(*other))
            {
                self.problem("address-pool", format!("{pool} overlaps {other}; keep one of the two"));
            }
        }
        pools
    }

    fn globs(&mut self, setting: &'static str, globs: Vec<String>) -> Vec<String> {
        let bad = |glob: &String| glob.is_empty() || glob.contains('/') || glob.contains(char::is_whitespace);
        for glob in globs.iter().filter(|glob| bad(glob)) {
            self.problem(
                setting,
                format!("{glob:?} matches no device; write a name or a glob such as eth* or bond0"),
            );
        }
        globs
    }

    fn proxy_user(&mut self, user: Option<&str>, host: &Host) -> ProxyUser {
        let Some(text) = user else { return NONROOT };
        let (name, group) = text.split_once(':').map_or((text, None), |(user, group)| (user, Some(group)));
        let found = match name.parse::<u32>() {
            Ok(uid) => Some((uid, uid)),
            Err(_) => host.user(name),
        };
        let gid = group.map(str::parse::<u32>);
        match (found, gid) {
            (Some((0, _)), _) => {
                self.problem("proxy-user", "is root; the proxy needs no rights, give it a user of its own")
            }
            (Some((uid, _)), Some(Ok(gid))) => return ProxyUser { uid, gid },
            (Some((uid, gid)), None) => return ProxyUser { uid, gid },
            (Some(_), Some(Err(_))) => {
                self.problem("proxy-user", format!("{text:?} has no numeric group; write UID:GID"))
            }
            (None, _) => {
                self.problem(
                    "proxy-user",
                    format!(
                        "{name:?} is not in /etc/passwd; create the user or give a UID, which needs no entry"
                    ),
                );
            }
        }
        NONROOT
    }

    fn workers(&mut self, workers: Option<u32>, host: &Host) -> u16 {
        let workers = workers.unwrap_or_else(|| u32::try_from(host.cores).unwrap_or(1).clamp(1, 256));
        if !(1..=256).contains(&workers) {
            self.problem(
                "workers",
                format!("{workers} is out of range; it must be 1 to 256, at best the number of cores"),
            );
        }
        u16::try_from(workers).unwrap_or(1)
    }

    fn drain_deadline(&mut self, text: Option<&str>) -> Duration {
        let text = text.unwrap_or("60s");
        duration::parse(text).unwrap_or_else(|| {
            self.problem("drain-deadline", format!("{text:?} is not a duration; write it as 60s or 1m30s"));
            Duration::ZERO
        })
    }

    fn log(&mut self, filter: Option<String>) -> String {
        let filter = filter.unwrap_or_else(|| "info".to_owned());
        if let Err(error) = EnvFilter::try_new(&filter) {
            self.problem(
                "log",
                format!("{filter:?}: {error}; write it as info or gateway_agent::source=debug,info"),
            );
        }
        filter
    }
}

fn proxy_beside(host: &Host) -> PathBuf {
    host.program_dir.as_ref().map_or_else(|| "gateway-proxy".into(), |dir| dir.join("gateway-proxy"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host() -> Host {
        Host {
            name: "Node-1".to_owned(),
            cores: 4,
            passwd: "root:x:0:0::/:\ngatehouse:x:990:991::/:\n".to_owned(),
            program_dir: Some("/opt/bin".into()),
        }
    }

    fn settings() -> Settings {
        Settings { source: Some("/usr".into()), ..Settings::default() }
    }

    fn problems(settings: Settings) -> Vec<&'static str> {
        resolve(settings, &host(), Purpose::Run)
            .unwrap_err()
            .0
            .iter()
            .map(|problem| problem.setting)
            .collect()
    }

    #[test]
    fn defaults_are_those_of_the_help() {
        let config = resolve(settings(), &host(), Purpose::Run).unwrap();
        assert_eq!(
            config.to_string(),
            "source=/usr status-dir=- state-dir=/var/lib/gatehouse runtime-dir=/run/gatehouse \
             pin-dir=/sys/fs/bpf/gatehouse mount-bpffs=false node-name=node-1 \
             controller-name=gatehouse.dev/gateway-controller address-pool=- device=- exclude-device=- tc=auto xdp=off \
             deny=0 prefixes proxy=spawn proxy-binary=/opt/bin/gateway-proxy proxy-user=65532:65532 workers=4 \
             drain-deadline=1m access-log=- metrics-listen=- log=info log-format=text ebpf-log=off"
        );
    }

    #[test]
    fn users_are_names_or_numbers() {
        let user = |text: &str| {
            resolve(Settings { proxy_user: Some(text.to_owned()), ..settings() }, &host(), Purpose::Run)
        };
        let ids = |text: &str| user(text).map(|config| (config.proxy_user.uid, config.proxy_user.gid)).ok();
        assert_eq!(ids("gatehouse"), Some((990, 991)));
        assert_eq!(ids("gatehouse:7"), Some((990, 7)));
        assert_eq!(ids("1234"), Some((1234, 1234)));
        assert_eq!(ids("1234:5"), Some((1234, 5)));
        for bad in ["root", "0", "nobody", "1:x"] {
            assert_eq!(ids(bad), None, "{bad}");
        }
    }

    #[test]
    fn every_problem_is_listed() {
        let found = problems(Settings {
            source: Some("/no/such/place".into()),
            status_dir: Some("/no/such/place/status".into()),
            controller_name: Some("gatehouse".to_owned()),
            node_name: Some("A B".to_owned()),
            address_pool: ["192.0.2.1", "10.0.0.0/8", "10.1.0.0/16", "126.0.0.0/7", "fe80::/64"]
                .map(str::to_owned)
                .into(),
            device: vec!["eth 0".to_owned()],
            deny: vec!["192.0.2.0/24".to_owned()],
            proxy: Some(ProxyMode::Connect),
            proxy_binary: Some("/x".into()),
            workers: Some(0),
            drain_deadline: Some("60".to_owned()),
            runtime_dir: Some(format!("/{}", "x".repeat(100)).into()),
            state_dir: Some("state".into()),
            log: Some("a=b=c".to_owned()),
            ..Settings::default()
        });
        let mut found: Vec<_> = found;
        found.sort_unstable();
        assert_eq!(
            found,
            [
                "address-pool",
                "address-pool",
                "address-pool",
                "address-pool",
                "controller-name",
                "deny",
                "device",
                "drain-deadline",
                "log",
                "node-name",
                "proxy-binary",
                "runtime-dir",
                "source",
                "state-dir",
                "status-dir",
                "workers"
            ]
        );
        assert_eq!(problems(Settings::default()), ["source"]);
        let gone = Settings { source: Some("/no/such/place".into()), ..Settings::default() };
        for settings in [Settings::default(), gone] {
            assert!(resolve(settings, &host(), Purpose::Cleanup).is_ok());
        }
    }

    #[test]
    fn nothing_is_written_into_the_source() {
        for (settings, setting) in [
            (Settings { state_dir: Some("/usr/state".into()), ..settings() }, "state-dir"),
            (Settings { runtime_dir: Some("/usr".into()), ..settings() }, "runtime-dir"),
            (Settings { status_dir: Some("/usr/status".into()), ..settings() }, "status-dir"),
        ] {
            assert_eq!(problems(settings), [setting]);
        }
    }

    #[test]
    fn flags_win_over_the_file() {
        let flags = Settings { workers: Some(2), address_pool: vec!["a".to_owned()], ..Settings::default() };
        let file = Settings {
            workers: Some(3),
            tc: Some(Tc::Tcx),
            address_pool: vec!["b".to_owned()],
            ..Settings::default()
        };
        let both = flags.or(file);
        assert_eq!(
            (both.workers, both.tc, both.address_pool),
            (Some(2), Some(Tc::Tcx), vec!["a".to_owned()])
        );
    }
}
