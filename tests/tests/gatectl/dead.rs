//! The agent is dead, and gatectl still says what it can.

use crate::scene::{GATEWAY, HOST, Held, Place};

#[test]
fn most_commands_need_no_agent() {
    let place = Place::new();
    let mut scene = place.serve();
    let held = Held::open(&scene);
    scene.node.kill_agent().unwrap();
    for (arguments, shows) in [
        (&["vip", "list"][..], GATEWAY),
        (&["listener", "list"], GATEWAY),
        (&["route", "list"], HOST),
        (&["route", "test", "--host", HOST], "from the backend"),
        (&["conn", "list"], &held.client().to_string()),
        (&["backend", "list"], "10.0.1.2:8080"),
        (&["drops", "--all"], "no_listener_reject"),
        (&["map", "dump", "VIPS"], &scene.v4.to_string()),
        (&["prog", "list"], "sk_lookup"),
        (&["get", "gateway"], "Programmed"),
        (&["doctor"], "kernel"),
    ] {
        let (code, said, noted) = scene.ends(arguments);
        assert_eq!(code, 0, "{arguments:?}: {said}{noted}");
        assert!(said.contains(shows), "{arguments:?}: {said}");
        assert!(noted.contains("the agent is not running"), "{arguments:?}: {noted}");
    }
    let said = scene.gatectl(&["explain", &scene.at(80), "--host", HOST]);
    assert!(said.contains("the agent is not running"), "{said}");
    let (code, _, noted) = scene.ends(&["-o", "json", "replace-proxy"]);
    assert_eq!(code, 1);
    assert!(noted.contains("start gateway-agent"), "{noted}");
    scene.node.start_agent().unwrap();
    for _ in 0..50 {
        // It has not looked at its source yet, or at nothing else.
        let (code, said, noted) = scene.ends(&["get", "gateway"]);
        assert!(code == 0 && said.contains("public"), "{code}: {said}{noted}");
        let (code, _, noted) = scene.ends(&["get", "gateway", "public"]);
        assert_eq!(code, 0, "{noted}");
    }
    scene.node.wait_serving().unwrap();
    let (_, _, noted) = scene.ends(&["vip", "list"]);
    assert_eq!(noted, "");
}
