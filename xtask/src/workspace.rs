//! Where things are in this checkout.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The checkout's root.
pub(crate) fn root() -> &'static Path {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here)
}

/// Where cargo puts what it builds here: this program as well, in a profile's folder.
pub(crate) fn target() -> PathBuf {
    let own = env::current_exe().ok();
    let profile = own.as_deref().and_then(Path::parent).map(|folder| {
        // A test's program.
        if folder.ends_with("deps") { folder.parent().unwrap_or(folder) } else { folder }
    });
    profile.and_then(Path::parent).map_or_else(|| root().join("target"), Path::to_path_buf)
}

/// cargo, to be run in the root.
pub(crate) fn cargo() -> Command {
    let mut cargo = Command::new("cargo");
    // A relative folder in the environment is relative to where the caller is.
    cargo.current_dir(root()).env("CARGO_TARGET_DIR", target());
    cargo
}
