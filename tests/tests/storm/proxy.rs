//! The proxy dies, or is replaced.

use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process, test_kill_process};

use crate::CALM;
use crate::place::{Held, Loads, Place, Site};

/// Connections that the killed proxy had may end; none that a client opens afterwards.
#[test]
fn only_its_own_connections_notice_that_the_proxy_is_killed() {
    let place = Place::new();
    let mut site = place.serve();
    let loads = Loads::start(&site);
    let mut cuts = Vec::new();
    for _ in 0..5 {
        thread::sleep(CALM);
        cuts.push(site.node.kill_proxy().unwrap());
        site.node.wait_serving().unwrap();
    }
    thread::sleep(CALM);
    loads.stop().disturbed_only_by(&cuts);
}

#[test]
fn no_request_fails_when_the_proxy_is_replaced() {
    let place = Place::new();
    let mut site = place.serve();
    let loads = Loads::start(&site);
    for _ in 0..5 {
        let mut held = Held::open(&site);
        thread::sleep(CALM);
        site.node
            .replace_proxy_while(move || {
                held.exchange();
                thread::sleep(CALM);
                held.exchange();
            })
            .unwrap();
    }
    thread::sleep(CALM);
    loads.stop().without_failures();
}

#[test]
fn one_proxy_is_left_when_the_agent_dies_while_it_replaces_one() {
    let place = Place::new();
    let mut site = place.serve();
    let loads = Loads::start(&site);
    for delay in [0, 80, 160] {
        let asked = site.node.gatectl(&["replace-proxy"]).unwrap();
        assert!(asked.status.success(), "{asked:?}");
        wait_processes(&mut site, 3);
        thread::sleep(Duration::from_millis(delay));
        site.node.kill_agent().unwrap();
        site.node.start().unwrap();
        wait_alone(&mut site);
    }
    loads.stop().without_failures();
}

/// The agent that starts meanwhile finds nobody who brings sockets, and opens its own.
#[test]
fn one_proxy_is_left_when_one_that_hung_comes_back() {
    let place = Place::new();
    let mut site = place.serve();
    let mut held = Held::open(&site);
    let hung = site.node.proxies().unwrap()[0];
    let process = Pid::from_raw(i32::try_from(hung).unwrap()).unwrap();
    site.node.kill_agent().unwrap();
    // Not before: the kernel hangs up stopped processes that lose their parent.
    kill_process(process, Signal::STOP).unwrap();
    site.node.start().unwrap();
    let second = site.node.proxies().unwrap();
    assert!(second.len() == 1 && second != [hung], "{second:?}, {hung} hung");
    let loads = Loads::start(&site);
    thread::sleep(CALM);
    kill_process(process, Signal::CONT).unwrap();
    held.exchange();
    drop(held);
    let ended = || test_kill_process(process).is_err().then_some(());
    site.node.wait("the one that hung to drain and to end", |_| ended()).unwrap();
    assert_eq!(site.node.proxies().unwrap(), second);
    // While it hung, the kernel gave its sockets their share of the datagrams: they are bound to the same address.
    loads.stop().without_failures_but(&["UDP, new sessions"]);
}

/// Waits until agent and one proxy are the only processes of the node.
fn wait_alone(site: &mut Site<'_>) {
    wait_processes(site, 2);
    site.node.wait_serving().unwrap();
}

fn wait_processes(site: &mut Site<'_>, count: usize) {
    let place = site.place;
    let settled = || (place.topology.node.processes().len() == count).then_some(());
    site.node.wait(&format!("{count} processes on the node"), |_| settled()).unwrap();
}
