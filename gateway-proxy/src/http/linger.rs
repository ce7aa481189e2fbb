//! The end of an HTTP/1.1 connection whose client may still be sending what nobody reads. Closing at once would answer that
//! with a reset, by which the client may lose the answer it has not read yet (RFC 9112 §9.6).

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::client::Client;
use super::io::Stream;
use super::serve::lingered;

/// Without a byte. As nginx has it (`lingering_timeout`).
const QUIET: Duration = Duration::from_secs(5);
/// Whatever comes. As nginx has it (`lingering_time`).
const LONGEST: Duration = Duration::from_secs(30);

/// Ends our side. False: the client is gone, or takes nothing any more.
pub(super) async fn shut_down(client: &Client, stream: &mut Stream) -> bool {
    let quiet = client.worker.deadlines.deadline();
    quiet.arm(QUIET);
    tokio::select! {
        ended = stream.shutdown() => ended.is_ok(),
        () = quiet.over() => false,
    }
}

/// Ends our side and reads, as long as the client sends, nothing of it being kept.
pub(super) async fn close(client: &Client, mut stream: Stream) {
    if !shut_down(client, &mut stream).await {
        return;
    }
    let longest = client.worker.deadlines.deadline();
    longest.arm(LONGEST);
    tokio::select! {
        () = discard(client, stream.into_socket()) => {}
        () = longest.over() => {}
        () = lingered(client) => {}
    }
}

/// Until the client ends its side, or sends nothing for too long.
async fn discard(client: &Client, mut socket: TcpStream) {
    let quiet = client.worker.deadlines.deadline();
    let mut discarded = vec![0; 16 * 1024];
    loop {
        quiet.arm(QUIET);
        tokio::select! {
            read = socket.read(&mut discarded) => if !matches!(read, Ok(1..)) { return },
            () = quiet.over() => return,
        }
    }
}
