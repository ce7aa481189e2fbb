//! What changes something: another proxy, and the node as it was before.

use std::process::Command;

use crate::scene::{Held, Place};

#[test]
fn a_connection_survives_the_proxy_s_replacement_and_cleanup_leaves_nothing() {
    leave(&[], "tcx ingress");
}

/// Filters of `clsact` have no pin that could end them.
#[test]
fn cleanup_takes_filters_away_too() {
    leave(&["--tc", "netlink"], "clsact ingress");
}

fn leave(arguments: &[&str], hook: &str) {
    let place = Place::new();
    let mut scene = place.serve_with(arguments);
    let loaded = scene.gatectl(&["prog", "list"]);
    assert!(loaded.contains(hook), "{loaded}");
    let mut held = Held::open(&scene);
    let old = scene.node.proxies().unwrap();
    let said = scene.gatectl(&["replace-proxy"]);
    assert!(said.contains("drains"), "{said}");
    let new = scene
        .node
        .wait("another proxy", |node| {
            let proxies = node.proxies().ok()?;
            (!proxies.is_empty() && proxies != old).then_some(proxies)
        })
        .unwrap();
    held.exchange();
    assert!(scene.gatectl(&["conn", "list"]).contains(&held.client().to_string()), "it drains");
    drop(held);
    scene.wait_answered();
    let (v4, v6) = (scene.v4.to_string(), scene.v6.to_string());
    let routes = scene.routes();
    assert!(routes.contains(&v4) && routes.contains(&v6), "{routes}");
    let pins = place.topology.node.bpffs().join("gatehouse");
    assert!(pins.exists());

    scene.node.stop_agent().unwrap();
    let folder = scene.node.folder();
    let copies = folder.join("state/last-good");
    assert!(copies.exists());
    let mut cleanup = place.topology.node.command(folder.join("bin/gateway-agent")).unwrap();
    // Whoever leaves may have removed the objects first.
    std::fs::remove_dir_all(scene.node.source()).unwrap();
    cleanup.arg("cleanup").arg("--source").arg(scene.node.source()).args(["--drain-deadline", "2s"]);
    cleanup.arg("--runtime-dir").arg(folder.join("run")).arg("--state-dir").arg(folder.join("state"));
    let output = cleanup.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));

    assert_eq!(scene.routes(), "");
    assert_eq!(filters(&place, "eth0"), "");
    assert!(!pins.exists());
    assert_eq!(place.topology.node.processes(), [] as [i32; 0], "old {old:?}, new {new:?}");
    assert!(!folder.join("run").exists() && !copies.exists());
}

/// The TC filters at a device's ingress.
fn filters(place: &Place, device: &str) -> String {
    let name = place.topology.node.name();
    let output = Command::new("tc").args(["-n", name, "filter", "show", "dev", device, "ingress"]).output();
    let output = output.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}
