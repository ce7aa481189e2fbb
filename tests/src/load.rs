//! A steady load that accounts for every request: what failed, how, and on a connection of what age.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};
use tokio::net::TcpStream;

use crate::client::{Connection, PATIENCE, Target, Unsent, request};
use crate::netns::{Netns, block_on};

#[derive(Clone, Debug)]
pub struct Plan {
    pub target: Target,
    pub host: String,
    pub path: String,
    /// Clients at work at the same time.
    pub clients: usize,
    /// Requests on one connection before the next is opened; 0: as many as it carries.
    pub per_connection: u64,
    /// Between the requests of one client.
    pub pause: Duration,
}

impl Plan {
    pub fn new(target: Target, host: &str, path: &str) -> Self {
        let (host, path) = (host.to_owned(), path.to_owned());
        Self { target, host, path, clients: 8, per_connection: 0, pause: Duration::from_millis(2) }
    }

    /// Every request on a connection of its own.
    pub fn new_connections(mut self) -> Self {
        self.per_connection = 1;
        self
    }
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Cause {
    Refused,
    Reset,
    /// The connection ended before the answer did.
    Closed,
    Timeout,
    /// Any status but 200.
    Status(u16),
    Other,
}

/// A request that did not get its answer.
#[derive(Clone, Debug)]
pub struct Failure {
    pub cause: Cause,
    /// When the client began to connect.
    pub opened: Instant,
    pub failed: Instant,
    /// TCP was connected; False: connecting failed.
    pub connected: bool,
    /// It had answered before.
    pub reused: bool,
    pub detail: String,
}

#[derive(Clone, Debug, Default)]
pub struct Report {
    pub answered: u64,
    pub connections: u64,
    pub failures: Vec<Failure>,
    /// The longest that one request took.
    pub slowest: Duration,
}

/// A load that runs until it is stopped.
#[derive(Debug)]
pub struct Load {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Report>,
}

impl Load {
    /// Clients inside `netns`, all on one thread.
    pub fn start(netns: &Netns, plan: Plan) -> Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let seen = stop.clone();
        let thread = netns.spawn(move || block_on(async || run(&plan, &seen).await))?;
        Ok(Self { stop, thread })
    }

    /// Ends it after the requests under way.
    pub fn stop(self) -> Result<Report> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().map_err(|_| anyhow!("the load panicked"))
    }
}

impl Report {
    /// Failures that no cut explains: the connection was there before the end of a cut, and failed after its begin.
    pub fn unexplained<'a>(&'a self, cuts: &'a [Range<Instant>]) -> impl Iterator<Item = &'a Failure> {
        let explained = |failure: &Failure| {
            failure.connected
                && cuts.iter().any(|cut| failure.opened < cut.end && cut.start <= failure.failed)
        };
        self.failures.iter().filter(move |failure| !explained(failure))
    }

    fn add(&mut self, other: Self) {
        self.answered += other.answered;
        self.connections += other.connections;
        self.failures.extend(other.failures);
        self.slowest = self.slowest.max(other.slowest);
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { answered, connections, failures, slowest } = self;
        let slowest = slowest.as_millis();
        write!(
            f,
            "{answered} answered on {connections} connections, {} failed, slowest {slowest} ms",
            failures.len()
        )?;
        let mut causes: BTreeMap<(Cause, bool, &str), u64> = BTreeMap::new();
        for failure in failures {
            *causes.entry((failure.cause, failure.reused, failure.detail.as_str())).or_default() += 1;
        }
        for ((cause, reused, detail), number) in causes {
            let age = if reused { "used" } else { "new" };
            write!(f, "\n  {number} × {cause:?} on a {age} connection: {detail}")?;
        }
        Ok(())
    }
}

async fn run(plan: &Plan, stop: &Arc<AtomicBool>) -> Report {
    let mut clients = tokio::task::JoinSet::new();
    for _ in 0..plan.clients {
        clients.spawn_local(client(plan.clone(), stop.clone()));
    }
    let mut total = Report::default();
    for report in clients.join_all().await {
        total.add(report);
    }
    total
}

/// One client: opens connections one after the other and counts what comes of each request.
async fn client(plan: Plan, stop: Arc<AtomicBool>) -> Report {
    let mut report = Report::default();
    while !stop.load(Ordering::Relaxed) {
        let opened = Instant::now();
        report.connections += 1;
        let connect = async { Ok(TcpStream::connect(plan.target.address).await?) };
        let stream = match bounded(connect).await {
            Ok(stream) => stream,
            Err(error) => {
                report.failures.push(failure(&error, opened, false, false));
                // A refusal costs nothing, and would be counted a million times.
                tokio::time::sleep(Duration::from_millis(10)).await;
                continue;
            }
        };
        match bounded(Connection::begin(stream, &plan.target)).await {
            Ok(connection) => exchange(&plan, &stop, connection, opened, &mut report).await,
            Err(error) => report.failures.push(failure(&error, opened, true, false)),
        }
    }
    report
}

/// Requests on one connection until it ends or has carried its share.
async fn exchange(
    plan: &Plan,
    stop: &AtomicBool,
    mut connection: Connection,
    opened: Instant,
    report: &mut Report,
) {
    let mut carried = 0;
    while !stop.load(Ordering::Relaxed) && (plan.per_connection == 0 || carried < plan.per_connection) {
        let begun = Instant::now();
        let outcome = match request(&plan.host, &plan.path) {
            Ok(request) => bounded(connection.send(request)).await,
            Err(error) => Err(error),
        };
        match outcome {
            Ok(reply) if reply.status == 200 => report.answered += 1,
            Ok(reply) => report.failures.push(Failure {
                cause: Cause::Status(reply.status.as_u16()),
                detail: String::from_utf8_lossy(&reply.body).chars().take(100).collect(),
                ..failure(&anyhow!(""), opened, true, carried > 0)
            }),
            // A connection that was of use may end; the request goes over the next one.
            Err(error) if carried > 0 && error.is::<Unsent>() => return,
            Err(error) => {
                report.failures.push(failure(&error, opened, true, carried > 0));
                return;
            }
        }
        report.slowest = report.slowest.max(begun.elapsed());
        carried += 1;
        tokio::time::sleep(plan.pause).await;
        if !connection.is_open() {
            return;
        }
    }
}

async fn bounded<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    tokio::time::timeout(PATIENCE, work)
        .await
        .unwrap_or_else(|_| Err(io::Error::from(io::ErrorKind::TimedOut).into()))
}

fn failure(error: &anyhow::Error, opened: Instant, connected: bool, reused: bool) -> Failure {
    Failure {
        cause: cause(error),
        opened,
        failed: Instant::now(),
        connected,
        reused,
        detail: format!("{error:#}"),
    }
}

/// What lies under the error of a library.
fn cause(error: &anyhow::Error) -> Cause {
    for part in error.chain() {
        if let Some(cause) = part.downcast_ref::<io::Error>().and_then(|error| known(error.kind())) {
            return cause;
        }
        let http = part.downcast_ref::<hyper::Error>();
        if http.is_some_and(|error| error.is_incomplete_message() || error.is_closed() || error.is_canceled())
        {
            return Cause::Closed;
        }
    }
    Cause::Other
}

fn known(kind: io::ErrorKind) -> Option<Cause> {
    const KNOWN: [(io::ErrorKind, Cause); 5] = [
        (io::ErrorKind::ConnectionRefused, Cause::Refused),
        (io::ErrorKind::ConnectionReset, Cause::Reset),
        (io::ErrorKind::BrokenPipe, Cause::Reset),
        (io::ErrorKind::TimedOut, Cause::Timeout),
        (io::ErrorKind::UnexpectedEof, Cause::Closed),
    ];
    KNOWN.iter().find(|(known, _)| *known == kind).map(|(_, cause)| *cause)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read as _, Write as _};
    use std::net::TcpListener;

    fn failed(opened: Instant, after: Duration, connected: bool) -> Failure {
        let error = io::Error::from(io::ErrorKind::ConnectionReset).into();
        Failure { failed: opened + after, ..failure(&error, opened, connected, false) }
    }

    #[test]
    fn a_cut_explains_only_connections_that_it_cut() {
        let start = Instant::now();
        let second = Duration::from_secs(1);
        let cut = [start + second..start + second * 2];
        let report = |failure: Failure| Report { failures: vec![failure], ..Report::default() };
        let unexplained = |failure| report(failure).unexplained(&cut).count();
        assert_eq!(unexplained(failed(start, second * 3, true)), 0);
        assert_eq!(unexplained(failed(start, second * 3, false)), 1, "never connected");
        assert_eq!(unexplained(failed(start, second / 2, true)), 1, "failed before");
        assert_eq!(unexplained(failed(start + second * 2, second, true)), 1, "opened after");
    }

    #[test]
    fn every_request_is_accounted_for() {
        let netns = Netns::new("load").unwrap();
        let address = ([127, 0, 0, 1], 8080).into();
        let refused = Load::start(&netns, Plan::new(Target::http(address), "a.test", "/")).unwrap();
        std::thread::sleep(Duration::from_millis(50));
        let report = refused.stop().unwrap();
        assert!(report.failures.iter().all(|failure| failure.cause == Cause::Refused && !failure.connected));
        assert!(!report.failures.is_empty());

        let listener = netns.run(|| TcpListener::bind(address)).unwrap();
        let mut plan = Plan::new(Target::http(address), "a.test", "/").new_connections();
        plan.clients = 1;
        let load = Load::start(&netns, plan).unwrap();
        let answers: [&[u8]; 3] = [
            b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
            b"HTTP/1.1 503 No\r\ncontent-length: 0\r\n\r\n",
            b"",
        ];
        for answer in answers {
            let (mut stream, _) = listener.accept().unwrap();
            let _ = stream.read(&mut [0; 1024]).unwrap();
            stream.write_all(answer).unwrap();
        }
        drop(listener);
        let report = load.stop().unwrap();
        assert_eq!(report.answered, 1);
        let causes: Vec<Cause> = report.failures.iter().map(|failure| failure.cause).collect();
        assert_eq!(causes[..2], [Cause::Status(503), Cause::Closed], "{report}");
    }
}
