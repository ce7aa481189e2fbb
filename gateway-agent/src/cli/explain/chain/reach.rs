//! The links behind the proxy: what the route sends to, and whether that can be reached.

use super::{Facts, Judgement, PathMtu, Target, broken, ok, skipped, warning};

/// Backends that get traffic.
fn weighted(facts: &Facts) -> impl Iterator<Item = &Target> {
    facts.backends.iter().filter(|backend| backend.weight > 0)
}

/// The route has backends that get traffic, and none of them has an endpoint.
pub(super) fn without_endpoints(facts: &Facts) -> bool {
    weighted(facts).any(|backend| backend.id.is_some()) && !weighted(facts).any(Target::answers)
}

pub(super) fn endpoints(facts: &Facts) -> Judgement {
    let remedy = "are Pods of the Service ready? `kubectl get endpointslices` in its namespace; does the reference resolve? `gatectl get`";
    let lacking: Vec<&Target> = weighted(facts).filter(|backend| !backend.answers()).collect();
    let names: Vec<_> = lacking.iter().map(|backend| backend.name()).collect();
    if !lacking.is_empty() && !weighted(facts).any(Target::answers) {
        return broken(
            format!("no endpoint behind {}: clients get no answer, or 503", names.join(", ")),
            remedy,
        );
    }
    if !lacking.is_empty() {
        let of = |backends: &mut dyn Iterator<Item = &Target>| -> u64 {
            backends.map(|backend| u64::from(backend.weight)).sum()
        };
        let share = of(&mut lacking.into_iter()) * 100 / of(&mut weighted(facts)).max(1);
        return warning(
            format!(
                "{share} % of the traffic gets no answer, or 500 or 503: no endpoint behind {}",
                names.join(", ")
            ),
            remedy,
        );
    }
    let ready = facts.endpoints.iter().filter(|endpoint| endpoint.state == "ready").count();
    let all = facts.endpoints.len();
    match (ready, all) {
        (0, 0) => skipped("no backend is asked"),
        (0, _) => warning(
            format!("none of {all} endpoints is ready"),
            "draining or ejected endpoints are used as long as there is nothing else; check the Pods",
        ),
        _ => ok(format!("{ready} of {all} endpoints ready")),
    }
}

pub(super) fn backend(facts: &Facts) -> Judgement {
    let tried: Vec<_> = facts.endpoints.iter().filter_map(|e| Some((e, e.reachable.as_ref()?))).collect();
    let failed: Vec<String> = tried
        .iter()
        .filter_map(|(endpoint, result)| {
            let error = result.as_ref().err()?;
            Some(format!("{} ({}): {error}", endpoint.address, endpoint.backend))
        })
        .collect();
    match (failed.len(), tried.len()) {
        (_, 0) if facts.endpoints.is_empty() => skipped("no endpoint to connect to"),
        (_, 0) => skipped("UDP endpoints are not tried: only they know what they would answer"),
        (0, count) => ok(format!("this node connects to {count} of {count}")),
        (failures, count) if failures == count => broken(
            format!("this node connects to none of its endpoints: {}", failed.join("; ")),
            "check the Pods and what lies between: network policy, CNI routes, firewalls",
        ),
        (_, _) => {
            warning(format!("not all endpoints are reachable: {}", failed.join("; ")), "check these Pods")
        }
    }
}

/// The least that every link must carry (RFC 8200 §5, RFC 791 §3.2).
const fn least_mtu(v4: bool) -> u32 {
    if v4 { 576 } else { 1280 }
}

pub(super) fn mtu(facts: &Facts) -> Judgement {
    let PathMtu { client, endpoints, deaf } = &facts.mtu;
    let all = client.iter().copied().chain(endpoints.iter().map(|(at, mtu)| (at.ip(), *mtu)));
    if let Some((ip, mtu)) = all.clone().find(|(ip, mtu)| *mtu < least_mtu(ip.is_ipv4())) {
        return warning(
            format!("only {mtu} bytes fit to {ip}, less than any link should carry"),
            "who sent \"fragmentation needed\" or \"packet too big\"? `ip route get` shows what was learned, `ip route flush cache` forgets it",
        );
    }
    if *deaf && facts.vip.is_ipv4() {
        return warning(
            "the node takes no notice of \"fragmentation needed\": answers vanish behind links that carry less",
            "sysctl -w net.ipv4.ip_no_pmtu_disc=0",
        );
    }
    let Some(least) = endpoints.iter().map(|(_, mtu)| *mtu).min() else {
        return match client {
            Some((ip, mtu)) => ok(format!("{mtu} bytes fit to {ip}")),
            None => skipped("give --from to see what fits to the client"),
        };
    };
    let client = client.map_or_else(String::new, |(ip, mtu)| format!("{mtu} bytes fit to {ip}, "));
    ok(format!("{client}{least} bytes to the endpoints"))
}

pub(super) fn system(facts: &Facts) -> Judgement {
    let Some((text, remedy)) = facts.system.first() else {
        return ok("sysctls, devices and kernel features are fine");
    };
    let more = match facts.system.len() - 1 {
        0 => String::new(),
        more => format!("; {more} more: `gatectl doctor`"),
    };
    warning(format!("{text}{more}"), remedy.clone())
}
