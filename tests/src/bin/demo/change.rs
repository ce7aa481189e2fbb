//! Routes change while clients are at work, and no request fails.

use std::thread;
use std::time::Duration;

use anyhow::{Result, ensure};
use gatehouse_tests::client::{Target, get};
use gatehouse_tests::load::{Load, Plan};

use crate::scene::Scene;
use crate::show::told;

const CHANGES: usize = 20;

pub(crate) fn under_load(scene: &mut Scene<'_>) -> Result<bool> {
    println!("\nRoutes change {CHANGES} times under load …\n");
    let outcome = change(scene);
    Ok(told("a route change under load", outcome))
}

fn change(scene: &mut Scene<'_>) -> Result<String> {
    let client = &scene.place.topology.client;
    let target = Target::http(scene.v4(80));
    let routes = scene.node.source().join("routes.yaml");
    let first = std::fs::read_to_string(&routes)?;
    let second = first.replacen("- name: shop\n", "- name: blog\n", 1);
    ensure!(first != second, "the examples have no backend `shop` to replace");
    let kept = Load::start(client, Plan::new(target.clone(), "shop.example.com", "/hello"))?;
    let fresh = Plan::new(target.clone(), "shop.example.com", "/hello").new_connections();
    let fresh = Load::start(client, fresh)?;
    for change in 1..=CHANGES {
        let (yaml, backend) = if change % 2 == 0 { (&first, "shop") } else { (&second, "blog") };
        scene.node.write("routes.yaml", yaml)?;
        scene.node.wait("the changed route to be served", |_| {
            let reply = get(client, &target, "shop.example.com", "/hello").ok()?;
            (reply.echo().ok()?.backend == backend).then_some(())
        })?;
        thread::sleep(Duration::from_millis(50));
    }
    let (kept, fresh) = (kept.stop()?, fresh.stop()?);
    ensure!(kept.failures.is_empty(), "on kept connections: {kept}");
    ensure!(fresh.failures.is_empty(), "on new connections: {fresh}");
    ensure!(kept.connections == 8, "a kept connection was cut: {kept}");
    let requests = kept.answered + fresh.answered;
    let connections = kept.connections + fresh.connections;
    Ok(format!("{requests} requests on {connections} connections, none failed"))
}
