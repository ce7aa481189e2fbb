//! Which worker serves a new connection. The kernel spreads connections over the workers' sockets by a hash, which leaves
//! cores uneven where connections are few and long (HTTP/2, gRPC): a worker that has more of them than another hands a new
//! one over, once, before its first byte is read.

use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use gateway_common::ir::GatewayId;
use tokio::sync::mpsc::UnboundedSender;

/// All workers, as each of them sees the others.
pub struct Spread(Box<[Slot]>);

/// On cache lines of its own.
#[repr(align(128))]
struct Slot {
    open: AtomicU32,
    arrivals: UnboundedSender<Arrived>,
}

/// A connection's place on a worker, until it is dropped.
pub struct Place {
    spread: Arc<Spread>,
    worker: usize,
}

/// A connection on its way to the worker that serves it.
pub struct Arrived {
    pub gateway: GatewayId,
    pub stream: TcpStream,
    pub peer: SocketAddr,
    pub place: Place,
}

impl Spread {
    pub fn new(workers: Vec<UnboundedSender<Arrived>>) -> Arc<Self> {
        let slot = |arrivals| Slot { open: AtomicU32::new(0), arrivals };
        Arc::new(Self(workers.into_iter().map(slot).collect()))
    }

    /// A place for a connection that `worker` accepted.
    pub fn place(self: &Arc<Self>, worker: usize) -> Place {
        let open = |worker: usize| self.0[worker].open.load(Relaxed);
        let least = (0..self.0.len()).min_by_key(|worker| open(*worker)).unwrap_or(worker);
        self.at(if is_uneven(open(worker), open(least)) { least } else { worker })
    }

    fn at(self: &Arc<Self>, worker: usize) -> Place {
        self.0[worker].open.fetch_add(1, Relaxed);
        Place { spread: self.clone(), worker }
    }
}

impl Place {
    pub fn worker(&self) -> usize {
        self.worker
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.spread.0[self.worker].open.fetch_sub(1, Relaxed);
    }
}

impl Arrived {
    /// Gives the connection to the worker of its place; back, with a place on `own`, if that one has ended.
    pub fn hand_over(self, own: usize) -> Result<(), Self> {
        let spread = self.place.spread.clone();
        let sent = spread.0[self.place.worker].arrivals.send(self);
        sent.map_err(|back| Self { place: spread.at(own), ..back.0 })
    }
}

/// Worth a hand-over: an eighth more, and any difference among a few.
fn is_uneven(own: u32, least: u32) -> bool {
    own > least + least / 8
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

    use super::*;

    fn spread(workers: usize) -> (Arc<Spread>, Vec<UnboundedReceiver<Arrived>>) {
        let (senders, receivers) = (0..workers).map(|_| unbounded_channel()).unzip();
        (Spread::new(senders), receivers)
    }

    fn arrived(place: Place) -> Arrived {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let peer = stream.peer_addr().unwrap();
        Arrived { gateway: GatewayId::new("default/web"), stream, peer, place }
    }

    #[test]
    fn few_connections_are_spread_evenly_whoever_accepts_them() {
        let (spread, _arrivals) = spread(2);
        let places: Vec<_> = (0..8).map(|_| spread.place(0)).collect();
        assert_eq!(places.iter().filter(|place| place.worker == 0).count(), 4);
        drop(places);
        assert_eq!(spread.0[0].open.load(Relaxed) + spread.0[1].open.load(Relaxed), 0);
    }

    #[test]
    fn many_connections_may_differ_by_an_eighth() {
        assert!(!is_uneven(112, 100));
        assert!(is_uneven(113, 100));
        assert!(is_uneven(1, 0));
        assert!(!is_uneven(0, 0));
    }

    #[test]
    fn a_connection_is_handed_to_the_worker_of_its_place() {
        let (spread, mut arrivals) = spread(2);
        assert!(arrived(spread.at(1)).hand_over(0).is_ok());
        assert!(arrivals[1].try_recv().is_ok() && arrivals[0].try_recv().is_err());
    }

    #[test]
    fn a_worker_that_has_ended_gets_none() {
        let (spread, mut arrivals) = spread(2);
        arrivals[1].close();
        let Err(back) = arrived(spread.at(1)).hand_over(0) else { panic!("it was taken") };
        assert_eq!(back.place.worker, 0);
        assert_eq!(spread.0[1].open.load(Relaxed), 0);
    }
}
