//! `cargo xtask cluster status`.
#![expect(clippy::print_stdout, reason = "a task talks to its user")]

use anyhow::Result;
use clap::ValueEnum;
use gatehouse_cluster::cluster::{Node, Running, Status};

#[derive(clap::Args)]
pub(crate) struct Args {
    #[arg(long, short, default_value = "text")]
    output: Output,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Output {
    Text,
    Json,
}

pub(super) fn run(args: &Args, cluster: &Running) -> Result<()> {
    let status = Status::of(cluster);
    match args.output {
        Output::Json => println!("{}", serde_json::to_string_pretty(&status)?),
        Output::Text => print!("{}", text(&status)),
    }
    Ok(())
}

fn text(status: &Status) -> String {
    let Status { name, folder, kubeconfig, options, api_server_ready, nodes, processes, memory } = status;
    let word = if *api_server_ready { "ready" } else { "NOT READY" };
    let mut text = format!(
        "cluster {name}: API server {word}, {} nodes, {} CNI, kube-proxy {}, Gateway API {} {}, {} MiB\n\
         folder {}\nkubeconfig {}\n\n",
        nodes.len(),
        options.cni,
        options.kube_proxy,
        options.gateway_api,
        options.channel,
        mebibytes(*memory),
        folder.display(),
        kubeconfig.display(),
    );
    for node in nodes {
        text += &format!(
            "{:<6}{:<24}{:<28}{}\n",
            node.name,
            state(node),
            node.addresses.join(" "),
            node.cidrs.join(" ")
        );
    }
    text.push('\n');
    for process in processes {
        let alive =
            if process.alive { format!("{} MiB", mebibytes(process.memory)) } else { "dead".to_owned() };
        text += &format!("{:<22}{:>8}{:>10}\n", process.name, process.pid, alive);
    }
    text
}

/// In one or two words.
fn state(node: &Node) -> String {
    let odd = [
        (!node.state.on, "off"),
        (node.state.frozen, "frozen"),
        (node.state.on && !node.state.carrier, "no carrier"),
        (node.state.on && !node.state.connected, "partitioned"),
    ];
    let odd: Vec<&str> = odd.iter().filter(|(is, _)| *is).map(|(_, word)| *word).collect();
    let ready = if node.ready { "Ready" } else { "NotReady" };
    if odd.is_empty() { ready.to_owned() } else { format!("{ready}, {}", odd.join(", ")) }
}

fn mebibytes(bytes: u64) -> u64 {
    bytes >> 20
}
