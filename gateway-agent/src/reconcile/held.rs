//! Addresses that Gateways were given, kept over restarts: an assigned address is never taken away.

use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use anyhow::Context;
use gateway_common::ir::GatewayId;

pub type Addresses = BTreeMap<GatewayId, Vec<IpAddr>>;

/// The file of assignments.
pub struct Held {
    path: PathBuf,
    written: Addresses,
}

impl Held {
    /// Reads `addresses.json` in the state directory. A file that cannot be understood is an error: to go on would move addresses.
    pub fn open(state_dir: &Path) -> anyhow::Result<Self> {
        let path = state_dir.join("addresses.json");
        let written = match std::fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes).with_context(|| {
                format!("{} is damaged; restore it, or remove it to assign addresses anew", path.display())
            })?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Addresses::new(),
            Err(error) => return Err(error).with_context(|| format!("reading {}", path.display())),
        };
        Ok(Self { path, written })
    }

    pub fn addresses(&self) -> &Addresses {
        &self.written
    }

    /// Writes the assignments, if they changed, before anything uses them.
    pub fn keep(&mut self, held: &Addresses) -> anyhow::Result<()> {
        if *held == self.written {
            return Ok(());
        }
        replace(&self.path, &serde_json::to_vec_pretty(held)?)?;
        self.written = held.clone();
        Ok(())
    }
}

/// Replaces a file in one step; a reader sees the old or the new content.
fn replace(path: &Path, content: &[u8]) -> anyhow::Result<()> {
    let temporary = path.with_extension("tmp");
    std::fs::write(&temporary, content)
        .and_then(|()| std::fs::rename(&temporary, path))
        .with_context(|| format!("writing {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn assignments_come_back_and_damage_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let assigned = Addresses::from([(GatewayId::new("a/web"), vec!["203.0.113.1".parse().unwrap()])]);
        Held::open(dir.path()).unwrap().keep(&assigned).unwrap();
        assert_eq!(Held::open(dir.path()).unwrap().addresses(), &assigned);
        std::fs::write(dir.path().join("addresses.json"), "{").unwrap();
        assert!(Held::open(dir.path()).err().unwrap().to_string().contains("damaged"));
    }
}
