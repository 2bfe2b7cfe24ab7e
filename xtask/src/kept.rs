//! Packages that were built before of the same inputs: kept in the cache, so that only a change that reaches them builds
//! them again. `cargo xtask reproduce` proves that another build would have made the same bytes.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::SystemTime;

use anyhow::{Context, Result};
use walkdir::{DirEntry, WalkDir};

use crate::arch::Arch;
use crate::cross;
use crate::tools::{cache_dir, command, find, read};

/// All that decides which bytes a package has, beside the compiler. The same list for git, which is asked when any of it
/// changed last, and for the hash of what is there now.
const INPUTS: &[&str] = &[
    ".cargo",
    "CHANGELOG.md",
    "Cargo.lock",
    "Cargo.toml",
    "crates",
    "deb",
    "docs/completions",
    "docs/config.md",
    "docs/config.schema.json",
    "docs/faults.md",
    "docs/man",
    "docs/pitool.toml",
    "docs/prometheus",
    "docs/security.md",
    "packaging/cross",
    "xtask/src/arch.rs",
    "xtask/src/build.rs",
    "xtask/src/cross.rs",
    "xtask/src/deb.rs",
];

/// What is below [`INPUTS`] and in no package.
const EXCEPT: &[&str] = &[
    "crates/pitool-sim",
    "crates/pitool-testkit",
    "crates/*/tests",
    "crates/*/examples",
    "crates/*/proptest-regressions",
];

/// How many packages of an architecture stay: those of the branches that somebody works on.
const KEPT: usize = 4;

/// The time written into the package: that of the last commit that changed what goes in, in seconds since 1970.
pub(crate) fn source_date(source: &Path) -> Result<String> {
    // A root build of someone's checkout: git would refuse the foreign owner.
    let safe = format!("safe.directory={}", source.display());
    let excluded = EXCEPT.iter().map(|path| format!(":(exclude,glob){path}/**"));
    let date = read(
        Command::new("git")
            .current_dir(source)
            .args(["-c", &safe, "log", "-1", "--format=%ct", "--"])
            .args(INPUTS)
            .args(excluded),
    )?;
    anyhow::ensure!(!date.is_empty(), "git knows no commit of what goes into the package");
    Ok(date)
}

/// Names the folder in which the package of these inputs is kept.
pub(crate) fn folder(arch: Arch, source: &Path, date: &str) -> Result<PathBuf> {
    let mut hasher = blake3::Hasher::new();
    let mut add = |part: &[u8]| {
        hasher.update(&(part.len() as u64).to_le_bytes());
        hasher.update(part);
    };
    add(arch.target().as_bytes());
    add(date.as_bytes());
    add(cross::toolchain(arch)?.as_bytes());
    for tool in ["cargo-deb", "dpkg-deb"] {
        let program = find(tool).with_context(|| format!("{tool} is not installed"))?;
        add(read(command(program).arg("--version"))?.as_bytes());
    }
    for file in files(source)? {
        add(file.as_os_str().as_bytes());
        add(&content(&source.join(&file))?);
    }
    let key = &hasher.finalize().to_hex()[..16];
    Ok(cache_dir().join("packages").join(format!("{arch}-{key}")))
}

/// What a file holds; a link, which in test data may lead nowhere, holds its target.
fn content(path: &Path) -> Result<Vec<u8>> {
    let content = if path.is_symlink() {
        fs::read_link(path).map(|target| target.into_os_string().into_encoded_bytes())
    } else {
        fs::read(path)
    };
    content.with_context(|| format!("cannot read {}", path.display()))
}

/// The files that go into a package, by their paths in the checkout, in order.
fn files(source: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for input in INPUTS {
        let wanted = |entry: &DirEntry| entry.path().strip_prefix(source).is_ok_and(|path| !excluded(path));
        for entry in
            WalkDir::new(source.join(input)).follow_root_links(false).into_iter().filter_entry(wanted)
        {
            let entry = entry?;
            if !entry.file_type().is_dir() {
                found.push(entry.path().strip_prefix(source)?.to_owned());
            }
        }
    }
    found.sort();
    Ok(found)
}

fn excluded(path: &Path) -> bool {
    EXCEPT.iter().any(|except| {
        let parts: Vec<_> = Path::new(except).iter().collect();
        let own: Vec<_> = path.iter().collect();
        parts.len() == own.len() && parts.iter().zip(&own).all(|(part, own)| *part == "*" || part == own)
    })
}

/// Puts files into the folder, whole or not at all, and forgets the oldest packages of the architecture.
pub(crate) fn keep(arch: Arch, folder: &Path, files: &[&Path]) -> Result<()> {
    let unfinished = folder.with_extension("tmp");
    let _ = fs::remove_dir_all(&unfinished);
    fs::create_dir_all(&unfinished).with_context(|| format!("cannot create {}", unfinished.display()))?;
    for file in files {
        let name = file.file_name().context("a package without a name")?;
        fs::copy(file, unfinished.join(name)).with_context(|| format!("cannot keep {}", file.display()))?;
    }
    let _ = fs::remove_dir_all(folder);
    fs::rename(&unfinished, folder).with_context(|| format!("cannot keep {}", folder.display()))?;

    let mut all: Vec<(SystemTime, PathBuf)> = Vec::new();
    for entry in fs::read_dir(folder.parent().context("no cache")?)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with(&format!("{arch}-")) {
            all.push((entry.metadata()?.modified()?, entry.path()));
        }
    }
    all.sort();
    let surplus = all.len().saturating_sub(KEPT);
    for (_, old) in all.into_iter().take(surplus) {
        fs::remove_dir_all(&old).with_context(|| format!("cannot remove {}", old.display()))?;
    }
    Ok(())
}

/// The file that is there when lintian of this version had nothing to say about this very package.
pub(crate) fn verdict(deb: &Path, lintian: &Path) -> Result<PathBuf> {
    let mut hasher = blake3::Hasher::new();
    hasher.update(read(command(lintian).arg("--version"))?.as_bytes());
    hasher.update(&fs::read(deb).with_context(|| format!("cannot read {}", deb.display()))?);
    Ok(cache_dir().join("packages/lintian").join(&hasher.finalize().to_hex()[..16]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tools::root;

    #[test]
    fn what_is_packed_is_an_input_and_tests_are_not() {
        let files = files(&root()).unwrap();
        let has = |path: &str| files.iter().any(|file| file == Path::new(path));
        for path in ["crates/pitool/src/main.rs", "crates/pitool/no-unwind-tables.ld", ".cargo/config.toml"] {
            assert!(has(path), "{path}");
        }
        for path in [
            "crates/pitool-sim/src/lib.rs",
            "crates/pitool-testkit/src/lib.rs",
            "crates/pitool-roles/tests/laws.rs",
        ] {
            assert!(root().join(path).exists() && !has(path), "{path}");
        }
        for file in &files {
            content(&root().join(file)).unwrap();
        }
        // Whatever crates/pitool/Cargo.toml packs.
        let manifest = fs::read_to_string(root().join("crates/pitool/Cargo.toml")).unwrap();
        let manifest: toml::Table = toml::from_str(&manifest).unwrap();
        let assets = manifest["package"]["metadata"]["deb"]["assets"].as_array().unwrap();
        assert!(assets.len() > 10);
        for asset in assets {
            let path = asset[0].as_str().unwrap();
            let Some(path) = path.strip_prefix("../../") else { continue };
            let known = INPUTS.iter().any(|input| Path::new(path).starts_with(input));
            assert!(known, "{path} is packed and is no input");
        }
    }

    #[test]
    fn no_crate_of_the_package_depends_on_one_that_is_not_an_input() {
        let mut checked = 0;
        for entry in fs::read_dir(root().join("crates")).unwrap() {
            let folder = Path::new("crates").join(entry.unwrap().file_name());
            if excluded(&folder) {
                continue;
            }
            let manifest = fs::read_to_string(root().join(&folder).join("Cargo.toml")).unwrap();
            let manifest: toml::Table = toml::from_str(&manifest).unwrap();
            for kind in ["dependencies", "build-dependencies"] {
                let names = manifest
                    .get(kind)
                    .and_then(toml::Value::as_table)
                    .into_iter()
                    .flat_map(toml::Table::keys);
                for name in names {
                    let development = excluded(&Path::new("crates").join(name));
                    assert!(!development, "{} has {name} among its {kind}", folder.display());
                }
            }
            checked += 1;
        }
        assert!(checked > 8);
    }

    #[test]
    fn every_module_that_builds_packages_is_an_input() {
        let imports = fs::read_to_string(root().join("xtask/src/deb.rs")).unwrap();
        for line in imports.lines().filter_map(|line| line.strip_prefix("use crate::")) {
            let module = line.split("::").next().unwrap().trim_end_matches(';');
            // These run programs and read files; they say nothing of what is in a package.
            if ["elf", "kept", "tools"].contains(&module) {
                continue;
            }
            let file = format!("xtask/src/{module}.rs");
            assert!(INPUTS.contains(&file.as_str()), "{file} builds packages and is no input");
        }
    }
}
