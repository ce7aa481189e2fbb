//! Everything that may happen to a node, in an order that nobody chose.

use std::env;
use std::ops::Range;
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open};

use crate::place::{Loads, Place, Site};

/// The order is made from this; another one can be tried with it in the environment.
const SEED: &str = "GATEHOUSE_STORM_SEED";
const LENGTH: usize = 40;

#[test]
fn nothing_else_fails_whatever_comes_together() {
    let seed = env::var_os(SEED).map_or(1, |seed| seed.to_str().unwrap().parse().unwrap());
    let place = Place::new();
    let mut storm = Storm { site: place.serve(), dice: Dice(seed), cuts: Vec::new(), backend: "one" };
    let loads = Loads::start(&storm.site);
    for _ in 0..LENGTH {
        let (name, happen) = Storm::EVENTS[storm.dice.throw(Storm::EVENTS.len())];
        println!("{name}");
        happen(&mut storm);
        storm.pause();
    }
    let Storm { mut site, cuts, backend, .. } = storm;
    site.node.wait_serving().unwrap();
    site.wait_answered_by(backend);
    loads.stop().disturbed_only_by(&cuts);
    let alone = || (place.topology.node.processes().len() == 2).then_some(());
    site.node.wait("one agent and one proxy", |_| alone()).unwrap();
}

/// What happens, and how.
type Event<S> = (&'static str, fn(&mut S));

struct Storm<'a> {
    site: Site<'a>,
    dice: Dice,
    /// When a proxy died.
    cuts: Vec<Range<Instant>>,
    /// To which the routes lead.
    backend: &'static str,
}

impl Storm<'_> {
    const EVENTS: [Event<Self>; 13] = [
        ("routes change", Self::route),
        ("routes change again", Self::route),
        ("the certificate is rotated", |storm| drop(storm.site.rotate())),
        ("a listener comes or goes", |storm| storm.site.with_listener(storm.dice.throw(2) == 0)),
        ("a file is broken", |storm| storm.site.node.write("other.yaml", "kind: Gateway\nspec: [").unwrap()),
        ("the file is mended", |storm| storm.site.node.write("other.yaml", "").unwrap()),
        ("the agent is killed", Self::kill_agent),
        ("the agent is upgraded", Self::upgrade),
        ("the proxy is killed", Self::kill_proxy),
        ("the proxy is killed while the agent is frozen", Self::kill_proxy_unseen),
        ("the proxy is replaced", |storm| drop(storm.site.node.gatectl(&["replace-proxy"]))),
        ("proxy and agent are cut off", |storm| drop(storm.site.node.cut_connections("control.sock"))),
        ("agent or proxy is frozen", Self::freeze),
    ];

    fn pause(&mut self) {
        thread::sleep(Duration::from_millis(self.dice.throw(300) as u64));
    }

    fn route(&mut self) {
        self.backend = ["one", "two"][self.dice.throw(2)];
        self.site.route_to(self.backend);
    }

    fn kill_agent(&mut self) {
        self.site.node.kill_agent().unwrap();
        self.pause();
        self.site.node.start_agent().unwrap();
    }

    fn upgrade(&mut self) {
        // Sooner, the signal would end it as any process.
        self.site.node.wait("the agent's word", |node| node.agent_status().ok()).unwrap();
        self.site.node.stop_agent().unwrap();
        self.site.node.start_agent().unwrap();
    }

    /// Agent and successor hold the sockets before and after: they would go with the two of them.
    fn kill_proxy(&mut self) {
        self.site.node.wait_serving().unwrap();
        self.cuts.push(self.site.node.kill_proxy().unwrap());
        self.site.node.wait_serving().unwrap();
    }

    fn kill_proxy_unseen(&mut self) {
        let Self { site, cuts, .. } = self;
        site.node.wait_serving().unwrap();
        let agent = process(site.node.agent().unwrap());
        let before = site.node.proxies().unwrap();
        kill_process(agent, Signal::STOP).unwrap();
        cuts.extend(before.iter().map(|pid| kill(process(*pid))));
        self.pause();
        kill_process(agent, Signal::CONT).unwrap();
        let seen = |now: Vec<u32>| before.iter().all(|pid| !now.contains(pid));
        let node = &mut self.site.node;
        node.wait("the agent to see it", |node| node.proxies().is_ok_and(seen).then_some(())).unwrap();
        node.wait_serving().unwrap();
    }

    fn freeze(&mut self) {
        let node = &self.site.node;
        let frozen = if self.dice.throw(2) == 0 {
            node.agent().into_iter().collect()
        } else {
            node.proxies().unwrap_or_default()
        };
        for signal in [Signal::STOP, Signal::CONT] {
            // It may have ended by itself.
            frozen.iter().for_each(|pid| _ = kill_process(process(*pid), signal));
            self.pause();
        }
    }
}

fn process(pid: u32) -> Pid {
    Pid::from_raw(i32::try_from(pid).unwrap()).unwrap()
}

/// The time in which it died, though its parent may not have looked yet.
fn kill(pid: Pid) -> Range<Instant> {
    let handle = pidfd_open(pid, PidfdFlags::empty()).unwrap();
    let hit = Instant::now();
    kill_process(pid, Signal::KILL).unwrap();
    poll(&mut [PollFd::new(&handle, PollFlags::IN)], None).unwrap();
    hit..Instant::now()
}

/// SplitMix64: the same throws from the same seed, on every machine.
struct Dice(u64);

impl Dice {
    fn throw(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ (mixed >> 31)) % sides as u64).unwrap()
    }
}
