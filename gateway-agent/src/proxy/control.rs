//! The control socket's listening end.

use std::io;
use std::os::unix::fs::chown;
use std::path::Path;

use anyhow::Context;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::mpsc;

use super::peer::{self, Event, PeerId};
use crate::unix;

/// Binds the control socket; only root and the proxy's user may connect, because private keys travel over it.
pub fn bind(path: &Path, proxy_uid: u32, proxy_gid: u32) -> anyhow::Result<UnixListener> {
    let listener = unix::bind(path)?;
    chown(path, Some(proxy_uid), Some(proxy_gid))
        .with_context(|| format!("giving the control socket {} to uid {proxy_uid}", path.display()))?;
    Ok(listener)
}

/// Accepts proxies until the socket fails; why.
pub async fn accept(listener: UnixListener, proxy_uid: u32, events: mpsc::Sender<Event>) -> io::Error {
    let mut number = 0;
    loop {
        let stream = match unix::accept(&listener).await {
            Ok(stream) => stream,
            Err(error) => return error,
        };
        if let Err(uid) = allowed(&stream, proxy_uid) {
            tracing::warn!(
                ?uid,
                "refused a connection to the control socket: neither root nor the proxy's user"
            );
            continue;
        }
        let (id, events) = (PeerId(number), events.clone());
        number += 1;
        tokio::spawn(async move {
            let serving = tokio::spawn(peer::serve(id, stream, events.clone()));
            if let Err(error) = serving.await {
                let _ = events.send(Event::Gone { id, reason: error.to_string() }).await;
            }
        });
    }
}

fn allowed(stream: &UnixStream, proxy_uid: u32) -> Result<(), Option<u32>> {
    match stream.peer_cred() {
        Ok(credentials) if [0, proxy_uid].contains(&credentials.uid()) => Ok(()),
        Ok(credentials) => Err(Some(credentials.uid())),
        Err(_) => Err(None),
    }
}
