//! An upgraded connection: bytes both ways until one side ends or nothing moves for too long.

use bytes::Buf;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, copy_bidirectional};
use tracing::debug;

use super::client::Client;
use super::timing::Phase;
use crate::access_log::Reason;
use crate::upstream::Lease;
use crate::upstream::http1::Upgraded;

/// A backend that answered 101.
pub struct Pending {
    pub stream: Upgraded,
    pub lease: Lease,
}

/// Copies between the client's stream, with what was read of it already, and the backend's.
pub async fn run<S>(client: &Client, mut stream: S, mut read: impl Buf, pending: Pending)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let Pending { stream: Upgraded { stream: mut backend, read: first, open }, lease } = pending;
    client.timing.enter(Phase::Stream);
    let copied = async {
        backend.write_all_buf(&mut read).await?;
        stream.write_all(&first).await?;
        stream.flush().await?;
        copy_bidirectional(&mut stream, &mut backend).await
    };
    tokio::select! {
        copied = copied => {
            if let Err(error) = copied {
                debug!(%error, "upgraded connection ended");
            }
        }
        () = client.timing.over() => client.entry.end(Reason::IdleTimeout),
        () = drained(client) => client.entry.end(Reason::Drain),
    }
    drop((lease, open));
}

/// Ready when the connection was told to drain and had its time for it.
async fn drained(client: &Client) {
    client.drain.draining().await;
    let end = client.worker.deadlines.deadline();
    end.arm(client.worker.drain_deadline.get());
    end.over().await;
}
