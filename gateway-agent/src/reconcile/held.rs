//! Addresses that Gateways were given, kept over restarts: an assigned address is never taken away.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use anyhow::Context;
use gateway_common::ir::GatewayId;

use crate::object::NsName;

pub type Addresses = BTreeMap<GatewayId, Vec<IpAddr>>;

/// The file of assignments.
pub struct Held {
    path: PathBuf,
    written: Addresses,
}

/// Assignments of Gateways that were not seen since the start. A file that cannot be read may be why, and then they stay.
#[derive(Default)]
pub struct Unseen(Addresses);

impl Unseen {
    pub fn new(addresses: &Addresses) -> Self {
        Self(addresses.clone())
    }

    /// Nothing of the source is unknown any more: who was not seen is gone. True if that was somebody.
    pub fn give_up(&mut self) -> bool {
        !std::mem::take(&mut self.0).is_empty()
    }

    /// What is held when these Gateways are there.
    pub fn forget_gone<'a>(&self, held: &mut Addresses, there: impl Iterator<Item = &'a NsName>) {
        let there: BTreeSet<GatewayId> = there.map(|name| GatewayId::new(name.to_string())).collect();
        held.retain(|id, _| there.contains(id) || self.0.contains_key(id));
    }

    /// What is held after these were assigned.
    pub fn beside(&mut self, mut assigned: Addresses) -> Addresses {
        self.0.retain(|id, _| !assigned.contains_key(id));
        assigned.extend(self.0.clone());
        assigned
    }
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
    fn who_was_not_seen_keeps_addresses_until_all_is_known() {
        let (a, b) = (NsName::new("x", "a"), NsName::new("x", "b"));
        let of = |name: &NsName, last: u8| (GatewayId::new(name.to_string()), vec![[192, 0, 2, last].into()]);
        let only = |one: (GatewayId, Vec<IpAddr>)| Addresses::from([one]);
        let both = Addresses::from([of(&a, 1), of(&b, 2)]);
        let mut unseen = Unseen::new(&both);
        let mut held = both.clone();
        unseen.forget_gone(&mut held, [&a].into_iter());
        assert_eq!(held, both);
        held = unseen.beside(only(of(&a, 1)));
        assert_eq!(held, both);
        // Who was seen and goes is not waited for.
        unseen.forget_gone(&mut held, [].into_iter());
        assert_eq!(held, only(of(&b, 2)));
        assert!(unseen.give_up());
        unseen.forget_gone(&mut held, [].into_iter());
        assert_eq!((held, unseen.give_up()), (Addresses::new(), false));
    }

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
