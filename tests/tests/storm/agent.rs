//! The agent dies and comes back; the data plane does not care.

use std::thread;

use crate::CALM;
use crate::place::{Held, Loads, Place};

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
    for _ in 0..5 {
        thread::sleep(CALM);
        site.node.stop_agent().unwrap();
        site.node.start().unwrap();
    }
    held.exchange();
    loads.stop().undisturbed();
    assert_eq!(site.node.proxies().unwrap(), proxy, "the proxy was replaced");
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
