//! What the cluster runs, built from pinned Go modules and kept in the user's cache, so that nothing is built twice.

mod cache;
mod component;
mod key;
mod make;
mod recipe;
mod toolchain;
mod watch;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};

use cache::Cache;
pub use component::{Channel, Component, Suite};
use make::Workshop;
use recipe::Recipe;

use crate::cluster::programs_in_use;

/// The folders of the components that were asked for.
#[derive(Clone, Debug)]
pub struct Artifacts {
    folders: BTreeMap<Component, PathBuf>,
}

impl Artifacts {
    /// Builds those of `wanted` that the cache lacks. `progress` is told a line when something begins, ends or goes on for
    /// long; nothing when all is there. Waits for another builder.
    pub fn ensure(wanted: &[Component], progress: &dyn Fn(&str)) -> Result<Self> {
        Self::ensure_in(&Cache::of_user()?, wanted, &programs_in_use, progress)
    }

    fn ensure_in(
        cache: &Cache,
        wanted: &[Component],
        in_use: &dyn Fn() -> Vec<PathBuf>,
        progress: &dyn Fn(&str),
    ) -> Result<Self> {
        let mut folders = BTreeMap::new();
        for &component in wanted {
            let key = key::of(&Recipe::of(component), &modules())?;
            folders.insert(component, cache.folder(&component.to_string(), &key));
        }
        if folders.values().any(|folder| !cache.has(folder)) {
            let lock = cache.lock(progress)?;
            let workshop = Workshop::new(&scratch(), progress)?;
            for (&component, folder) in &folders {
                // Another builder may have made it while this one waited.
                if !cache.has(folder) {
                    lock.insert(folder, |into| workshop.make(component, into, progress))?;
                }
            }
            workshop.clear()?;
            let mut current = in_use();
            current.extend(folders.values().cloned());
            lock.prune(&current, progress)?;
        }
        for folder in folders.values() {
            cache::touch(folder)?;
        }
        Ok(Self { folders })
    }

    /// What was built before, wherever it is.
    pub(crate) fn at(folders: &BTreeMap<String, PathBuf>) -> Result<Self> {
        let mut known = BTreeMap::new();
        for (name, folder) in folders {
            ensure!(folder.is_dir(), "{} is gone from the cache", folder.display());
            cache::touch(folder)?;
            known.insert(name.parse()?, folder.clone());
        }
        Ok(Self { folders: known })
    }

    /// Each component's folder, by the component's name.
    pub(crate) fn folders(&self) -> BTreeMap<String, PathBuf> {
        self.folders.iter().map(|(component, folder)| (component.to_string(), folder.clone())).collect()
    }

    /// The path of a program, by its own name.
    pub fn program(&self, name: &str) -> Result<PathBuf> {
        let found = self.folders.values().map(|folder| folder.join(name)).find(|path| path.is_file());
        found.with_context(|| format!("{name} is in none of {:?}", self.folders.keys().collect::<Vec<_>>()))
    }

    /// The folder of the CNI plugins.
    pub fn cni_dir(&self) -> Result<PathBuf> {
        self.folder(Component::Cni).map(Path::to_owned)
    }

    /// The OCI archives among what was asked for, for every node to import.
    pub fn images(&self) -> Vec<PathBuf> {
        let archives = self.folders.values().map(|folder| folder.join(make::ARCHIVE));
        archives.filter(|archive| archive.is_file()).collect()
    }

    /// The OCI archive of a component.
    pub fn image(&self, component: Component) -> Result<PathBuf> {
        let archive = self.folder(component)?.join(make::ARCHIVE);
        ensure!(archive.is_file(), "{component} is no image");
        Ok(archive)
    }

    /// The files to `kubectl apply --server-side`: definitions, and the policy that guards their upgrades.
    pub fn gateway_api_crds(&self, version: Suite, channel: Channel) -> Result<Vec<PathBuf>> {
        let folder = self.folder(Component::Crds(version))?.join(channel.to_string());
        let entries = fs::read_dir(&folder).with_context(|| format!("read {}", folder.display()))?;
        let mut files = entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
        // One channel has a list of the files, the other has not.
        files.retain(|file| !file.ends_with("kustomization.yaml"));
        files.sort();
        ensure!(!files.is_empty(), "{} is empty", folder.display());
        Ok(files)
    }

    /// What the suite applies before its tests: the set `base` or `mesh`.
    pub fn suite_manifests(&self, version: Suite, set: &str) -> Result<PathBuf> {
        let file = self.folder(Component::Crds(version))?.join(format!("{set}.yaml"));
        ensure!(file.is_file(), "{} is not there", file.display());
        Ok(file)
    }

    /// The suite as a program.
    pub fn conformance_test(&self, suite: Suite) -> Result<PathBuf> {
        Ok(self.folder(Component::Conformance(suite))?.join("conformance.test"))
    }

    /// What all of it takes on disk.
    pub fn bytes(&self) -> Result<u64> {
        self.folders.values().map(|folder| cache::size(folder)).sum()
    }

    fn folder(&self, component: Component) -> Result<&Path> {
        let folder = self.folders.get(&component);
        folder.map(PathBuf::as_path).with_context(|| format!("{component} was not asked for"))
    }
}

/// The Go modules of this checkout.
fn modules() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("modules")
}

/// What building needs and the cache does not keep: the toolchain and Go's own cache.
fn scratch() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/cluster")
}

#[cfg(test)]
mod tests;
