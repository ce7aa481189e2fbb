//! Choices: a backend by weight, an endpoint by least request of two.

use std::net::SocketAddr;
use std::rc::Rc;

use gateway_common::ir::BackendRef;

use super::Endpoint;

/// One of `backends`, each as often as its weight says; None when no weight is above 0.
pub fn weighted(backends: &[BackendRef]) -> Option<&BackendRef> {
    if let [only] = backends {
        return (only.weight > 0).then_some(only);
    }
    let total: u64 = backends.iter().map(|backend| u64::from(backend.weight)).sum();
    if total == 0 {
        return None;
    }
    by_weight(backends, fastrand::u64(..total))
}

fn by_weight(backends: &[BackendRef], mut point: u64) -> Option<&BackendRef> {
    backends.iter().find(|backend| {
        let weight = u64::from(backend.weight);
        let hit = point < weight;
        point = point.saturating_sub(weight);
        hit
    })
}

/// The less busy of two endpoints drawn at random from those that are healthy and not tried yet; from the ejected ones
/// when no other is left.
pub fn least_of_two<'a>(
    endpoints: &'a [Rc<Endpoint>],
    now: u64,
    tried: &[SocketAddr],
) -> Option<&'a Rc<Endpoint>> {
    let count = endpoints.len();
    let usable = |endpoint: &Rc<Endpoint>| !endpoint.is_ejected(now) && !tried.contains(&endpoint.address);
    match count {
        0 => return None,
        1 => return Some(&endpoints[0]).filter(|only| !tried.contains(&only.address)),
        _ => {}
    }
    let first = fastrand::usize(..count);
    let second = (first + fastrand::usize(1..count)) % count;
    let (a, b) = (&endpoints[first], &endpoints[second]);
    match (usable(a), usable(b)) {
        (true, true) => Some(if b.active() < a.active() { b } else { a }),
        (true, false) => Some(a),
        (false, true) => Some(b),
        (false, false) => {
            let from_here = endpoints[first..].iter().chain(&endpoints[..first]);
            let untried = from_here.filter(|endpoint| !tried.contains(&endpoint.address));
            untried.min_by_key(|endpoint| (endpoint.is_ejected(now), endpoint.active()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::upstream::Lease;
    use gateway_common::ir::BackendId;

    fn backend(weight: u32) -> BackendRef {
        let backend = Some(BackendId::new(format!("default/b{weight}:80")));
        BackendRef { weight, backend, filters: Vec::new() }
    }

    fn endpoints(count: u8) -> Vec<Rc<Endpoint>> {
        (0..count).map(|i| Rc::new(Endpoint::new(SocketAddr::from(([192, 0, 2, i], 80))))).collect()
    }

    #[test]
    fn weights_share_the_points() {
        let backends = [backend(2), backend(0), backend(3)];
        let weights: Vec<_> = (0..5).map(|p| by_weight(&backends, p).map(|b| b.weight)).collect();
        assert_eq!(weights, [Some(2), Some(2), Some(3), Some(3), Some(3)]);
        assert!(weighted(&[backend(0), backend(0)]).is_none());
        assert!(weighted(&[backend(0)]).is_none());
        assert!(weighted(&[]).is_none());
    }

    #[test]
    fn the_busier_of_two_is_not_chosen() {
        let endpoints = endpoints(2);
        let _busy = Lease::new(endpoints[0].clone());
        for _ in 0..20 {
            let chosen = least_of_two(&endpoints, 0, &[]).unwrap();
            assert_eq!(chosen.address, endpoints[1].address);
        }
    }

    #[test]
    fn an_ejected_endpoint_is_the_last_resort_and_a_tried_one_is_none() {
        let endpoints = endpoints(3);
        for ejected in &endpoints[..2] {
            for _ in 0..3 {
                ejected.failed(0);
            }
        }
        for _ in 0..20 {
            let chosen = least_of_two(&endpoints, 0, &[]).unwrap();
            assert_eq!(chosen.address, endpoints[2].address);
        }
        let healthy = endpoints[2].address;
        assert!(least_of_two(&endpoints, 0, &[healthy]).unwrap().is_ejected(0));
        let all: Vec<_> = endpoints.iter().map(|endpoint| endpoint.address).collect();
        assert!(least_of_two(&endpoints, 0, &all).is_none());
    }
}
