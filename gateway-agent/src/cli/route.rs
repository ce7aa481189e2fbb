//! `gatectl route list` and `gatectl route test`.

use std::process::ExitCode;

use anyhow::Context;
use clap::{Args, Subcommand};
use gateway_common::admin::{RouteAnswer, RouteBackend, RouteQuery, RouteResult, RouteStatus};
use gateway_common::ir::GatewayId;
use hyper::Method;

use super::output::{Format, or_dash, print, say, structured};
use super::{Paths, client};

#[derive(Subcommand, Debug)]
pub enum Command {
    /// Each route, where it is attached, its matches and backends.
    List,
    /// The rule, filters, backends and source object that a request would get. Nothing is sent.
    #[command(after_help = TEST_EXAMPLES)]
    Test(Test),
}

const TEST_EXAMPLES: &str = "Examples:
  gatectl route test --host shop.example.com --path '/cart?debug=1'
  gatectl route test --host api.example.com --path /v2 --method POST --header x-canary=always
Exit code: 0 a backend would be asked or a filter answers, 3 no route matches (404, or the connection is closed), 4 a route matches but the client gets an error.";

#[derive(Args, Debug)]
pub struct Test {
    /// Host header or :authority.
    #[arg(long)]
    host: String,
    /// Path and query.
    #[arg(long, default_value = "/")]
    path: String,
    #[arg(long, default_value = "GET")]
    method: String,
    /// NAME=VALUE, repeatable.
    #[arg(long = "header", value_parser = header)]
    headers: Vec<(String, String)>,
    /// Only this Gateway (namespace/name); otherwise all.
    #[arg(long)]
    gateway: Option<String>,
    /// Only this port.
    #[arg(long)]
    port: Option<u16>,
}

fn header(text: &str) -> Result<(String, String), String> {
    let (name, value) =
        text.split_once('=').ok_or_else(|| format!("`{text}` is not NAME=VALUE, as x-canary=always"))?;
    Ok((name.to_ascii_lowercase(), value.to_owned()))
}

pub(super) fn run(command: Command, paths: &Paths, format: Format) -> anyhow::Result<ExitCode> {
    client::note_dead_agent(paths);
    match command {
        Command::List => {
            let routes: Vec<RouteStatus> = client::from_current(paths, &Method::GET, "/routes", &[])?;
            let header = [
                "ROUTE",
                "GATEWAY",
                "PORT",
                "LISTENER",
                "HOSTNAMES",
                "RULE",
                "MATCHES",
                "FILTERS",
                "BACKENDS",
            ];
            print(format, &routes, &header, || routes.iter().flat_map(list_rows))?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Test(test) => {
            let query = test.query();
            let body = serde_json::to_vec(&query)?;
            let answer: RouteAnswer = client::from_current(paths, &Method::POST, "/route-test", &body)
                .context("asking the proxy")?;
            show(&answer, &query, format)?;
            Ok(ExitCode::from(verdict(&answer)))
        }
    }
}

impl Test {
    fn query(self) -> RouteQuery {
        let Self { host, path, method, headers, gateway, port } = self;
        RouteQuery { gateway: gateway.map(GatewayId::new), port, host, path, method, headers }
    }
}

fn list_rows(route: &RouteStatus) -> Vec<Vec<String>> {
    let names = if route.hostnames.is_empty() { "*".to_owned() } else { route.hostnames.join(",") };
    let rule = |(number, rule): (usize, &gateway_common::admin::RuleSummary)| {
        vec![
            route.id.to_string(),
            route.gateway.to_string(),
            route.port.to_string(),
            route.listener.clone(),
            names.clone(),
            rule.name.clone().unwrap_or_else(|| number.to_string()),
            or_dash(Some(rule.matches.join(" | ")).filter(|text| !text.is_empty())),
            or_dash(Some(rule.filters.join(",")).filter(|text| !text.is_empty())),
            or_dash(Some(rule.backends.join(", ")).filter(|text| !text.is_empty())),
        ]
    };
    route.rules.iter().enumerate().map(rule).collect()
}

fn show(answer: &RouteAnswer, query: &RouteQuery, format: Format) -> anyhow::Result<()> {
    if format != Format::Table {
        return say(structured(format, answer)?.trim_end());
    }
    if answer.results.is_empty() {
        say(format_args!("no HTTP listener takes host {} (404 or no connection)", query.host))?;
    }
    answer.results.iter().try_for_each(describe)
}

fn describe(result: &RouteResult) -> anyhow::Result<()> {
    let listener = or_dash(result.listener.as_ref());
    say(format_args!("gateway   {} port {} listener {listener}", result.gateway, result.port))?;
    match &result.route {
        None => say("route     none matches")?,
        Some(route) => {
            let rule = result.rule.map_or_else(String::new, |number| format!(" rule {number}"));
            let name = result.rule_name.as_ref().map_or_else(String::new, |name| format!(" ({name})"));
            say(format_args!("route     {route}{rule}{name}"))?;
            say(format_args!("match     {}", or_dash(result.matched.as_ref())))?;
        }
    }
    for filter in &result.filters {
        say(format_args!("filter    {}", serde_json::to_string(filter)?))?;
    }
    for backend in &result.backends {
        let id = or_dash(backend.id.as_ref());
        say(format_args!("backend   {id} weight {} endpoints {}", backend.weight, backend.endpoints))?;
    }
    let answer = match (result.status, fate(result)) {
        (Some(code), _) => code.to_string(),
        (None, Fate::Served) => "from the backend".to_owned(),
        (None, Fate::Unmatched) => "none: the connection is closed".to_owned(),
        (None, Fate::Failed) => "none: no backend has an endpoint".to_owned(),
    };
    say(format_args!("answer    {answer}\n"))
}

/// What becomes of the client.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Fate {
    Served,
    Unmatched,
    Failed,
}

fn fate(result: &RouteResult) -> Fate {
    let answers = |to: &RouteBackend| to.weight > 0 && to.id.is_some() && to.endpoints > 0;
    match result.status {
        Some(404) => Fate::Unmatched,
        Some(status) if status >= 400 => Fate::Failed,
        Some(_) => Fate::Served,
        None if result.route.is_none() => Fate::Unmatched,
        None if result.backends.iter().any(answers) => Fate::Served,
        None => Fate::Failed,
    }
}

/// Of several Gateways the luckiest counts.
fn verdict(answer: &RouteAnswer) -> u8 {
    match answer.results.iter().map(fate).min() {
        Some(Fate::Served) => 0,
        Some(Fate::Unmatched) | None => 3,
        Some(Fate::Failed) => 4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use gateway_common::ir::{BackendId, RouteId};

    #[test]
    fn only_who_is_answered_is_served() {
        let result = |status, routed: bool, backends: &[(u32, bool, usize)]| RouteResult {
            gateway: GatewayId::new("a/gw"),
            port: 443,
            listener: None,
            route: routed.then(|| RouteId::new("TLSRoute/a/r")),
            rule: None,
            rule_name: None,
            matched: None,
            filters: Vec::new(),
            backends: backends
                .iter()
                .map(|(weight, resolved, endpoints)| RouteBackend {
                    id: resolved.then(|| BackendId::new("a/s:1")),
                    weight: *weight,
                    endpoints: *endpoints,
                })
                .collect(),
            status,
        };
        for (results, wanted) in [
            (vec![result(None, true, &[(1, true, 1)])], 0),
            (vec![result(Some(302), true, &[])], 0),
            (vec![result(None, false, &[])], 3),
            (vec![result(Some(404), false, &[])], 3),
            (vec![], 3),
            (vec![result(None, true, &[(1, true, 0), (1, false, 0)])], 4),
            (vec![result(None, true, &[(0, true, 1)])], 4),
            (vec![result(Some(503), true, &[])], 4),
            (vec![result(Some(404), false, &[]), result(None, true, &[(1, true, 1)])], 0),
        ] {
            assert_eq!(verdict(&RouteAnswer { results: results.clone() }), wanted, "{results:?}");
        }
    }
}
