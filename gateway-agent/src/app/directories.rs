//! The directories that the agent shares with proxies and `gatectl`.

use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::net::UnixStream;
use std::path::Path;

use anyhow::Context;

use crate::config::Config;

/// Makes what is missing, with the owners that it needs: the proxy writes its admin socket as its own user.
pub(super) fn prepare(config: &Config) -> anyhow::Result<()> {
    make(&config.runtime_dir, 0o755)?;
    make(&config.state_dir, 0o700)?;
    let proxy_dir = config.proxy_dir();
    make(&proxy_dir, 0o750)?;
    let user = config.proxy_user;
    chown(&proxy_dir, Some(user.uid), Some(user.gid))
        .with_context(|| format!("give {} to uid {} (run as root)", proxy_dir.display(), user.uid))
}

fn make(path: &Path, mode: u32) -> anyhow::Result<()> {
    std::fs::create_dir_all(path)
        .and_then(|()| std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)))
        .with_context(|| format!("make the directory {}", path.display()))
}

/// Whether a proxy of a former agent still answers; sockets that dead ones left are removed.
pub(super) fn living_proxies(config: &Config) -> bool {
    let Ok(entries) = std::fs::read_dir(config.proxy_dir()) else { return false };
    let mut living = false;
    for path in entries.filter_map(Result::ok).map(|entry| entry.path()) {
        match UnixStream::connect(&path) {
            Ok(_) => living = true,
            Err(_) => drop(std::fs::remove_file(&path)),
        }
    }
    living
}
