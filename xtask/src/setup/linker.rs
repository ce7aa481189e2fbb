//! bpf-linker, built against the LLVM that the nightly compiler writes bitcode with: another one cannot read it.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use super::{Homes, Lack, Remedy, answer, apt, toolchain};
use crate::step::Log;

const VERSION: &str = "0.13.0";
/// LLVM versions that bpf-linker can be built with.
const LLVM: std::ops::RangeInclusive<u32> = 21..=23;

pub(super) fn lacks(homes: &Homes) -> Result<Vec<Lack>> {
    let llvm = llvm()?;
    if usable(homes, llvm) {
        return Ok(Vec::new());
    }
    Ok(vec![Lack {
        what: format!("bpf-linker {VERSION} for LLVM {llvm}"),
        why: "links the eBPF programs",
        remedy: Remedy::Linker(format!(
            "Debian's packages {}, then LLVM_PREFIX={} cargo {}",
            packages(llvm).join(" "),
            prefix(llvm).display(),
            arguments(llvm).join(" ")
        )),
    }])
}

/// Installs it if it is missing: from the cache, else from source.
pub(super) fn install(homes: &Homes, log: &Log) -> Result<()> {
    let llvm = llvm()?;
    if usable(homes, llvm) {
        return Ok(());
    }
    let cached = homes.cache().join(format!("bpf-linker-{VERSION}-llvm-{llvm}"));
    let program = program(homes);
    if cached.exists() {
        apt(&packages(llvm)[1..], log)?;
        fs::create_dir_all(homes.programs())?;
        fs::copy(&cached, &program).with_context(|| format!("copy {}", cached.display()))?;
        if usable(homes, llvm) {
            return Ok(());
        }
    }
    apt(&packages(llvm), log)?;
    let mut cargo = Command::new("cargo");
    cargo.env("LLVM_PREFIX", prefix(llvm)).args(arguments(llvm));
    log.must(&format!("cargo install bpf-linker {VERSION} for LLVM {llvm}"), &mut cargo)?;
    if !usable(homes, llvm) {
        bail!("{} was built and does not run; see {}", program.display(), log.path().display());
    }
    // A cache that cannot be written only costs time.
    let _ = fs::create_dir_all(homes.cache()).and_then(|()| fs::copy(&program, &cached));
    Ok(())
}

fn llvm() -> Result<u32> {
    let Some(llvm) = toolchain::llvm_major() else {
        bail!("`rustc +nightly -vV` does not say which LLVM it has");
    };
    if !LLVM.contains(&llvm) {
        bail!(
            "the nightly toolchain writes bitcode of LLVM {llvm}, and bpf-linker {VERSION} reads {LLVM:?}: \
             set VERSION in xtask/src/setup/linker.rs to one that reads it"
        );
    }
    Ok(llvm)
}

fn program(homes: &Homes) -> PathBuf {
    homes.programs().join("bpf-linker")
}

/// Starts, has the version, and is linked to that LLVM.
fn usable(homes: &Homes, llvm: u32) -> bool {
    let program = program(homes);
    let version = answer(Command::new(&program).arg("--version")).unwrap_or_default();
    let libraries = answer(Command::new("ldd").arg(&program)).unwrap_or_default();
    version.split_whitespace().any(|word| word == VERSION) && reads(&libraries, llvm)
}

/// Whether a program with these shared libraries reads bitcode of that LLVM; a static one was built for it.
fn reads(libraries: &str, llvm: u32) -> bool {
    let mut linked = libraries.lines().filter(|line| line.contains("libLLVM")).peekable();
    let names = [format!("libLLVM.so.{llvm}"), format!("libLLVM-{llvm}")];
    linked.peek().is_none() || linked.any(|line| names.iter().any(|name| line.contains(name.as_str())))
}

/// What it is built with, then what it runs with.
fn packages(llvm: u32) -> [String; 2] {
    [format!("llvm-{llvm}-dev"), format!("libllvm{llvm}")]
}

fn prefix(llvm: u32) -> PathBuf {
    PathBuf::from(format!("/usr/lib/llvm-{llvm}"))
}

fn arguments(llvm: u32) -> Vec<String> {
    let feature = format!("llvm-{llvm}");
    [
        "install",
        "bpf-linker",
        "--version",
        VERSION,
        "--no-default-features",
        "--features",
        &feature,
        "--force",
    ]
    .map(str::to_owned)
    .to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_llvm_must_be_the_compiler_s() {
        let linked = "\tlibLLVM.so.22.1 => /usr/lib/llvm-22/lib/libLLVM.so.22.1 (0x0)\n\tlibc.so.6 => x\n";
        assert!(reads(linked, 22));
        assert!(!reads(linked, 23));
        assert!(reads("\tlibc.so.6 => x\n", 23));
    }
}
