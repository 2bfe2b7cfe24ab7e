//! Base trees: a minimal Debian of each suite, made once and copied for every box.

use std::fmt;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::str::FromStr;
use std::time::Instant;

use anyhow::{Context, Result, bail};

use super::disk;
use super::lab::{Lab, lock_exclusive, lock_shared};
use super::mirror::{Mirror, Source, apt_settings};
use super::process::tool;
use super::talk::{say, tail};

/// Raised whenever the steps below change, so that cached trees of the old recipe are made again.
const RECIPE: &str = "2";

/// What a freshly installed Debian or Raspberry Pi OS Lite has and tests rely on.
const PACKAGES: &[&str] = &[
    "apt",
    "ca-certificates",
    "curl",
    "dbus",
    "iproute2",
    "kmod",
    "less",
    "locales",
    "openssh-client",
    "openssh-server",
    "procps",
    "python3",
    "rsync",
    "sudo",
    "systemd",
    "systemd-sysv",
    "tzdata",
];

/// What no test reads, and what takes dpkg the longest: a third of all files are documents and translations. Their
/// folders stay, because dpkg does not make those above a file that is included again.
const UNPACKED: &[&str] = &[
    "path-exclude=/usr/share/doc/*/*",
    "path-include=/usr/share/doc/pitool*",
    "path-exclude=/usr/share/man/*/*",
    "path-include=/usr/share/man/man1/pitool*",
    "path-exclude=/usr/share/locale/*/*",
    "path-exclude=/usr/share/info/*",
];

/// A release of Debian that boxes run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Suite {
    /// Debian 13.
    Trixie,
    /// Debian 12.
    Bookworm,
}

impl Suite {
    /// Every suite, the current one first.
    pub const ALL: [Self; 2] = [Self::Trixie, Self::Bookworm];

    /// Names the suite as the archive does.
    pub fn codename(self) -> &'static str {
        match self {
            Self::Trixie => "trixie",
            Self::Bookworm => "bookworm",
        }
    }

    /// Gives the number of the release.
    pub fn version(self) -> u32 {
        match self {
            Self::Trixie => 13,
            Self::Bookworm => 12,
        }
    }
}

impl fmt::Display for Suite {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.codename())
    }
}

impl FromStr for Suite {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        let found = Self::ALL.into_iter().find(|suite| suite.codename() == text);
        found.with_context(|| format!("no suite {text:?}: trixie or bookworm"))
    }
}

impl Lab {
    /// Hands out the base tree of a suite, making it first (half a minute) if this recipe's is not cached.
    pub fn base(&self, suite: Suite) -> Result<PathBuf> {
        let mirror = Mirror::of_this_host()?;
        let name = format!("debian-{suite}-{}", self.stamp(suite, &mirror));
        let (cached, near) = (self.cache().join(&name), self.state().join(&name));
        // The cache outlives the boxes' disk, and may lie on another one, from which no blocks can be shared.
        let base = if self.shares() { &near } else { &cached };
        if base.is_dir() {
            return Ok(base.clone());
        }
        let _lock = lock_exclusive(&self.base_lock(suite))?;
        if !cached.is_dir() {
            remove_other_bases(self.cache(), suite)?;
            build(suite, &mirror, &cached)?;
        }
        if !base.is_dir() {
            remove_other_bases(&self.state(), suite)?;
            let unfinished = self.state().join(format!("{name}.tmp"));
            disk::copy(&cached, &unfinished, false)?;
            fs::rename(&unfinished, base).with_context(|| format!("renaming {}", unfinished.display()))?;
        }
        Ok(base.clone())
    }

    /// Copies the base tree of a suite to where a box will live.
    pub(crate) fn copy_base(&self, suite: Suite, target: &Path) -> Result<()> {
        let base = self.base(suite)?;
        // Held so that nobody replaces the base by one of a newer recipe half way through the copy.
        let _lock = lock_shared(&self.base_lock(suite))?;
        disk::copy(&base, target, self.shares())
    }

    fn base_lock(&self, suite: Suite) -> PathBuf {
        self.lock_file(&format!("debian-{suite}"))
    }

    fn stamp(&self, suite: Suite, mirror: &Mirror) -> String {
        let arch = std::env::consts::ARCH;
        let recipe = format!("{RECIPE} {suite} {PACKAGES:?} {UNPACKED:?} {mirror:?} {arch}");
        blake3::hash(recipe.as_bytes()).to_hex()[..8].to_owned()
    }
}

fn remove_other_bases(folder: &Path, suite: Suite) -> Result<()> {
    let prefix = format!("debian-{suite}-");
    for entry in fs::read_dir(folder)?.flatten() {
        if entry.file_name().to_string_lossy().starts_with(&prefix) {
            fs::remove_dir_all(entry.path())
                .with_context(|| format!("removing {}", entry.path().display()))?;
        }
    }
    Ok(())
}

fn build(suite: Suite, mirror: &Mirror, base: &Path) -> Result<()> {
    let started = Instant::now();
    say(&format!("making the {suite} base tree with mmdebstrap, once"));
    let sources = mirror.sources(suite.codename());
    let unfinished = PathBuf::from(format!("{}.tmp", base.display()));

    let mut command = Command::new("mmdebstrap");
    command.arg("--variant=minbase").arg(format!("--include={}", PACKAGES.join(",")));
    for setting in UNPACKED {
        command.arg(format!("--dpkgopt={setting}"));
    }
    for setting in apt_settings(None) {
        command.arg(format!("--aptopt={}", setting.trim_end_matches(';')));
    }
    command
        .arg(suite.codename())
        .arg(&unfinished)
        .args(sources.iter().map(Source::line))
        .stdin(Stdio::null());
    let output = command.output().context("starting mmdebstrap")?;
    if !output.status.success() {
        let _ = fs::remove_dir_all(&unfinished);
        bail!("mmdebstrap failed:\n{}", tail(&String::from_utf8_lossy(&output.stderr), 30));
    }
    finish(suite, &sources, &unfinished)?;
    fs::rename(&unfinished, base).with_context(|| format!("renaming {}", unfinished.display()))?;
    say(&format!("made the {suite} base tree in {:.0} s", started.elapsed().as_secs_f64()));
    Ok(())
}

/// Turns what mmdebstrap made into what an installer leaves.
fn finish(suite: Suite, sources: &[Source], tree: &Path) -> Result<()> {
    let apt = tree.join("etc/apt");
    let lines: Vec<String> = sources.iter().map(Source::line).collect();
    let stanzas: Vec<String> = sources.iter().map(Source::stanza).collect();
    match suite {
        Suite::Bookworm => fs::write(apt.join("sources.list"), lines.join("\n") + "\n")?,
        Suite::Trixie => {
            fs::remove_file(apt.join("sources.list"))?;
            fs::write(apt.join("sources.list.d/debian.sources"), stanzas.join("\n"))?;
        }
    }
    let leftover = apt.join("apt.conf.d/99mmdebstrap");
    if leftover.exists() {
        fs::remove_file(leftover)?;
    }

    let folder = tree.join("etc/dpkg/dpkg.cfg.d");
    fs::create_dir_all(&folder)?;
    for leftover in fs::read_dir(&folder)?.flatten() {
        if leftover.file_name().to_string_lossy().contains("mmdebstrap") {
            fs::remove_file(leftover.path())?;
        }
    }
    let unpacked =
        format!("# An artefact of the test bed; no real machine has this file.\n{}\n", UNPACKED.join("\n"));
    fs::write(folder.join("00lab"), unpacked)?;

    // No kernel of its own, so no modules: the unit would only leave the box degraded.
    let units = tree.join("etc/systemd/system");
    fs::create_dir_all(&units)?;
    symlink("/dev/null", units.join("systemd-modules-load.service"))?;

    let path = tree.display().to_string();
    tool("chroot", [&path, "useradd", "--create-home", "--shell=/bin/bash", "--groups=sudo", "pi"])?;
    fs::write(tree.join("etc/machine-id"), "")?;
    fs::set_permissions(tree.join("etc/machine-id"), fs::Permissions::from_mode(0o444))?;
    Ok(())
}
