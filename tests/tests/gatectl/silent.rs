//! The agent says nothing, or that it cannot: gatectl says why.

use std::process::Command;

use rustix::process::{Pid, Signal, kill_process};

use crate::explain::broken;
use crate::scene::{HOST, Place, Scene};

#[test]
fn a_silent_agent_is_not_called_dead() {
    let place = Place::new();
    let mut scene = place.serve();
    without_rights(&scene);
    foreign_proxy(&mut scene);
    // Last: what it is asked while it hangs, the agent does when it goes on.
    hung(&scene);
}

fn process(pid: u32) -> Pid {
    Pid::from_raw(i32::try_from(pid).unwrap()).unwrap()
}

fn hung(scene: &Scene<'_>) {
    let agent = process(scene.node.agent().unwrap());
    kill_process(agent, Signal::STOP).unwrap();
    let explained = scene.gatectl(&["explain", &scene.at(80), "--host", HOST]);
    let (listed, _, list_noted) = scene.ends(&["vip", "list"]);
    let (code, _, noted) = scene.ends(&["replace-proxy"]);
    kill_process(agent, Signal::CONT).unwrap();
    assert_eq!((listed, code), (0, 1));
    for said in [explained, list_noted, noted] {
        assert!(said.contains("the agent runs and does not answer"), "{said}");
        assert!(!said.contains("not running") && !said.contains(" start gateway-agent"), "{said}");
    }
}

fn without_rights(scene: &Scene<'_>) {
    let root = scene.node.gatectl_command().unwrap();
    let mut command = scene.place.topology.node.command("setpriv").unwrap();
    command.args(["--reuid", "65534", "--regid", "65534", "--clear-groups"]).arg(root.get_program());
    command.args(root.get_args());
    let said = |command: &mut Command| {
        let output = command.output().unwrap();
        let text = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8(text).unwrap())
    };
    let (code, text) = said(command.args(["explain", &scene.at(80), "--host", HOST]));
    assert_ne!(code, Some(0), "{text}");
    assert!(text.contains("run gatectl as root"), "{text}");
    assert!(!text.contains("not running") && !text.contains(" start gateway-agent"), "{text}");
}

/// `--proxy connect`: what the agent did not start, it does not replace.
fn foreign_proxy(scene: &mut Scene<'_>) {
    let proxy = scene.node.proxies().unwrap();
    scene.node.stop_agent().unwrap();
    scene.node.connect_only();
    scene.node.start().unwrap();
    let (code, said, noted) = scene.ends(&["replace-proxy"]);
    assert_eq!((code, said.as_str()), (1, ""), "{noted}");
    assert!(noted.contains("whoever started the proxy must start another"), "{noted}");
    kill_process(process(proxy[0]), Signal::STOP).unwrap();
    let (_, remedy) = broken(scene, &[&scene.at(80)], 17, "proxy");
    kill_process(process(proxy[0]), Signal::CONT).unwrap();
    assert!(remedy.contains("--proxy connect") && !remedy.contains("replace-proxy"), "{remedy}");
    assert_eq!(scene.node.proxies().unwrap(), proxy);
}
