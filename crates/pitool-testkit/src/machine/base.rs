//! Base trees: a minimal Debian of each suite, made once and copied for every box.

use std::fmt;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::str::FromStr;
use std::time::Instant;

use anyhow::{Context, Result, bail};

use super::lab::{Lab, lock_exclusive, lock_shared};
use super::mirror::{Mirror, Source, apt_settings};
use super::process::tool;

/// Raised whenever the steps below change, so that cached trees of the old recipe are made again.
const RECIPE: &str = "1";

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
        let base = self.cache().join(format!("base-{suite}-{}", self.stamp(suite, &mirror)));
        if base.is_dir() {
            return Ok(base);
        }
        let _lock = lock_exclusive(&self.base_lock(suite))?;
        if base.is_dir() {
            return Ok(base);
        }
        self.remove_other_bases(suite)?;
        build(suite, &mirror, &base)?;
        Ok(base)
    }

    /// Copies the base tree of a suite to where a box will live.
    pub(crate) fn copy_base(&self, suite: Suite, target: &Path) -> Result<()> {
        let base = self.base(suite)?;
        // Held so that nobody replaces the base by one of a newer recipe half way through the copy.
        let _lock = lock_shared(&self.base_lock(suite))?;
        let (from, to) = (base.display().to_string(), target.display().to_string());
        tool("cp", ["-a", "--reflink=auto", &from, &to])?;
        Ok(())
    }

    fn base_lock(&self, suite: Suite) -> PathBuf {
        self.cache().join(format!("base-{suite}.lock"))
    }

    fn stamp(&self, suite: Suite, mirror: &Mirror) -> String {
        let recipe = format!("{RECIPE} {suite} {PACKAGES:?} {mirror:?} {}", std::env::consts::ARCH);
        blake3::hash(recipe.as_bytes()).to_hex()[..8].to_owned()
    }

    fn remove_other_bases(&self, suite: Suite) -> Result<()> {
        let prefix = format!("base-{suite}-");
        for entry in fs::read_dir(self.cache())?.flatten() {
            if entry.file_name().to_string_lossy().starts_with(&prefix) {
                fs::remove_dir_all(entry.path())
                    .with_context(|| format!("removing {}", entry.path().display()))?;
            }
        }
        Ok(())
    }
}

fn build(suite: Suite, mirror: &Mirror, base: &Path) -> Result<()> {
    let started = Instant::now();
    super::lab::say(&format!("making the {suite} base tree with mmdebstrap, once"));
    let sources = mirror.sources(suite.codename());
    let unfinished = PathBuf::from(format!("{}.tmp", base.display()));

    let mut command = Command::new("mmdebstrap");
    command.arg("--variant=minbase").arg(format!("--include={}", PACKAGES.join(",")));
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
        bail!("mmdebstrap failed:\n{}", super::lab::tail(&String::from_utf8_lossy(&output.stderr), 30));
    }
    finish(suite, &sources, &unfinished)?;
    fs::rename(&unfinished, base).with_context(|| format!("renaming {}", unfinished.display()))?;
    super::lab::say(&format!("made the {suite} base tree in {:.0} s", started.elapsed().as_secs_f64()));
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
