//! Carries out a recipe: compiles, copies, packs.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};

use super::cache::{locked, size};
use super::component::Component;
use super::recipe::{Programs, Recipe, Work};
use super::toolchain::{FLAGS, Go};
use super::watch::{Output, run};
use crate::image::Sbom;

/// The image of a component, in its folder.
pub(super) const ARCHIVE: &str = "image.tar";

/// Where things are built; one at a time, whichever cache they go to.
pub(super) struct Workshop {
    scratch: PathBuf,
    _lock: File,
}

impl Workshop {
    pub(super) fn new(scratch: &Path, progress: &dyn Fn(&str)) -> Result<Self> {
        fs::create_dir_all(scratch).with_context(|| format!("create {}", scratch.display()))?;
        let lock = locked(&scratch.join("lock"), progress)?;
        Ok(Self { scratch: scratch.canonicalize()?, _lock: lock })
    }

    /// Fills the folder `into`.
    pub(super) fn make(&self, component: Component, into: &Path, progress: &dyn Fn(&str)) -> Result<()> {
        let begun = Instant::now();
        let output = Output::create(&self.scratch.join(format!("{component}.log")), progress)?;
        let recipe = Recipe::of(component);
        let go = Go::ensure(&self.scratch, &output)?;
        let bench = Bench {
            title: format!("{component}: build"),
            module: super::modules().join(recipe.module),
            go,
            output,
        };
        output_of(&recipe, &bench, &self.scratch.join("stage"), into)
            .with_context(|| component.to_string())?;
        let (seconds, megabytes) = (begun.elapsed().as_secs_f64(), size(into)? / 1_000_000);
        progress(&format!("{component}: built in {seconds:.1} s, {megabytes} MB"));
        Ok(())
    }

    /// Drops what only a further build would use.
    pub(super) fn clear(&self) -> Result<()> {
        let progress = |_: &str| {};
        let output = Output::create(&self.scratch.join("clear.log"), &progress)?;
        Go::ensure(&self.scratch, &output)?.clear()
    }
}

/// A module about to be built.
struct Bench<'a> {
    title: String,
    module: PathBuf,
    go: Go,
    output: Output<'a>,
}

fn output_of(recipe: &Recipe, bench: &Bench<'_>, stage: &Path, into: &Path) -> Result<()> {
    let Some(image) = &recipe.image else {
        return fill(recipe, bench, into);
    };
    let _ = fs::remove_dir_all(stage);
    fs::create_dir_all(stage)?;
    fill(recipe, bench, stage)?;
    let mut sbom = Sbom::new(image.title);
    for program in programs(recipe) {
        let about = bench.read(&["version", "-m", "-json", &stage.join(program).to_string_lossy()])?;
        sbom.add_go(&about).with_context(|| format!("read what {program} is built from"))?;
    }
    image.pack(stage, &sbom, &into.join(ARCHIVE))?;
    Ok(fs::remove_dir_all(stage)?)
}

/// Compiles and copies.
fn fill(recipe: &Recipe, bench: &Bench<'_>, into: &Path) -> Result<()> {
    match &recipe.work {
        Work::Programs(programs) => bench.programs(programs, into)?,
        Work::Tests(name) => {
            let mut arguments = vec!["test", "-c"];
            arguments.extend(FLAGS);
            let target = into.join(name);
            let target = target.to_string_lossy();
            arguments.extend(["-ldflags=-s -w", "-o", &target, "."]);
            run(&bench.title, &mut bench.go.command(&bench.module, &arguments), &bench.output, None)?;
        }
        Work::Nothing => {}
    }
    for (module, from, to) in &recipe.copies {
        copy(&bench.source(module)?.join(from), &into.join(to))?;
    }
    Ok(())
}

fn programs(recipe: &Recipe) -> Vec<&'static str> {
    match &recipe.work {
        Work::Programs(programs) => programs.packages.iter().map(|(_, name)| *name).collect(),
        Work::Tests(name) => vec![name],
        Work::Nothing => Vec::new(),
    }
}

impl Bench<'_> {
    fn programs(&self, programs: &Programs, into: &Path) -> Result<()> {
        let packages: Vec<&str> = programs.packages.iter().map(|(package, _)| *package).collect();
        let mut download = self.go.command(&self.module, &["mod", "download"]);
        run(&format!("{} (modules)", self.title), &mut download, &self.output, None)?;
        let tags = format!("-tags={}", programs.tags);
        let list = [&["list", "-deps", &tags], &packages[..]].concat();
        let all = self.read(&list)?.lines().count();
        let mut flags = String::from("-ldflags=-s -w");
        for (name, value) in &programs.variables {
            flags.push_str(&format!(" -X {name}={value}"));
        }
        let target = format!("{}/", into.display());
        let build = [&["build", "-v", &tags, &flags, "-o", &target], &FLAGS[..], &packages[..]].concat();
        run(&self.title, &mut self.go.command(&self.module, &build), &self.output, Some(all))?;
        for (package, name) in &programs.packages {
            let built = into.join(self.built_name(package));
            let kept = into.join(name);
            fs::rename(&built, &kept)
                .with_context(|| format!("{package} did not become {}", built.display()))?;
        }
        for (name, program) in &programs.links {
            std::os::unix::fs::symlink(program, into.join(name))?;
        }
        Ok(())
    }

    /// What go calls the program of a package.
    fn built_name<'a>(&'a self, package: &'a str) -> String {
        let name = match package {
            "." => self.module.file_name().unwrap_or_default().to_string_lossy(),
            path => program_name(path).into(),
        };
        name.into_owned()
    }

    /// Where a module's files are.
    fn source(&self, module: &str) -> Result<PathBuf> {
        let text = self.read(&["mod", "download", "-json", module])?;
        let answer: serde_json::Value = serde_json::from_str(&text)?;
        let folder = answer.get("Dir").and_then(serde_json::Value::as_str);
        Ok(folder.with_context(|| format!("go does not say where {module} is: {text}"))?.into())
    }

    /// What a go command prints.
    fn read(&self, arguments: &[&str]) -> Result<String> {
        let mut command: Command = self.go.command(&self.module, arguments);
        let output = command.output().with_context(|| format!("start {command:?}"))?;
        ensure!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr).trim());
        String::from_utf8(output.stdout).context("output that is not UTF-8")
    }
}

/// The last part of a path that is not a version.
fn program_name(path: &str) -> &str {
    let version = |part: &str| {
        part.strip_prefix('v')
            .is_some_and(|rest| !rest.is_empty() && rest.bytes().all(|b| b.is_ascii_digit()))
    };
    path.rsplit('/').find(|part| !version(part)).unwrap_or(path)
}

/// Copies a file or a folder, writable whatever the source is.
fn copy(from: &Path, to: &Path) -> Result<()> {
    if !from.is_dir() {
        let content = fs::read(from).with_context(|| format!("read {}", from.display()))?;
        return fs::write(to, content).with_context(|| format!("write {}", to.display()));
    }
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        copy(&entry.path(), &to.join(entry.file_name()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_named_as_go_names_them() {
        assert_eq!(program_name("go.etcd.io/etcd/server/v3"), "server");
        assert_eq!(program_name("github.com/containerd/containerd/v2/cmd/ctr"), "ctr");
        assert_eq!(program_name("x/vulcan"), "vulcan");
    }
}
