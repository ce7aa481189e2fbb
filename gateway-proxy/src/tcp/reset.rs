//! Ends a connection with a reset, so that the peer does not take what it got for all there was.

use std::os::fd::AsFd;
use std::time::Duration;

use tokio::net::TcpStream;

use crate::connections::TcpInfo;

const FIRST: Duration = Duration::from_millis(1);
const LONGEST: Duration = Duration::from_millis(512);

/// The reset is sent when the stream is dropped, and throws away what the peer has not acknowledged.
pub(super) fn at_once(stream: &TcpStream) {
    // Fails only on a socket that is gone, which needs no reset.
    let _ = stream.set_zero_linger();
}

/// Gives what was sent about a second to arrive first.
pub(super) async fn after_delivery(stream: &TcpStream) {
    let mut pause = FIRST;
    while pause <= LONGEST && TcpInfo::of(stream.as_fd()).is_some_and(|info| info.undelivered) {
        tokio::time::sleep(pause).await;
        pause *= 2;
    }
    at_once(stream);
}
