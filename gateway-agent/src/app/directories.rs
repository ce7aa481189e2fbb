//! The directories that the agent shares with proxies and `gatectl`.

use std::collections::BTreeSet;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::net::UnixStream;
use std::path::Path;

use anyhow::{Context, ensure};

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

/// Before anything is taken off the wire that no proxy would serve.
pub(super) fn require_program(path: &Path) -> anyhow::Result<()> {
    let runs = std::fs::metadata(path).is_ok_and(|it| it.is_file() && it.permissions().mode() & 0o111 != 0);
    ensure!(
        runs,
        "proxy-binary: {} is no program that can be started; name the proxy with --proxy-binary, or let it be started elsewhere \
         with --proxy connect",
        path.display()
    );
    Ok(())
}

fn make(path: &Path, mode: u32) -> anyhow::Result<()> {
    std::fs::create_dir_all(path)
        .and_then(|()| std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)))
        .with_context(|| format!("make the directory {}", path.display()))
}

/// The proxies of a former agent that still answer, by process id; sockets that dead ones left are removed.
pub(super) fn living_proxies(config: &Config) -> BTreeSet<u32> {
    let Ok(entries) = std::fs::read_dir(config.proxy_dir()) else { return BTreeSet::new() };
    let mut living = BTreeSet::new();
    for path in entries.filter_map(Result::ok).map(|entry| entry.path()) {
        match UnixStream::connect(&path) {
            Ok(_) => living.extend(path.file_stem().and_then(|pid| pid.to_str()?.parse::<u32>().ok())),
            Err(_) => drop(std::fs::remove_file(&path)),
        }
    }
    living
}
