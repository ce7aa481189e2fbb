//! What a component is kept under: a hash of everything that its build reads.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use sha2::{Digest as _, Sha256};

use super::recipe::Recipe;
use super::toolchain;
use crate::image;

/// Changes when the way of building changes and no input does.
const FORM: u32 = 1;

/// The key of `recipe` with the modules in `modules`.
pub(super) fn of(recipe: &Recipe, modules: &Path) -> Result<String> {
    let mut hash = Sha256::new();
    let mut part = |name: &str, content: &[u8]| {
        hash.update(format!("{name} {}\n", content.len()));
        hash.update(content);
    };
    part("form", format!("{FORM} {}", image::FORM).as_bytes());
    part("go", toolchain::REQUIREMENT.as_bytes());
    part("flags", format!("{:?}", toolchain::FLAGS).as_bytes());
    part("recipe", format!("{recipe:?}").as_bytes());
    for path in files(&modules.join(recipe.module))? {
        let content = fs::read(&path).with_context(|| format!("read {}", path.display()))?;
        part(&path.file_name().unwrap_or_default().to_string_lossy(), &content);
    }
    Ok(hex(&hash.finalize()[..8]))
}

/// The files of a module, all in one folder, by name.
fn files(module: &Path) -> Result<Vec<PathBuf>> {
    let listed = fs::read_dir(module).with_context(|| format!("read {}", module.display()))?;
    let mut files = listed.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    files.sort();
    Ok(files)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::super::component::Component;
    use super::*;

    #[test]
    fn the_key_follows_sources_and_recipe() {
        let modules = tempfile::tempdir().unwrap();
        for module in ["cni", "pause"] {
            fs::create_dir(modules.path().join(module)).unwrap();
            fs::write(modules.path().join(module).join("go.mod"), "module x\n").unwrap();
        }
        let key = |component| of(&Recipe::of(component), modules.path()).unwrap();
        let (cni, pause) = (key(Component::Cni), key(Component::Pause));
        assert_eq!(cni.len(), 16);
        assert_ne!(cni, pause, "the recipes differ");
        assert_eq!(cni, key(Component::Cni));
        fs::write(modules.path().join("cni/go.sum"), "a\n").unwrap();
        assert_ne!(cni, key(Component::Cni));
        assert_eq!(pause, key(Component::Pause), "another module's files do not matter");
    }
}
