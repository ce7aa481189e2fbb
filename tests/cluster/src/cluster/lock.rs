//! One command at a time works on a cluster.

use std::fs::{self, File};
use std::os::unix::fs::MetadataExt as _;

use anyhow::{Context as _, Result};

use super::place::{Name, ROOT};

/// Held until it is dropped, or its holder dies.
#[derive(Debug)]
pub(crate) struct Lock {
    _file: File,
}

impl Lock {
    /// Waits for whoever works on the cluster; `progress` is told.
    pub(crate) fn take(name: &Name, progress: &dyn Fn(&str)) -> Result<Self> {
        let path = name.lock();
        loop {
            fs::create_dir_all(ROOT).with_context(|| format!("create {ROOT}; clusters need root"))?;
            let file = match File::options().create(true).append(true).open(&path) {
                Ok(file) => file,
                // The last cluster went away at this moment, and the folder with it.
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
                Err(error) => return Err(error).with_context(|| format!("open {}", path.display())),
            };
            if file.try_lock().is_err() {
                progress(&format!("waiting for another command that works on cluster `{name}`"));
                file.lock().with_context(|| format!("lock {}", path.display()))?;
            }
            // Whoever held it may have removed it: then it locks nothing any more.
            if fs::metadata(&path).is_ok_and(|now| file.metadata().is_ok_and(|held| held.ino() == now.ino()))
            {
                return Ok(Self { _file: file });
            }
        }
    }

    /// Removes the lock, which is held, and the folder of all clusters if this was the last.
    pub(crate) fn remove(self, name: &Name) -> Result<()> {
        fs::remove_file(name.lock()).context("remove the lock")?;
        // Not empty while there are others.
        let _unused = fs::remove_dir(ROOT);
        Ok(())
    }
}
