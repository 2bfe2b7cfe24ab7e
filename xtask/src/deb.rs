//! `cargo xtask deb`: the Debian package for this machine, checked with lintian.
//!
//! What goes into it stands in `[package.metadata.deb]` of crates/pitool/Cargo.toml and in deb/.

use std::env;
use std::fs;
use std::os::unix::fs::{MetadataExt, chown};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::build::{self, BINARY_LIMIT, size};
use crate::tools::{command, find, is_root, read, root, run, target_dir};

/// The package stays below this: it is downloaded by every Pi of a fleet.
pub(crate) const PACKAGE_LIMIT: u64 = 4 << 20;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// The architecture to build for
    #[arg(long, value_enum, default_value_t = Arch::Host)]
    arch: Arch,
}

/// Only this machine's own for now; the cross-built ones join here.
#[derive(Clone, Copy, clap::ValueEnum)]
enum Arch {
    Host,
}

pub(crate) fn task(args: &Args) -> Result<()> {
    let Arch::Host = args.arch;
    let package = build()?;
    if !lint(&package.deb)? {
        println!("lintian is not installed: the package was not checked (`sudo apt install lintian`)");
    }
    Ok(())
}

/// A built package and what it weighs.
pub(crate) struct Package {
    pub(crate) deb: PathBuf,
    pub(crate) deb_size: u64,
    pub(crate) binary_size: u64,
}

/// Builds the package, puts a copy into dist/, and prints where and how big.
pub(crate) fn build() -> Result<Package> {
    let cargo_deb = find("cargo-deb").context("cargo-deb is not installed: run packaging/setup deb")?;
    let binary = build::release()?;

    let out = target_dir().join("debian");
    fs::create_dir_all(&out)?;
    let made = read(
        command(cargo_deb)
            .args(["--package", "pitool", "--no-build", "--no-strip", "--locked", "--quiet", "--output"])
            .arg(&out)
            .env("SOURCE_DATE_EPOCH", source_date()?),
    )?;
    let made = PathBuf::from(made.lines().last().context("cargo-deb named no package")?);
    let deb = publish(&made)?;

    let package =
        Package { deb_size: fs::metadata(&deb)?.len(), binary_size: fs::metadata(binary)?.len(), deb };
    println!("{}  {}", package.deb.display(), size(package.deb_size, PACKAGE_LIMIT));
    println!("usr/bin/pitool  {}", size(package.binary_size, BINARY_LIMIT));
    Ok(package)
}

/// Runs lintian, where any error or warning fails; false when it is not installed.
pub(crate) fn lint(deb: &Path) -> Result<bool> {
    let Some(lintian) = find("lintian") else { return Ok(false) };
    run(command(lintian).args(["--fail-on", "error,warning", "--tag-display-limit", "0"]).arg(deb))?;
    println!("lintian: nothing to complain about");
    Ok(true)
}

/// The time written into the package: that of the last commit, so that the same commit makes the same bytes.
fn source_date() -> Result<String> {
    if let Ok(date) = env::var("SOURCE_DATE_EPOCH") {
        return Ok(date);
    }
    // A root build of someone's checkout: git would refuse the foreign owner.
    let safe = format!("safe.directory={}", root().display());
    read(command("git").args(["-c", &safe, "log", "-1", "--format=%ct"])).or_else(|_| {
        let changelog = root().join("deb/changelog");
        read(command("dpkg-parsechangelog").arg("-l").arg(changelog).args(["-S", "Timestamp"]))
    })
}

/// A copy in dist/, which holds the newest package only and belongs to whoever owns the checkout.
fn publish(made: &Path) -> Result<PathBuf> {
    let dist = root().join("dist");
    fs::create_dir_all(&dist)?;
    for old in fs::read_dir(&dist)? {
        let old = old?.path();
        if old.extension().is_some_and(|extension| extension == "deb") {
            fs::remove_file(old)?;
        }
    }
    let deb = dist.join(made.file_name().context("the package has no name")?);
    fs::copy(made, &deb).with_context(|| format!("cannot copy {} into dist/", made.display()))?;
    if is_root() {
        let owner = fs::metadata(root())?;
        for path in [&dist, &deb] {
            chown(path, Some(owner.uid()), Some(owner.gid()))?;
        }
    }
    if !deb.is_file() {
        bail!("{} was not made", deb.display());
    }
    Ok(deb)
}
