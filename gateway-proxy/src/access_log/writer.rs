//! The thread that writes the access log to standard output or a file.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::{Duration, Instant};

use tracing::{info, warn};

use super::{AccessLog, Chunk, Counts, Query};

/// Chunks between workers and writer; what does not fit is dropped and counted.
const QUEUE: usize = 128;
/// How often a file is looked at, whether it was moved away (by logrotate, say), and tried again that cannot be opened.
const LOOK: Duration = Duration::from_secs(1);

#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub enum Target {
    #[default]
    Stdout,
    /// Appended to, and opened anew when it is moved or removed.
    File(PathBuf),
}

/// The running thread. It ends when every [`AccessLog`] and worker's log is gone.
#[derive(Debug)]
pub struct Writer {
    ended: Receiver<()>,
}

impl Writer {
    /// A file that cannot be opened costs its lines until it can, and nothing else.
    pub fn start(target: Target, query: Query) -> io::Result<(AccessLog, Self)> {
        let (chunks, receiver) = sync_channel(QUEUE);
        let counts = Arc::new(Counts::default());
        let (end, ended) = sync_channel(1);
        let thread_counts = counts.clone();
        std::thread::Builder::new().name("access-log".to_owned()).spawn(move || {
            write(&receiver, Sink::new(target), &thread_counts);
            // The other end may have stopped waiting.
            let _ = end.send(());
        })?;
        Ok((AccessLog { chunks, counts, query }, Self { ended }))
    }

    /// Waits until all that was sent is written; false when that takes longer.
    pub fn finish(self, within: Duration) -> bool {
        !matches!(self.ended.recv_timeout(within), Err(RecvTimeoutError::Timeout))
    }
}

impl FromStr for Target {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(if text == "-" { Self::Stdout } else { Self::File(text.into()) })
    }
}

fn write(chunks: &Receiver<Chunk>, mut sink: Sink, counts: &Counts) {
    let mut failing = false;
    let mut note = |done: &io::Result<()>| match (done, std::mem::replace(&mut failing, done.is_err())) {
        (Ok(()), true) => info!("access log is written again"),
        (Err(error), false) => warn!(%error, "access log cannot be written, its lines are lost until it can"),
        (Ok(()), false) | (Err(_), true) => {}
    };
    note(&sink.ready());
    loop {
        match chunks.recv_timeout(LOOK) {
            Ok(chunk) => {
                let done = sink.write(&chunk.bytes);
                note(&done);
                if done.is_err() {
                    counts.lines.fetch_sub(chunk.lines, Relaxed);
                    counts.dropped.fetch_add(chunk.lines, Relaxed);
                }
            }
            Err(RecvTimeoutError::Timeout) if sink.is_closed() => note(&sink.ready()),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}

enum Sink {
    Stdout,
    File {
        path: PathBuf,
        file: Option<File>,
        /// None: never yet.
        looked: Option<Instant>,
    },
}

impl Sink {
    fn new(target: Target) -> Self {
        match target {
            Target::Stdout => Self::Stdout,
            Target::File(path) => Self::File { path, file: None, looked: None },
        }
    }

    fn is_closed(&self) -> bool {
        matches!(self, Self::File { file: None, .. })
    }

    /// Opens the file, if it is not, or if its name is another's by now; tried once per [`LOOK`].
    fn ready(&mut self) -> io::Result<()> {
        let Self::File { path, file, looked } = self else { return Ok(()) };
        if looked.is_none_or(|looked| looked.elapsed() >= LOOK) {
            *looked = Some(Instant::now());
            let named = std::fs::metadata(&*path).ok();
            let same = named.zip(file.as_ref().and_then(|file| file.metadata().ok()));
            if same.is_none_or(|(a, b)| (a.dev(), a.ino()) != (b.dev(), b.ino())) {
                *file = None;
                let failed = |e: io::Error| io::Error::new(e.kind(), format!("{}: {e}", path.display()));
                *file = Some(append(path).map_err(failed)?);
            }
        }
        if file.is_some() { Ok(()) } else { Err(io::ErrorKind::NotFound.into()) }
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.ready()?;
        match self {
            Self::Stdout => {
                let mut stdout = io::stdout().lock();
                stdout.write_all(bytes)?;
                stdout.flush()
            }
            Self::File { file: Some(file), .. } => file.write_all(bytes),
            Self::File { file: None, .. } => Err(io::ErrorKind::NotFound.into()),
        }
    }
}

fn append(path: &PathBuf) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).open(path)
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use gateway_common::ir::GatewayId;

    use super::*;
    use crate::access_log::{Reason, Record};

    fn record(gateway: &GatewayId) -> Record<'_> {
        let address = "192.0.2.1:1".parse().unwrap();
        Record {
            gateway,
            listener: None,
            protocol: "TCP",
            client: address,
            vip: address,
            sni: None,
            request: None,
            route: None,
            backend: None,
            endpoint: None,
            reason: Reason::Ok,
            detail: None,
            duration: Duration::ZERO,
            bytes_in: 0,
            bytes_out: 0,
        }
    }

    #[test]
    fn lines_reach_the_file_also_after_it_was_moved() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("access.log");
        let mut sink = Sink::new(Target::File(path.clone()));
        sink.write(b"one\n").unwrap();
        let moved = directory.path().join("access.log.1");
        std::fs::rename(&path, &moved).unwrap();
        let Sink::File { looked, .. } = &mut sink else { panic!("not a file") };
        *looked = Instant::now().checked_sub(LOOK);
        sink.write(b"two\n").unwrap();
        assert_eq!(std::fs::read(moved).unwrap(), b"one\n");
        assert_eq!(std::fs::read(path).unwrap(), b"two\n");
    }

    #[test]
    fn what_was_logged_is_written_when_all_logs_are_gone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("access.log");
        let (log, writer) = Writer::start(Target::File(path.clone()), Query::Omit).unwrap();
        let counts = log.counts();
        let (first, second) = (log.worker(), log.worker());
        drop(log);
        let gateway = GatewayId::new("default/web");
        for _ in 0..1_000 {
            first.write(&record(&gateway));
        }
        second.write(&record(&gateway));
        drop((first, second));
        assert!(writer.finish(Duration::from_secs(10)));
        assert_eq!(std::fs::read_to_string(path).unwrap().lines().count(), 1_001);
        assert_eq!((counts.lines.load(Relaxed), counts.dropped.load(Relaxed)), (1_001, 0));
    }

    #[test]
    fn a_file_that_cannot_be_opened_costs_lines_until_it_can() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("later/access.log");
        let (log, writer) = Writer::start(Target::File(path.clone()), Query::Omit).unwrap();
        let (worker, counts) = (log.worker(), log.counts());
        let gateway = GatewayId::new("default/web");
        worker.write(&record(&gateway));
        worker.flush();
        let begun = Instant::now();
        let wait = |what: &dyn Fn() -> bool| {
            while !what() {
                assert!(begun.elapsed() < Duration::from_secs(60), "{counts:?}");
                std::thread::sleep(Duration::from_millis(5));
            }
        };
        wait(&|| counts.dropped.load(Relaxed) == 1);
        std::fs::create_dir(directory.path().join("later")).unwrap();
        // Also with nothing to write.
        wait(&|| path.exists());
        worker.write(&record(&gateway));
        drop((log, worker));
        assert!(writer.finish(Duration::from_secs(10)));
        assert_eq!(std::fs::read_to_string(path).unwrap().lines().count(), 1);
        assert_eq!((counts.lines.load(Relaxed), counts.dropped.load(Relaxed)), (1, 1));
    }

    #[test]
    fn a_writer_that_stands_still_costs_lines_and_no_time() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("fifo");
        rustix::fs::mkfifoat(rustix::fs::CWD, &path, rustix::fs::Mode::RWXU).unwrap();
        let reader = OpenOptions::new().read(true).write(true).open(&path).unwrap();
        let (log, writer) = Writer::start(Target::File(path), Query::Omit).unwrap();
        let (worker, counts) = (log.worker(), log.counts());
        let gateway = GatewayId::new("default/web");
        // More than pipe and queue hold.
        while counts.dropped.load(Relaxed) == 0 {
            worker.write(&record(&gateway));
        }
        let taken = counts.lines.load(Relaxed);
        assert!(taken > 0);
        drop((log, worker));
        drain(reader);
        assert!(writer.finish(Duration::from_secs(10)));
    }

    /// Reads the pipe empty until the writer is done.
    fn drain(reader: File) {
        let flags = rustix::fs::fcntl_getfl(reader.as_fd()).unwrap();
        rustix::fs::fcntl_setfl(reader.as_fd(), flags | rustix::fs::OFlags::NONBLOCK).unwrap();
        std::thread::spawn(move || {
            let mut bytes = vec![0; 1 << 16];
            for _ in 0..5_000 {
                match rustix::io::read(reader.as_fd(), &mut bytes) {
                    Ok(_) => {}
                    Err(_) => std::thread::sleep(Duration::from_millis(1)),
                }
            }
        });
    }
}
