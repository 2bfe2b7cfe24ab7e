//! Packages that boxes downloaded, handed from box to box as files: a folder that they shared would have one lock of apt's.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::base::Suite;
use super::disk;
use super::lab::{Lab, lock_exclusive};
use super::process::tool;

/// Where apt keeps what it downloaded.
const ARCHIVES: &str = "var/cache/apt/archives";

impl Lab {
    /// Names the folder of a release's packages, made and filled from the cache where it is not there.
    pub(crate) fn downloads(&self, suite: Suite) -> Result<PathBuf> {
        let cached = self.cache().join(format!("apt-archives-{suite}"));
        fs::create_dir_all(&cached).with_context(|| format!("creating {}", cached.display()))?;
        if !self.shares() {
            return Ok(cached);
        }
        // On the boxes' disk a copy costs nothing.
        let near = self.state().join(format!("downloads-{suite}"));
        if !near.is_dir() {
            let _lock = lock_exclusive(&self.lock_file("downloads"))?;
            if !near.is_dir() {
                let unfinished = near.with_extension("tmp");
                fs::create_dir_all(&unfinished)?;
                add(&cached, &unfinished)?;
                fs::rename(&unfinished, &near)?;
            }
        }
        Ok(near)
    }

    /// Puts the packages of earlier boxes where apt in this one looks for them.
    pub(crate) fn lend(&self, store: &Path, root: &Path) -> Result<()> {
        let target = root.join(ARCHIVES);
        fs::create_dir_all(target.join("partial"))
            .with_context(|| format!("creating {}", target.display()))?;
        let _lock = lock_exclusive(&self.lock_file("downloads"))?;
        if self.shares() {
            return disk::copy(&store.join("."), &target, true);
        }
        // Names for the same files: apt replaces and removes packages, and never writes into one.
        let (from, to) = (store.join(".").display().to_string(), target.display().to_string());
        tool("cp", ["-a", "--link", "--force", &from, &to]).map(drop)
    }

    /// Takes over what a box downloaded that no other one had; the box is off.
    pub(crate) fn collect(&self, store: &Path, suite: &str, root: &Path) -> Result<()> {
        let Ok(root) = root.canonicalize() else { return Ok(()) };
        let folder = root.join(ARCHIVES);
        // What a test made of the folder may lead anywhere.
        if !folder.canonicalize().is_ok_and(|real| real == folder) {
            return Ok(());
        }
        let _lock = lock_exclusive(&self.lock_file("downloads"))?;
        add(&folder, store)?;
        let cached = self.cache().join(format!("apt-archives-{suite}"));
        if cached != store {
            add(&folder, &cached)?;
        }
        Ok(())
    }
}

/// Copies the packages of a folder that another does not have; the caller holds the lock.
fn add(from: &Path, to: &Path) -> Result<()> {
    let Ok(entries) = fs::read_dir(from) else { return Ok(()) };
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name();
        let target = to.join(&name);
        let package = name.to_string_lossy().ends_with(".deb") && entry.file_type()?.is_file();
        if !package || target.exists() {
            continue;
        }
        let unfinished = target.with_extension("tmp");
        fs::copy(entry.path(), &unfinished)
            .and_then(|_| fs::rename(&unfinished, &target))
            .with_context(|| format!("keeping {}", target.display()))?;
    }
    Ok(())
}
