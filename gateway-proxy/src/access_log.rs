//! The access log: one line of JSON per request, connection and UDP session, of the Gateways that ask for it.
//!
//! A worker writes lines to a buffer of its own; full buffers and every sweep's rest go to one writer thread over a
//! bounded channel. A writer that cannot keep up costs lines, counted, and never a request.

pub mod reason;
pub mod record;
pub mod writer;

use std::cell::{Cell, RefCell};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::SyncSender;

pub use reason::Reason;
pub use record::{Record, Request};
pub use writer::{Target, Writer};

/// A buffer of this size is given to the writer at once.
const FULL: usize = 32 * 1024;

/// Whether the query of a request's target is written down; it often holds what nobody should read.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, clap::ValueEnum)]
pub enum Query {
    #[default]
    Omit,
    Keep,
}

/// What all workers need to open their log; cheap to clone.
#[derive(Clone, Debug)]
pub struct AccessLog {
    chunks: SyncSender<Chunk>,
    counts: Arc<Counts>,
    query: Query,
}

/// One worker's log.
#[derive(Debug)]
pub struct WorkerLog {
    log: AccessLog,
    buffer: RefCell<Vec<u8>>,
    lines: Cell<u64>,
}

/// Whole lines on their way to the writer.
#[derive(Debug)]
struct Chunk {
    bytes: Vec<u8>,
    lines: u64,
}

#[derive(Default, Debug)]
pub struct Counts {
    pub lines: AtomicU64,
    pub dropped: AtomicU64,
}

impl AccessLog {
    pub fn worker(&self) -> WorkerLog {
        WorkerLog { log: self.clone(), buffer: RefCell::default(), lines: Cell::default() }
    }

    pub fn counts(&self) -> Arc<Counts> {
        self.counts.clone()
    }
}

impl WorkerLog {
    pub fn write(&self, record: &Record<'_>) {
        let mut buffer = self.buffer.borrow_mut();
        if buffer.capacity() == 0 {
            buffer.reserve(FULL + FULL / 8);
        }
        record.write(self.log.query, &mut buffer);
        self.lines.set(self.lines.get() + 1);
        let full = buffer.len() >= FULL;
        drop(buffer);
        if full {
            self.flush();
        }
    }

    /// Gives what was written to the writer. Never waits.
    pub fn flush(&self) {
        let lines = self.lines.take();
        if lines == 0 {
            return;
        }
        let chunk = Chunk { bytes: self.buffer.take(), lines };
        match self.log.chunks.try_send(chunk) {
            Ok(()) => self.log.counts.lines.fetch_add(lines, Relaxed),
            Err(_) => self.log.counts.dropped.fetch_add(lines, Relaxed),
        };
    }
}

impl Drop for WorkerLog {
    fn drop(&mut self) {
        self.flush();
    }
}
