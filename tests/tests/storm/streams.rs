//! Clients whose connections and datagrams are forwarded unopened, each of them new.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use gatehouse_tests::netns::Netns;
use gatehouse_tests::serving;

use crate::place::PATIENCE;

const PAUSE: Duration = Duration::from_millis(10);

/// At work until stopped.
pub(crate) struct Streams {
    stop: Arc<AtomicBool>,
    threads: Vec<(&'static str, JoinHandle<Outcome>)>,
}

#[derive(Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) answered: u64,
    pub(crate) failures: Vec<String>,
}

impl Streams {
    pub(crate) fn start(client: &Netns, tcp: SocketAddr, udp: SocketAddr) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let start = |name: &'static str, ask: fn(SocketAddr) -> Result<()>, vip: SocketAddr| {
            let stop = stop.clone();
            let work = move || {
                let mut outcome = Outcome::default();
                while !stop.load(Ordering::Relaxed) {
                    match ask(vip) {
                        Ok(()) => outcome.answered += 1,
                        Err(error) => outcome.failures.push(format!("{error:#}")),
                    }
                    std::thread::sleep(PAUSE);
                }
                outcome
            };
            (name, client.spawn(work).unwrap())
        };
        let threads =
            vec![start("TCP, new connections", connect, tcp), start("UDP, new sessions", exchange, udp)];
        Self { stop, threads }
    }

    pub(crate) fn stop(self) -> Vec<(&'static str, Outcome)> {
        self.stop.store(true, Ordering::Relaxed);
        self.threads.into_iter().map(|(name, thread)| (name, thread.join().unwrap())).collect()
    }
}

fn connect(vip: SocketAddr) -> Result<()> {
    let mut stream = TcpStream::connect_timeout(&vip, PATIENCE).context("connect")?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(b"word").context("write")?;
    stream.shutdown(std::net::Shutdown::Write).context("close one side")?;
    let mut heard = String::new();
    stream.read_to_string(&mut heard).context("read")?;
    ensure!(heard.ends_with("word"), "heard {heard:?}");
    Ok(())
}

fn exchange(vip: SocketAddr) -> Result<()> {
    serving::datagram(vip).map(drop)
}
