//! The agent dies and comes back; the data plane does not care.

use std::collections::BTreeSet;
use std::fs;
use std::net::IpAddr;
use std::os::unix::net::UnixStream;
use std::process::Command;
use std::thread;
use std::time::Duration;

use gatehouse_tests::client::get;
use gatehouse_tests::netns::Netns;
use gatehouse_tests::node::Node;
use gatehouse_tests::process::{Process, wait_for};
use gateway_agent::announce::Announcer;
use rustix::process::Signal;
use serde_json::Value;

use crate::CALM;
use crate::place::{HOST, Held, Loads, PATIENCE, Place, Site};

#[test]
fn nobody_notices_that_the_agent_is_killed() {
    let place = Place::new();
    let mut site = place.serve();
    let mut held = Held::open(&site);
    let loads = Loads::start(&site);
    for _ in 0..5 {
        thread::sleep(CALM);
        site.node.kill_agent().unwrap();
        thread::sleep(CALM);
        held.exchange();
        site.node.start().unwrap();
    }
    held.exchange();
    loads.stop().undisturbed();
}

#[test]
fn nobody_notices_that_the_agent_is_upgraded() {
    let place = Place::new();
    let mut site = place.serve();
    let mut held = Held::open(&site);
    let proxy = site.node.proxies().unwrap();
    let loads = Loads::start(&site);
    let mut before = programs(&site);
    for _ in 0..5 {
        thread::sleep(CALM);
        site.node.stop_agent().unwrap();
        site.node.start().unwrap();
        let after = programs(&site);
        assert!(after.is_disjoint(&before), "{after:?} instead of {before:?}");
        before = after;
    }
    held.exchange();
    loads.stop().undisturbed();
    assert_eq!(site.node.proxies().unwrap(), proxy, "the proxy was replaced");
}

/// Ids of the programs of ours that run.
fn programs(site: &Site<'_>) -> BTreeSet<u64> {
    let listed: Vec<Value> = site.node.gatectl_json(&["prog", "list"]).unwrap();
    let ids: BTreeSet<u64> =
        listed.iter().filter(|it| it["ours"] == true).filter_map(|it| it["id"].as_u64()).collect();
    assert!(ids.len() >= 2, "{listed:?}");
    ids
}

#[test]
fn one_that_waits_for_its_predecessor_hears_signals() {
    let place = Place::new();
    let site = place.serve();
    let folder = site.node.folder();
    let mut command = place.topology.node.command(folder.join("bin/gateway-agent")).unwrap();
    command.arg("run").arg("--source").arg(site.node.source());
    command.arg("--runtime-dir").arg(folder.join("run")).arg("--state-dir").arg(folder.join("state"));
    let mut successor = Process::start("gateway-agent", command, &folder.join("successor")).unwrap();
    let waits = || successor.log().contains("waiting for the former agent").then_some(());
    assert!(wait_for(PATIENCE, waits).is_some(), "{}", successor.log());
    successor.signal(Signal::HUP).unwrap();
    thread::sleep(CALM);
    assert_eq!(successor.ended(), None, "{}", successor.log());
    let status = successor.stop(PATIENCE).unwrap();
    assert!(status.success(), "{status}: {}", successor.log());
    assert_eq!(site.answered_by().unwrap(), "one");
}

#[test]
fn the_next_agent_takes_up_what_changed_meanwhile() {
    let place = Place::new();
    let mut site = place.serve();
    let loads = Loads::start(&site);
    site.node.kill_agent().unwrap();
    site.route_to("two");
    thread::sleep(CALM);
    assert_eq!(site.answered_by().unwrap(), "one", "there is nobody to take the change up");
    site.node.start().unwrap();
    site.wait_answered_by("two");
    loads.stop().undisturbed();
}

#[test]
fn a_running_agent_puts_back_what_somebody_removed() {
    let place = Place::new();
    let mut site = place.serve();
    let node = &place.topology.node;
    fs::remove_dir_all(node.bpffs().join("gatehouse")).unwrap();
    site.node
        .wait("a word about the pins", |node| {
            let log = node.log();
            let line = log.lines().find(|line| line.contains("somebody removed parts of the datapath"))?;
            ["map VIPS", "program gh_lookup", "link of eth0"].iter().all(|it| line.contains(it)).then_some(())
        })
        .unwrap();
    site.wait_answered_by("one");
    let target = site.http();
    let local = || (get(node, &target, HOST, "/").ok()?.status == 200).then_some(());
    site.node.wait("an answer to the node itself", |_| local()).unwrap();
}

#[test]
fn routes_that_went_are_back_at_once() {
    let place = Place::new();
    let mut site = place.serve();
    let node = &place.topology.node;
    for _ in 0..2 {
        for script in ["link set lo down\nlink set lo up", "route del local 192.0.2.1 dev lo proto 71"] {
            let script = script.replace("192.0.2.1", &site.v4.to_string());
            let before = routes(node);
            node.ip(&script).unwrap();
            let back = wait_for(AT_ONCE, || (routes(node) == before).then_some(()));
            assert!(back.is_some(), "{script}: {:?} of {before:?}", routes(node));
        }
    }
    site.wait_answered_by("one");
}

/// Much less than the agent takes to look by itself.
const AT_ONCE: Duration = Duration::from_secs(5);

fn routes(node: &Netns) -> BTreeSet<IpAddr> {
    node.block_on(async || Announcer::open().unwrap().routes().await).unwrap()
}

/// No socket of a healthy kernel fails so: the agent's libc says that it does.
#[test]
fn an_agent_that_loses_a_task_by_a_simulated_failure_says_so_and_its_successor_goes_on() {
    let place = Place::new();
    let shim = place.topology.node.folder().join("accept.so");
    let source = shim.with_extension("c");
    fs::write(&source, FAILING_ACCEPT).unwrap();
    let built = Command::new("cc").args(["-shared", "-fPIC", "-o"]).arg(&shim).arg(&source).status();
    assert!(built.unwrap().success());
    let mut site = place.serve_with(|node| node.with_variable("LD_PRELOAD", shim));
    let mut held = Held::open(&site);
    let loads = Loads::start(&site);
    for (socket, task) in [("control.sock", "control socket"), ("agent.sock", "admin socket")] {
        let socket = site.node.folder().join("run").join(socket);
        let broken = socket.with_extension("sock.broken");
        fs::write(&broken, "").unwrap();
        let _woken = UnixStream::connect(&socket).unwrap();
        let status = site.node.wait_agent_ended().unwrap();
        assert_eq!(status.code(), Some(1), "{status}");
        let words = format!("the task `{task}` ended: Invalid argument");
        assert!(site.node.log().contains(&words), "{words}\n{}", site.node.log());
        held.exchange();
        fs::remove_file(&broken).unwrap();
        site.node.start().unwrap();
    }
    loads.stop().undisturbed();
}

/// `accept4` on a Unix socket fails while there is a file of its name and `.broken`.
const FAILING_ACCEPT: &str = r#"
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

int accept4(int fd, struct sockaddr *peer, socklen_t *length, int flags) {
    struct sockaddr_un own;
    socklen_t own_length = sizeof own;
    char mark[256];
    if (getsockname(fd, (struct sockaddr *)&own, &own_length) == 0 && own.sun_family == AF_UNIX) {
        snprintf(mark, sizeof mark, "%s.broken", own.sun_path);
        if (access(mark, F_OK) == 0) {
            errno = EINVAL;
            return -1;
        }
    }
    return syscall(SYS_accept4, fd, peer, length, flags);
}
"#;

#[test]
fn nobody_notices_that_the_log_has_no_reader() {
    let place = Place::new();
    let mut site = place.serve_with(Node::with_broken_log);
    let loads = Loads::start(&site);
    let agent = site.node.agent();
    site.route_to("two");
    site.wait_answered_by("two");
    site.node.replace_proxy().unwrap();
    loads.stop().without_failures();
    assert_eq!(site.node.agent(), agent);
    site.node.stop_agent().unwrap();
}

#[test]
fn a_log_that_is_no_terminal_has_no_colours() {
    let place = Place::new();
    let site = place.serve();
    let log = site.node.log();
    assert!(log.contains("started a proxy") && log.contains("gateway_proxy"), "{log}");
    assert!(!log.contains('\x1b'), "{log}");
}
