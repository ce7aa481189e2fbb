//! The agent's datapath in a real kernel: traffic from outside, from the node and through it, restarts over pins, devices
//! that come and go, and pins of another layout.
#![expect(clippy::unwrap_used, reason = "a test ends where something unexpected is")]

use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use aya::maps::{HashMap, LpmTrie, Map, MapData, SockMap};
use gatehouse_tests::netns::Netns;
use gatehouse_tests::process::wait_for;
use gatehouse_tests::serving::{self, Answering, Seen, Vips, connect, exchange};
use gatehouse_tests::topology::{CLIENT_V4, CLIENT_V6, Topology, Uplink, vip_v4, vip_v6};
use gateway_agent::announce::{Announcer, Watch};
use gateway_agent::datapath::facts::{self, Facts, Severity};
use gateway_agent::datapath::programs::Program;
use gateway_agent::datapath::selection::Selection;
use gateway_agent::datapath::view::{View, VipView};
use gateway_agent::datapath::{Config, Datapath, TcKind, XdpKind};
use gateway_agent::desired;
use gateway_agent::device::Globs;
use gateway_common::abi::Proto;

const TCP: u16 = 443;
const UDP: u16 = 53;

fn web() -> Vips {
    Vips {
        gateway: "default/web",
        addresses: vec![vip_v4(10), vip_v6(10)],
        tcp: vec![80, TCP],
        udp: vec![UDP],
    }
}

type Ask = fn(SocketAddr) -> anyhow::Result<Seen>;

/// A node that serves [`web`], and what a test does with it.
struct Bench {
    topology: Topology,
    desired: desired::Datapath,
    answering: Answering,
    /// None: the agent is dead.
    datapath: Option<Datapath>,
}

fn programs(node: &Netns) -> anyhow::Result<Vec<Program>> {
    let filters = node.block_on(async || {
        let announcer = Announcer::open()?;
        announcer.filters(&announcer.devices().await?).await
    })?;
    Ok(node.run(|| View::open(&node.bpffs().join("gatehouse"))?.programs(&filters))?)
}

impl Bench {
    fn start(config: &Config) -> Self {
        let topology = Topology::new(Uplink::Plain).unwrap();
        let desired = web().desired();
        let answering = Answering::start(&topology.node, &desired).unwrap();
        let mut bench = Self { topology, desired, answering, datapath: None };
        bench.restart(config);
        bench
    }

    fn node(&self) -> &Netns {
        &self.topology.node
    }

    fn root(&self) -> PathBuf {
        self.node().bpffs().join("gatehouse")
    }

    /// The devices that carry the programs now.
    fn apply(&mut self) -> Vec<String> {
        let Self { topology, desired, answering, datapath } = self;
        let datapath = datapath.as_mut().expect("an agent");
        serving::apply(&topology.node, datapath, desired, &answering.sockets, &Globs::default()).unwrap()
    }

    /// Ends this agent and starts another over its pins.
    fn restart(&mut self, config: &Config) {
        self.datapath = None;
        self.datapath = Some(serving::open(&self.topology.node, config).unwrap());
        self.apply();
    }

    fn view(&self) -> View {
        View::open(&self.root()).unwrap()
    }

    fn programs(&self) -> Vec<Program> {
        programs(self.node()).unwrap()
    }

    /// The programs once there are so many: the kernel detaches those whose pin or descriptor went a grace period later.
    fn programs_once(&self, count: usize) -> Vec<Program> {
        let settled = || Some(self.programs()).filter(|programs| programs.len() == count);
        wait_for(Duration::from_secs(20), settled).unwrap_or_else(|| self.programs())
    }
}

fn vips(port: u16) -> [SocketAddr; 2] {
    [SocketAddr::new(vip_v4(10), port), SocketAddr::new(vip_v6(10), port)]
}

fn of_family(vip: SocketAddr, v4: IpAddr, v6: IpAddr) -> IpAddr {
    if vip.is_ipv4() { v4 } else { v6 }
}

/// The accepting side saw the client's own address and the VIP.
fn check(seen: &Seen, vip: SocketAddr) {
    assert_eq!((seen.peer, seen.local), (seen.client, vip));
}

#[test]
fn clients_outside_on_and_behind_the_node_are_seen_by_their_own_address() {
    let bench = Bench::start(&Config::default());
    for (port, ask) in [(TCP, connect as Ask), (80, connect), (UDP, exchange)] {
        for vip in vips(port) {
            let outside = bench.topology.client.run(|| ask(vip)).unwrap();
            check(&outside, vip);
            assert_eq!(outside.peer.ip(), of_family(vip, CLIENT_V4, CLIENT_V6));
            check(&bench.node().run(|| ask(vip)).unwrap(), vip);
            check(&bench.topology.pods.run(|| ask(vip)).unwrap(), vip);
        }
    }
}

#[test]
fn many_connections_spread_over_the_group_and_are_counted() {
    let bench = Bench::start(&Config::default());
    let vip = vips(TCP)[0];
    bench.topology.client.run(|| (0..50).for_each(|_| check(&connect(vip).unwrap(), vip)));
    let views = bench.view().vips().unwrap();
    let view = views.iter().find(|view| view.address == vip.ip()).unwrap();
    let port = view.ports.iter().find(|port| port.port == TCP).unwrap();
    assert!(port.packets >= 150, "{port:?}");
    assert!(port.bytes > port.packets * 40, "{port:?}");
    assert_eq!(port.dropped, 0);
    if bench.datapath.as_ref().unwrap().features().assign_reuseport {
        assert!(port.listener >= 50 && port.established >= 50, "{port:?}");
    }
}

/// Asks until told to stop; every single answer must come. Joined, it says how many there were.
fn storm(netns: &Netns, stop: &Arc<AtomicBool>, ask: Ask, vip: SocketAddr) -> JoinHandle<u32> {
    let stop = Arc::clone(stop);
    let work = move || {
        let mut served = 0;
        while !stop.load(Ordering::Relaxed) {
            match ask(vip) {
                Ok(seen) => check(&seen, vip),
                Err(error) => panic!("{vip} after {served} served: {error:#}"),
            }
            served += 1;
        }
        served
    };
    netns.spawn(work).unwrap()
}

/// Does something while clients of all kinds ask without a pause; none of them may fail.
fn under_storm(bench: &mut Bench, act: impl FnOnce(&mut Bench)) {
    let stop = Arc::new(AtomicBool::new(false));
    let topology = &bench.topology;
    let clients = [
        storm(&topology.client, &stop, connect, vips(TCP)[0]),
        storm(&topology.client, &stop, exchange, vips(UDP)[1]),
        storm(&topology.pods, &stop, connect, vips(TCP)[1]),
        storm(&topology.node, &stop, connect, vips(80)[0]),
    ];
    act(bench);
    stop.store(true, Ordering::Relaxed);
    for client in clients {
        assert!(client.join().unwrap() > 0);
    }
}

/// Slots and counters by VIP port.
fn places(bench: &Bench) -> Vec<(IpAddr, u16, u32, u32)> {
    let views = bench.view().vips().unwrap();
    let of = |vip: &VipView| {
        let address = vip.address;
        vip.ports.iter().map(move |port| (address, port.port, port.slot, port.counter)).collect::<Vec<_>>()
    };
    views.iter().flat_map(of).collect()
}

#[test]
fn restarts_over_pins_lose_no_connection_and_keep_slots() {
    let mut bench = Bench::start(&Config::default());
    let before = places(&bench);
    under_storm(&mut bench, |bench| {
        for _ in 0..5 {
            bench.restart(&Config::default());
        }
    });
    assert_eq!(places(&bench), before);
    // The predecessors' programs are gone from every hook.
    let programs = bench.programs_once(2);
    assert_eq!(programs.len(), 2, "{programs:#?}");
    assert!(programs.iter().all(|program| program.ours && program.position == Some((1, 1))));
}

#[test]
fn a_dead_agent_changes_nothing() {
    let mut bench = Bench::start(&Config::default());
    bench.datapath = None;
    for vip in vips(TCP) {
        check(&bench.topology.client.run(|| connect(vip)).unwrap(), vip);
    }
    assert_eq!(bench.view().vips().unwrap().len(), 2);
}

/// What the agent's tick does; the kernel lets go of a link some time after its pin.
fn mend(bench: &mut Bench) {
    let Bench { topology, desired, answering, datapath } = bench;
    let datapath = datapath.as_mut().unwrap();
    let mut tick = || {
        serving::apply(&topology.node, datapath, desired, &answering.sockets, &Globs::default()).ok()?;
        (programs(&topology.node).ok()?.iter().filter(|program| program.ours).count() == 3).then_some(())
    };
    wait_for(Duration::from_secs(20), &mut tick).expect("three programs at their hooks");
}

#[test]
fn what_somebody_removed_is_put_back() {
    let mut bench = Bench::start(&Config { xdp: Some(XdpKind::Generic), ..Config::default() });
    let before = places(&bench);
    let (root, links) = (bench.root(), bench.root().join("v1/links"));
    let everything: &[&dyn Fn()] = &[
        &|| std::fs::remove_file(links.join("gh_lookup")).unwrap(),
        &|| std::fs::remove_file(root.join("v1/maps/PORTS")).unwrap(),
        &|| std::fs::remove_dir_all(&links).unwrap(),
        &|| std::fs::remove_dir_all(&root).unwrap(),
        &|| {
            let pinned = MapData::from_pin(root.join("v1/maps/SOCKS")).unwrap();
            let mut sockets: SockMap<_> = Map::from_map_data(pinned).unwrap().try_into().unwrap();
            before.iter().for_each(|(_, _, slot, _)| drop(sockets.clear_index(slot)));
        },
    ];
    for remove in everything {
        remove();
        mend(&mut bench);
        for (port, ask) in [(TCP, connect as Ask), (UDP, exchange)] {
            for vip in vips(port) {
                check(&bench.topology.client.run(|| ask(vip)).unwrap(), vip);
                check(&bench.node().run(|| ask(vip)).unwrap(), vip);
            }
        }
        assert_eq!(places(&bench), before);
    }
    // What is back outlives the agent, as the first did.
    bench.datapath = None;
    let vip = vips(TCP)[0];
    check(&bench.topology.client.run(|| connect(vip)).unwrap(), vip);
    check(&bench.node().run(|| connect(vip)).unwrap(), vip);
    bench.restart(&Config::default());
    assert_eq!(places(&bench), before);
}

#[test]
fn pins_of_another_layout_are_replaced_without_a_gap() {
    let mut bench = Bench::start(&Config::default());
    let pin = bench.root().join("v1/maps/DENY");
    std::fs::remove_file(&pin).unwrap();
    HashMap::<MapData, u32, u32>::create(16, 0).unwrap().pin(&pin).unwrap();
    under_storm(&mut bench, |bench| bench.restart(&Config::default()));
    assert_eq!(directories(&bench.root()), ["v1"]);
    assert_eq!(bench.programs_once(2).len(), 2);
}

#[test]
fn another_abi_version_serves_until_this_one_does() {
    let mut bench = Bench::start(&Config { xdp: Some(XdpKind::Generic), ..Config::default() });
    bench.datapath = None;
    std::fs::rename(bench.root().join("v1"), bench.root().join("v0")).unwrap();
    under_storm(&mut bench, |bench| {
        bench.restart(&Config { xdp: Some(XdpKind::Generic), ..Config::default() })
    });
    assert_eq!(directories(&bench.root()), ["v1"]);
    assert_eq!(bench.programs_once(3).len(), 3);
}

fn directories(root: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(root).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

#[test]
fn an_object_that_does_not_load_leaves_the_old_one_serving() {
    let mut bench = Bench::start(&Config::default());
    let config = Config { pin_root: bench.root(), ..Config::default() };
    let programs = bench.programs();
    let broken = bench.node().run(|| Datapath::open_object(&config, b"no object").map(drop));
    assert!(broken.is_err());
    assert_eq!(bench.programs(), programs);
    bench.apply();
    let vip = vips(TCP)[0];
    check(&bench.topology.client.run(|| connect(vip)).unwrap(), vip);
}

#[test]
fn devices_come_and_go_and_come_back_with_the_same_index() {
    let mut bench = Bench::start(&Config::default());
    let other = Netns::new("other").unwrap();
    let mut pin = None;
    for _ in 0..2 {
        bench
            .node()
            .ip(&format!("link add eth1 index 77 type veth peer name eth0 netns {}", other.name()))
            .unwrap();
        bench.node().ip("link set eth1 up\naddr add 192.168.7.1/24 dev eth1").unwrap();
        other
            .ip("link set eth0 up\naddr add 192.168.7.2/24 dev eth0\nroute add default via 192.168.7.1")
            .unwrap();
        // The second time the pin of the first device is still there, and dead.
        assert_eq!(bench.apply(), ["eth0", "eth1"]);
        let vip = vips(TCP)[0];
        let packets = packets(&bench);
        check(&other.run(|| connect(vip)).unwrap(), vip);
        assert!(self::packets(&bench) > packets, "the packets did not pass TC on eth1");
        let path = bench.root().join("v1/links/tc_77");
        assert!(path.exists());
        pin = Some(path);
        bench.node().ip("link del eth1").unwrap();
    }
    assert_eq!(bench.apply(), ["eth0"]);
    assert!(!pin.unwrap().exists());
}

fn packets(bench: &Bench) -> u64 {
    bench.view().vips().unwrap().iter().flat_map(|vip| &vip.ports).map(|port| port.packets).sum()
}

#[test]
fn device_changes_are_told() {
    let node = Netns::new("node").unwrap();
    node.block_on(async || {
        let announcer = Announcer::open().unwrap();
        let mut watch = Watch::open().unwrap();
        let soon = Duration::from_secs(20);
        for script in
            ["link add br7 type bridge", "addr add 192.168.9.1/24 dev br7", "link set br7 up", "link del br7"]
        {
            node.ip(script).unwrap();
            tokio::time::timeout(soon, watch.changed()).await.expect(script).unwrap();
        }
        assert_eq!(announcer.devices().await.unwrap().len(), 1);
    });
}

#[test]
fn netlink_filters_serve_and_are_replaced_too() {
    let config = Config { tc: Some(TcKind::Netlink), ..Config::default() };
    let mut bench = Bench::start(&config);
    let before = packets(&bench);
    under_storm(&mut bench, |bench| {
        for _ in 0..3 {
            bench.restart(&config);
        }
    });
    assert!(packets(&bench) > before, "the packets did not pass the filter");
    assert_eq!(hooks(&bench), ["sk_lookup", "clsact ingress"]);
    // TCX takes the filter's place, and the filter its place again.
    bench.restart(&Config::default());
    assert_eq!(hooks(&bench), ["sk_lookup", "tcx ingress"]);
    assert_eq!(filters(&bench), 0);
    bench.restart(&config);
    assert_eq!(hooks(&bench), ["sk_lookup", "clsact ingress"]);
    let filter = &bench.programs()[1];
    assert_eq!((filter.device.as_deref(), filter.position, filter.ours), (Some("eth0"), Some((1, 1)), true));
    assert_eq!(filters(&bench), 1);
    // A restarted agent that wants no device any more finds the filter without a pin.
    let none = Globs { exclude: vec!["*".to_owned()], ..Globs::default() };
    bench.datapath = Some(serving::open(bench.node(), &config).unwrap());
    let Bench { topology, desired, answering, datapath } = &mut bench;
    let datapath = datapath.as_mut().unwrap();
    serving::apply(&topology.node, datapath, desired, &answering.sockets, &none).unwrap();
    assert_eq!(filters(&bench), 0);
}

/// Another agent's programs are anybody's: they have maps of their own.
#[test]
fn programs_of_others_on_our_devices_are_listed() {
    let bench = Bench::start(&Config::default());
    let root = bench.node().bpffs().join("other");
    let config = Config { tc: Some(TcKind::Netlink), pin_root: root, ..Config::default() };
    let mut other = bench.node().run(|| Datapath::open(&config)).unwrap();
    let devices = bench.node().block_on(async || Announcer::open().unwrap().devices().await).unwrap();
    let problems = bench.node().run(|| other.set_devices(Globs::default().select(&devices)));
    assert!(problems.is_empty(), "{problems:?}");
    let listed = bench.programs();
    let of = |hook: &str| listed.iter().filter(|it| it.hook == hook).map(|it| it.ours).collect::<Vec<_>>();
    assert_eq!((of("tcx ingress"), of("clsact ingress")), (vec![true], vec![false]), "{listed:#?}");
    assert_eq!(of("sk_lookup"), [true, false], "{listed:#?}");
}

/// It is still loaded, and runs nowhere.
#[test]
fn a_program_that_lost_its_pin_is_not_listed() {
    let bench = Bench::start(&Config::default());
    assert_eq!(hooks(&bench), ["sk_lookup", "tcx ingress"]);
    let links = std::fs::read_dir(bench.root().join("v1/links")).unwrap().map(|link| link.unwrap().path());
    for link in links.filter(|link| link.file_name().unwrap().to_str().unwrap().starts_with("tc_")) {
        std::fs::remove_file(link).unwrap();
    }
    let lookup = bench.programs_once(1);
    assert_eq!(lookup.iter().map(|program| program.hook.as_str()).collect::<Vec<_>>(), ["sk_lookup"]);
}

fn hooks(bench: &Bench) -> Vec<String> {
    bench.programs_once(2).into_iter().map(|program| program.hook).collect()
}

/// Filters of ours at the ingress of `eth0`, as tc(8) sees them.
fn filters(bench: &Bench) -> usize {
    let mut tc = bench.node().command("tc").unwrap();
    let output = tc.args(["filter", "show", "dev", "eth0", "ingress"]).output().unwrap();
    String::from_utf8(output.stdout).unwrap().matches("handle 0x6768 gh_ingress").count()
}

#[test]
fn doctor_finds_a_served_node_healthy_and_names_what_is_broken() {
    let mut bench = Bench::start(&Config::default());
    let node = bench.node();
    let gather = |bench: &Bench| {
        let (devices, filters) = bench.node().block_on(async || {
            let announcer = Announcer::open().unwrap();
            let devices = announcer.devices().await.unwrap();
            let filters = announcer.filters(&devices).await.unwrap();
            (devices, filters)
        });
        bench.node().run(|| Facts::gather(&bench.root(), &devices, &filters, &Globs::default()))
    };
    let worse = |facts: &Facts| -> Vec<String> {
        let findings = facts::check(facts).into_iter().filter(|finding| finding.severity > Severity::Info);
        findings.map(|finding| finding.subject).collect()
    };
    let facts = gather(&bench);
    assert_eq!(worse(&facts), Vec::<String>::new(), "{:#?}", facts::check(&facts));
    assert_eq!(facts.ports, [(Proto::Tcp, 80), (Proto::Tcp, TCP), (Proto::Udp, UDP)]);
    assert_eq!(facts.devices.len(), 1);

    node.sysctl("net.ipv4.tcp_syncookies", "0").unwrap();
    std::fs::remove_file(bench.root().join("v1/links/gh_lookup")).unwrap();
    node.ip("link set eth0 down").unwrap();
    bench.datapath = None;
    let expected = ["gh_lookup", "eth0", "net.ipv4.tcp_syncookies"];
    let settled = || Some(worse(&gather(&bench))).filter(|subjects| *subjects == expected);
    let found = wait_for(Duration::from_secs(20), settled).unwrap_or_else(|| worse(&gather(&bench)));
    assert_eq!(found, expected);
}

#[test]
fn xdp_denies_and_says_how_it_is_attached() {
    for kind in [XdpKind::Native, XdpKind::Generic] {
        let client = format!("{CLIENT_V4}/32").parse().unwrap();
        let config = Config { xdp: Some(kind), deny: BTreeSet::from([client]), ..Config::default() };
        let mut bench = Bench::start(&config);
        let [v4, v6] = vips(TCP);
        let attempt =
            bench.topology.client.run(|| TcpStream::connect_timeout(&v4, Duration::from_millis(300)));
        assert_eq!(attempt.unwrap_err().kind(), io::ErrorKind::TimedOut);
        check(&bench.topology.client.run(|| connect(v6)).unwrap(), v6);
        let denied = bench.view().drops().unwrap().into_iter().find(|drop| drop.reason == "denied").unwrap();
        assert!(denied.count > 0);
        let hooks: Vec<String> = bench.programs_once(3).into_iter().map(|program| program.hook).collect();
        assert!(hooks.contains(&format!("xdp {}", kind.name())), "{hooks:?}");

        bench.restart(&Config { deny: BTreeSet::new(), ..config });
        assert!(bench.view().deny().unwrap().is_empty());
        check(&bench.topology.client.run(|| connect(v4)).unwrap(), v4);
        bench.restart(&Config::default());
        assert_eq!(bench.programs_once(2).len(), 2, "XDP is off by default");
    }
}

#[test]
fn entries_of_the_deny_list_that_somebody_removes_come_back() {
    let deny: BTreeSet<_> = ["198.51.100.0/24", "::/0"].map(|net| net.parse().unwrap()).into();
    let config = Config { xdp: Some(XdpKind::Generic), deny: deny.clone(), ..Config::default() };
    let mut bench = Bench::start(&config);
    let dump = |bench: &Bench| bench.view().dump("DENY").unwrap();
    let before = dump(&bench);
    assert_eq!(before.as_array().unwrap().len(), 3, "with the exception for IPv4: {before}");
    let map = MapData::from_pin(bench.root().join("v1/maps/DENY")).unwrap();
    let mut trie: LpmTrie<_, [u8; 16], u32> = Map::from_map_data(map).unwrap().try_into().unwrap();
    let keys: Vec<_> = trie.keys().collect::<Result<_, _>>().unwrap();
    keys.iter().for_each(|key| trie.remove(key).unwrap());
    assert_eq!(bench.view().deny().unwrap(), BTreeSet::new());
    bench.apply();
    assert_eq!((bench.view().deny().unwrap(), dump(&bench)), (deny, before));
}

#[test]
fn only_our_own_routes_are_touched() {
    let mut bench = Bench::start(&Config::default());
    bench.node().ip("route add local 203.0.113.99 dev lo").unwrap();
    bench.desired = desired::Datapath::default();
    bench.apply();
    let routes = bench.node().block_on(async || Announcer::open().unwrap().routes().await).unwrap();
    assert_eq!(routes, BTreeSet::new());
    // Deleting it succeeds only if it is there.
    bench.node().ip("route del local 203.0.113.99 dev lo").unwrap();
    assert_eq!(bench.view().vips().unwrap(), []);
    let vip = vips(TCP)[0];
    assert!(bench.node().run(|| connect(vip)).is_err());
}

#[test]
fn the_kernel_says_which_way_a_connection_would_go() {
    let bench = Bench::start(&Config::default());
    for (n, vip) in vips(TCP).into_iter().enumerate() {
        let from = SocketAddr::new([CLIENT_V4, CLIENT_V6][n], 40_000);
        let ask = |to| bench.node().run(|| bench.view().select(Proto::Tcp, from, to)).unwrap();
        assert_eq!(ask(vip), Selection::Listener);
        assert_eq!(ask(SocketAddr::new(vip.ip(), 81)), Selection::Rejected);
        assert_eq!(ask(SocketAddr::new(from.ip(), TCP)), Selection::Passed);
    }
}

#[test]
fn a_port_without_a_listener_is_refused_even_with_a_wildcard_listener_there() {
    let bench = Bench::start(&Config::default());
    let _foreign = bench.node().run(|| (TcpListener::bind("0.0.0.0:8443"), TcpListener::bind("[::]:8443")));
    for vip in vips(8443) {
        for netns in [&bench.topology.client, bench.node(), &bench.topology.pods] {
            let refused = netns.run(|| TcpStream::connect_timeout(&vip, Duration::from_secs(5))).unwrap_err();
            assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused, "{vip} from {}", netns.name());
        }
    }
}

#[test]
fn map_dumps_are_decoded() {
    let bench = Bench::start(&Config::default());
    let view = bench.view();
    let entries = |name: &str| view.dump(name).unwrap().as_array().unwrap().clone();
    assert_eq!(entries("VIPS").len(), 2);
    assert_eq!(entries("PORTS").len(), 6);
    assert_eq!(entries("SOCKS").len(), 4);
    assert!(entries("PORTS").iter().any(|entry| entry["key"] == "[2001:db8:f::a]:443/TCP"));
    assert!(view.dump("NONE").is_err());
}
