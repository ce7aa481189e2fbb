//! Where things are in this checkout.

use std::path::{Path, PathBuf};
use std::process::Command;

/// The checkout's root.
pub(crate) fn root() -> &'static Path {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here)
}

/// Where cargo puts what it builds here.
pub(crate) fn target() -> PathBuf {
    root().join("target")
}

/// cargo, to be run in the root.
pub(crate) fn cargo() -> Command {
    let mut cargo = Command::new("cargo");
    cargo.current_dir(root());
    cargo
}
