//! The proxy dies, or is replaced.

use std::thread;

use crate::CALM;
use crate::place::{Loads, Place};

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
        thread::sleep(CALM);
        site.node.replace_proxy().unwrap();
    }
    thread::sleep(CALM);
    loads.stop().without_failures();
}
