//! The programs' own log, forwarded to `tracing` (through the `log` bridge that telemetry sets up).
#![expect(unsafe_code, reason = "tokio cannot see that the reader's descriptor lives as long as the reader")]

use std::io;

use aya::Ebpf;
use aya_log::EbpfLogger;
use tokio::io::unix::AsyncFd;

/// A reader of the programs' ring buffer.
pub struct Logger {
    inner: EbpfLogger<&'static dyn log::Log>,
}

impl Logger {
    /// None when the log is off or the object has none.
    pub(super) fn start(ebpf: &mut Ebpf, level: u8) -> Option<Self> {
        if level == 0 {
            return None;
        }
        match EbpfLogger::init(ebpf) {
            Ok(inner) => Some(Self { inner }),
            Err(error) => {
                tracing::warn!(%error, "the programs' log cannot be read");
                None
            }
        }
    }

    /// Forwards until the future is dropped.
    pub async fn forward(self) -> io::Result<()> {
        // SAFETY: the descriptor is the ring buffer's, which `inner` owns and closes when dropped.
        let mut reader = unsafe { AsyncFd::register(self.inner) }?;
        loop {
            let mut guard = reader.readable_mut().await?;
            guard.get_inner_mut().flush();
            guard.clear_ready();
        }
    }
}
