//! An upgraded connection: bytes both ways until one side ends or nothing moves for too long.

use bytes::Buf;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, copy_bidirectional};
use tokio::sync::oneshot;
use tracing::debug;

use super::timing::{Phase, Timing};
use crate::upstream::Lease;
use crate::upstream::pool::Upgraded;

/// A backend that answered 101.
pub struct Pending {
    /// Comes when the answer's header is through.
    pub stream: oneshot::Receiver<Upgraded>,
    pub lease: Lease,
}

/// Copies between the client's stream, with what was read of it already, and the backend's.
pub async fn run<S>(mut client: S, read: impl Buf, pending: Pending, timing: &Timing)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let Pending { stream, lease } = pending;
    let Ok(upgraded) = stream.await else { return };
    let mut backend = TokioIo::into_inner(upgraded.io);
    timing.enter(Phase::Stream);
    let mut read = read;
    let copied = async {
        backend.write_all_buf(&mut read).await?;
        client.write_all(&upgraded.read_buf).await?;
        client.flush().await?;
        copy_bidirectional(&mut client, &mut backend).await
    };
    tokio::select! {
        copied = copied => {
            if let Err(error) = copied {
                debug!(%error, "upgraded connection ended");
            }
        }
        _ = std::future::poll_fn(|cx| timing.poll_over(cx)) => debug!("upgraded connection idle"),
    }
    drop(lease);
}
