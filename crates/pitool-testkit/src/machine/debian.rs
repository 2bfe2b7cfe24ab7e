//! Trees of any Debian, also of other architectures: what is built in, run from or booted, made once and kept.
//!
//! Boxes have bases of their own ([`Lab::base`](super::Lab::base)). These trees are for what is not a box: a compiler,
//! the C library of an old release on ARM, the disk of an emulated machine.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};

use super::lab::lock_exclusive;
use super::mirror::{Mirror, apt_settings};
use super::talk::say;

/// What a tree is made of; another recipe makes another tree.
#[derive(Clone, Debug)]
pub struct DebianTree<'a> {
    /// Its name in the cache.
    pub name: &'a str,
    /// The release's code name.
    pub release: &'a str,
    /// mmdebstrap's variant: `extract` runs nothing of the tree's own architecture.
    pub variant: &'a str,
    /// Architectures, the tree's own first.
    pub architectures: &'a [&'a str],
    /// Packages beside those of the variant; `NAME:ARCHITECTURE` for a foreign one.
    pub packages: &'a [&'a str],
    /// More of mmdebstrap's options, such as hooks.
    pub options: &'a [&'a str],
}

/// The line of apt's sources for a release, from the mirror that this host uses.
pub fn release_source(release: &str) -> Result<String> {
    Ok(Mirror::of_this_host()?.release(release).line())
}

impl DebianTree<'_> {
    /// Hands out the tree, making it first if the cache has none of this recipe.
    pub fn make(&self, cache: &Path) -> Result<PathBuf> {
        let mirror = Mirror::of_this_host()?;
        let stamp = blake3::hash(format!("{self:?} {mirror:?}").as_bytes()).to_hex()[..8].to_owned();
        let tree = cache.join(format!("tree-{}-{stamp}", self.name));
        if tree.is_dir() {
            return Ok(tree);
        }
        ensure!(nix::unistd::geteuid().is_root(), "making the Debian tree {} needs root", self.name);
        fs::create_dir_all(cache).with_context(|| format!("creating {}", cache.display()))?;
        let _lock = lock_exclusive(&cache.join(format!("tree-{}.lock", self.name)))?;
        if tree.is_dir() {
            return Ok(tree);
        }
        self.remove_earlier(cache)?;
        self.build(&mirror, &tree)?;
        Ok(tree)
    }

    fn remove_earlier(&self, cache: &Path) -> Result<()> {
        let prefix = format!("tree-{}-", self.name);
        for entry in fs::read_dir(cache)?.flatten() {
            let name = entry.file_name();
            // The stamp has no dash: a longer name is another tree's.
            let stamp = name.to_str().and_then(|name| name.strip_prefix(&prefix));
            if stamp.is_some_and(|stamp| !stamp.contains('-')) {
                fs::remove_dir_all(entry.path())
                    .with_context(|| format!("removing {}", entry.path().display()))?;
            }
        }
        Ok(())
    }

    fn build(&self, mirror: &Mirror, tree: &Path) -> Result<()> {
        let started = Instant::now();
        say(&format!(
            "making the Debian tree {} ({}, {})",
            self.name,
            self.release,
            self.architectures.join(" ")
        ));
        let unfinished = PathBuf::from(format!("{}.tmp", tree.display()));
        let mut command = Command::new("mmdebstrap");
        command
            .arg(format!("--variant={}", self.variant))
            .arg(format!("--architectures={}", self.architectures.join(",")))
            .arg(format!("--include={}", self.packages.join(",")))
            .args(self.options);
        for setting in apt_settings(None) {
            command.arg(format!("--aptopt={}", setting.trim_end_matches(';')));
        }
        command
            .arg(self.release)
            .arg(&unfinished)
            // Without the fixes since, so that the same compiler builds the same bytes for everybody.
            .arg(mirror.release(self.release).line())
            .stdin(Stdio::null())
            .stdout(Stdio::null());
        // What mmdebstrap says on stderr is the progress of something that may take minutes.
        let status = command.status().context("starting mmdebstrap: apt install mmdebstrap")?;
        if !status.success() {
            let _ = fs::remove_dir_all(&unfinished);
            bail!("mmdebstrap could not make the tree {}", self.name);
        }
        fs::rename(&unfinished, tree).with_context(|| format!("renaming {}", unfinished.display()))?;
        say(&format!("made the Debian tree {} in {:.0} s", self.name, started.elapsed().as_secs_f64()));
        Ok(())
    }
}
