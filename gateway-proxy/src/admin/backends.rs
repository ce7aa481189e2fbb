//! `GET /backends`: what the configuration says, with what all workers saw.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use gateway_common::admin::{BackendStatus, EndpointStatus};
use gateway_common::ir::{BackendId, EndpointState};

use crate::snapshot::Snapshot;

/// Every backend of the snapshot in the order of their names; `seen` has one list per worker.
pub(super) fn merged(snapshot: &Snapshot, seen: Vec<Vec<BackendStatus>>) -> Vec<BackendStatus> {
    let mut figures: BTreeMap<(BackendId, SocketAddr), EndpointStatus> = BTreeMap::new();
    for backend in seen.into_iter().flatten() {
        for endpoint in backend.endpoints {
            let key = (backend.id.clone(), endpoint.address);
            match figures.get_mut(&key) {
                Some(sum) => add(sum, &endpoint),
                None => drop(figures.insert(key, endpoint)),
            }
        }
    }
    let ordered: BTreeMap<_, _> = snapshot.backends.iter().collect();
    let status = ordered.into_values().map(|backend| {
        let endpoints = backend.endpoints.iter().map(|endpoint| {
            let figures = figures.remove(&(backend.id.clone(), endpoint.address));
            let mut status = figures.unwrap_or_else(|| unused(endpoint.address));
            if status.state != "ejected" && endpoint.state == EndpointState::Draining {
                "draining".clone_into(&mut status.state);
            }
            status
        });
        BackendStatus { id: backend.id.clone(), endpoints: endpoints.collect() }
    });
    status.collect()
}

/// Ejected for one worker is ejected.
fn add(sum: &mut EndpointStatus, more: &EndpointStatus) {
    if more.state == "ejected" {
        sum.state.clone_from(&more.state);
    }
    sum.active += more.active;
    sum.connections += more.connections;
    sum.requests += more.requests;
    sum.connect_failures += more.connect_failures;
}

fn unused(address: SocketAddr) -> EndpointStatus {
    let state = "ready".to_owned();
    EndpointStatus { address, state, active: 0, connections: 0, requests: 0, connect_failures: 0 }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use gateway_common::ir::{Backend, BackendProtocol, Endpoint};

    use super::*;
    use crate::metrics::Metrics;

    #[test]
    fn figures_of_all_workers_are_summed_and_unused_endpoints_shown() {
        let address = |n: u8| SocketAddr::from(([192, 0, 2, n], 80));
        let endpoint = |n, state| Endpoint { address: address(n), state };
        let id = BackendId::new("default/api:80");
        let mut snapshot = Snapshot::empty(Arc::new(Metrics::new(2)));
        let backend = Backend {
            id: id.clone(),
            protocol: BackendProtocol::Http1,
            endpoints: vec![endpoint(1, EndpointState::Ready), endpoint(2, EndpointState::Draining)],
            proxy_protocol: None,
        };
        let metrics = snapshot.metrics.backend(&id);
        snapshot.backends.insert(id.clone(), Arc::new(crate::snapshot::Backend { ir: backend, metrics }));
        let worker = |state: &str, n| {
            let seen = EndpointStatus {
                state: state.to_owned(),
                active: n,
                connections: 2 * n,
                requests: 3 * n,
                connect_failures: 4 * n,
                ..unused(address(1))
            };
            vec![BackendStatus { id: id.clone(), endpoints: vec![seen] }]
        };
        let merged = merged(&snapshot, vec![worker("ready", 1), worker("ejected", 10)]);
        let first = &merged[0].endpoints[0];
        assert_eq!(first.state, "ejected");
        let figures = (first.active, first.connections, first.requests, first.connect_failures);
        assert_eq!(figures, (11, 22, 33, 44));
        assert_eq!(merged[0].endpoints[1].state, "draining");
    }
}
