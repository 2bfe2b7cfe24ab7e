//! `cargo xtask circles`: files of a crate that refer to each other.
//!
//! What counts is a `use` or a path outside tests that leads to an item in another file of the crate. What a module hands
//! on (`pub use`) leads to the file that defines it. A parent's `mod` and its `pub use` of what is below it do not count.

mod modules;
mod references;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};

use modules::Modules;
use references::{Reference, references};

use crate::tools::root;

/// Fails with the circles of all crates, if there are any.
pub(crate) fn task() -> Result<()> {
    let mut text = String::new();
    for package in packages()? {
        for root in roots(&package)? {
            text += &report(&Modules::read(&root, &|path| fs::read_to_string(path).ok())?);
        }
    }
    ensure!(
        text.is_empty(),
        "files of a crate refer to each other; move what both use into a file below them:\n{text}"
    );
    Ok(())
}

/// The folders of the workspace's packages.
fn packages() -> Result<Vec<PathBuf>> {
    let mut packages = vec![root().join("xtask")];
    for entry in fs::read_dir(root().join("crates"))? {
        packages.push(entry?.path());
    }
    packages.retain(|folder| folder.join("Cargo.toml").is_file());
    packages.sort();
    Ok(packages)
}

/// The root files of a package's library and programs.
fn roots(package: &Path) -> Result<Vec<PathBuf>> {
    let source = package.join("src");
    let mut roots = vec![source.join("lib.rs"), source.join("main.rs")];
    if source.join("bin").is_dir() {
        for entry in fs::read_dir(source.join("bin"))? {
            roots.push(entry?.path());
        }
    }
    roots.retain(|path| path.is_file());
    roots.sort();
    Ok(roots)
}

/// The circles of one crate with the references that close them; empty if there are none.
fn report(crate_: &Modules) -> String {
    let references = references(crate_);
    let name = |file: usize| {
        let path = &crate_.files[file];
        path.strip_prefix(root()).unwrap_or(path).display().to_string()
    };
    let mut text = String::new();
    for circle in circles(&references) {
        let names: Vec<String> = circle.iter().map(|file| name(*file)).collect();
        let _ = writeln!(text, "circle of {}: {}", names.len(), names.join(", "));
        let mut edges = BTreeMap::<(usize, usize), Vec<String>>::new();
        for one in &references {
            if circle.contains(&one.from) && circle.contains(&one.to) {
                let places = edges.entry((one.from, one.to)).or_default();
                places.push(format!("{} (line {})", one.path, one.line));
            }
        }
        for ((from, to), places) in edges {
            let _ = writeln!(text, "  {} -> {}: {}", name(from), name(to), places.join(", "));
        }
    }
    text
}

/// The largest sets of files in which each file leads to every other one.
fn circles(references: &[Reference]) -> Vec<BTreeSet<usize>> {
    let mut next = BTreeMap::<usize, BTreeSet<usize>>::new();
    for one in references {
        next.entry(one.from).or_default().insert(one.to);
    }
    let reached: BTreeMap<usize, BTreeSet<usize>> = next
        .keys()
        .map(|from| {
            let mut reached = BTreeSet::new();
            let mut open = vec![*from];
            while let Some(file) = open.pop() {
                for to in next.get(&file).into_iter().flatten() {
                    if reached.insert(*to) {
                        open.push(*to);
                    }
                }
            }
            (*from, reached)
        })
        .collect();
    let mut circles = Vec::new();
    for (file, below) in &reached {
        let circle: BTreeSet<usize> = below
            .iter()
            .copied()
            .filter(|other| reached.get(other).is_some_and(|all| all.contains(file)))
            .collect();
        // Each circle is found once for each of its files.
        if circle.first() == Some(file) {
            circles.push(circle);
        }
    }
    circles
}
