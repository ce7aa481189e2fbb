//! The control socket's listening end.

use std::io;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;

use anyhow::Context;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::mpsc;

use super::peer::{self, Event, PeerId};

/// Binds the control socket; only root and the proxy's user may connect, because private keys travel over it.
pub fn bind(path: &Path, proxy_uid: u32, proxy_gid: u32) -> anyhow::Result<UnixListener> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(error).with_context(|| format!("removing the old control socket {}", path.display()));
        }
        Ok(()) | Err(_) => {}
    }
    let listener =
        UnixListener::bind(path).with_context(|| format!("binding the control socket {}", path.display()))?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))
        .and_then(|()| chown(path, Some(proxy_uid), Some(proxy_gid)))
        .with_context(|| format!("giving the control socket {} to uid {proxy_uid}", path.display()))?;
    Ok(listener)
}

/// Accepts proxies for ever.
pub async fn accept(listener: UnixListener, proxy_uid: u32, events: mpsc::Sender<Event>) {
    for number in 0.. {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                // EMFILE and the like pass; a closed listener does not exist here.
                tracing::warn!(%error, "accepting a proxy");
                tokio::time::sleep(std::time::Duration::from_millis(100)).await;
                continue;
            }
        };
        if let Err(uid) = allowed(&stream, proxy_uid) {
            tracing::warn!(
                ?uid,
                "refused a connection to the control socket: neither root nor the proxy's user"
            );
            continue;
        }
        tokio::spawn(peer::serve(PeerId(number), stream, events.clone()));
    }
}

fn allowed(stream: &UnixStream, proxy_uid: u32) -> Result<(), Option<u32>> {
    match stream.peer_cred() {
        Ok(credentials) if [0, proxy_uid].contains(&credentials.uid()) => Ok(()),
        Ok(credentials) => Err(Some(credentials.uid())),
        Err(_) => Err(None),
    }
}
