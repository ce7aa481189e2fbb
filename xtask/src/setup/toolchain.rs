//! The Rust toolchains: stable for everything, nightly for the eBPF programs.

use std::path::Path;
use std::process::Command;

use anyhow::Result;

use super::{Lack, Purpose, Remedy, answer, present};

/// Compiles the eBPF programs; the name that aya-build asks for.
const NIGHTLY: &str = "nightly";

pub(super) fn lacks(purposes: &[Purpose]) -> Result<Vec<Lack>> {
    if !present("rustup") {
        return Ok(vec![Lack {
            what: "rustup".into(),
            why: "the eBPF programs are compiled by a second toolchain",
            remedy: Remedy::Advice("install rustup as https://rustup.rs says, then run this again".into()),
        }]);
    }
    let mut lacks = Vec::new();
    if purposes.contains(&Purpose::Test) {
        for (program, component) in [("cargo-fmt", "rustfmt"), ("cargo-clippy", "clippy")] {
            if !present(program) {
                lacks.push(component_lack(component, None, "checks the code's form"));
            }
        }
    }
    match sysroot() {
        None => lacks.push(Lack {
            what: "the nightly toolchain".into(),
            why: "the BPF target exists only there",
            remedy: words(&format!(
                "rustup toolchain install {NIGHTLY} --profile minimal --component rust-src"
            )),
        }),
        Some(sysroot) if !Path::new(&sysroot).join("lib/rustlib/src/rust/library/core").exists() => {
            lacks.push(component_lack("rust-src", Some(NIGHTLY), "the eBPF programs build core from source"));
        }
        Some(_) => {}
    }
    Ok(lacks)
}

/// The major version of the LLVM that writes the eBPF programs' bitcode.
pub(super) fn llvm_major() -> Option<u32> {
    let text = answer(Command::new("rustc").args([&format!("+{NIGHTLY}"), "-vV"]))?;
    major(&text)
}

fn major(version: &str) -> Option<u32> {
    let number = version.lines().find_map(|line| line.strip_prefix("LLVM version: "))?;
    number.split('.').next()?.parse().ok()
}

fn sysroot() -> Option<String> {
    let text = answer(Command::new("rustc").args([&format!("+{NIGHTLY}"), "--print", "sysroot"]))?;
    Some(text.trim().to_owned())
}

fn component_lack(component: &str, toolchain: Option<&str>, why: &'static str) -> Lack {
    let toolchain = toolchain.map(|name| format!(" --toolchain {name}")).unwrap_or_default();
    Lack {
        what: component.to_owned(),
        why,
        remedy: words(&format!("rustup component add {component}{toolchain}")),
    }
}

fn words(command: &str) -> Remedy {
    Remedy::Command(command.split(' ').map(str::to_owned).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_major_version_is_read() {
        assert_eq!(major("rustc 1.97.0-nightly\nrelease: 1.97.0\nLLVM version: 22.1.4\n"), Some(22));
        assert_eq!(major("rustc 1.97.0"), None);
    }
}
