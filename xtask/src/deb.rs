//! `cargo xtask deb`: the Debian packages, checked with lintian.
//!
//! Without `--arch` for this very machine, with its own compiler and C library: quick, for trying things out. With it,
//! as released: built by [`cross`] for an architecture and every Debian from the oldest on, the debug symbols in a
//! package of their own. What goes in stands in `[package.metadata.deb]` of crates/pitool/Cargo.toml and in deb/.

use std::env;
use std::fs;
use std::os::unix::fs::{MetadataExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;

use anyhow::{Context, Result, bail, ensure};

use crate::arch::{Arch, GLIBC_FLOOR};
use crate::build::{self, BINARY_LIMIT, size};
use crate::cross::{self, Place};
use crate::elf::Program;
use crate::kept;
use crate::tools::{command, find, is_root, read, root, run, target_dir};

/// The package stays below this: it is downloaded by every Pi of a fleet.
pub(crate) const PACKAGE_LIMIT: u64 = 4 << 20;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// The architecture to build a released package for
    #[arg(long, value_enum, default_value_t = Choice::Host)]
    arch: Choice,
}

/// What `--arch` takes.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
pub(crate) enum Choice {
    /// This machine, with its own compiler and C library
    Host,
    Arm64,
    Armhf,
    Amd64,
    /// All three
    All,
}

impl Choice {
    /// The architectures to cross-build; none for this machine's own package.
    pub(crate) fn arches(self) -> Vec<Arch> {
        match self {
            Self::Host => Vec::new(),
            Self::Arm64 => vec![Arch::Arm64],
            Self::Armhf => vec![Arch::Armhf],
            Self::Amd64 => vec![Arch::Amd64],
            Self::All => Arch::ALL.to_vec(),
        }
    }
}

pub(crate) fn task(args: &Args) -> Result<()> {
    let mut packages = Vec::new();
    if let Choice::Host = args.arch {
        packages.push(build()?.deb);
    }
    for arch in args.arch.arches() {
        let released = released(arch)?;
        packages.extend([released.package.deb, released.symbols]);
    }
    for deb in packages {
        if !lint(&deb)? {
            println!("lintian is not installed: the package was not checked (`sudo apt install lintian`)");
            break;
        }
    }
    Ok(())
}

/// A built package and what it weighs.
#[derive(Clone)]
pub(crate) struct Package {
    pub(crate) deb: PathBuf,
    pub(crate) deb_size: u64,
    pub(crate) binary_size: u64,
}

/// A package as it is released, the program in it, and the package with its debug symbols.
#[derive(Clone)]
pub(crate) struct Released {
    pub(crate) program: PathBuf,
    pub(crate) package: Package,
    pub(crate) symbols: PathBuf,
}

/// Builds the package for this machine, puts a copy into dist/, and prints where and how big.
pub(crate) fn build() -> Result<Package> {
    let binary = build::release()?;
    let made = cargo_deb(&root(), &target_dir(), &source_date(&root())?, &[])?;
    let package = weighed(publish(&made)?, &binary)?;
    println!("{}  {}", package.deb.display(), size(package.deb_size, PACKAGE_LIMIT));
    println!("usr/bin/pitool  {}", size(package.binary_size, BINARY_LIMIT));
    Ok(package)
}

/// Hands out the released package of an architecture, built of what is in this checkout now or taken from the cache, puts
/// copies into dist/, and prints what a user wants to know of it.
pub(crate) fn released(arch: Arch) -> Result<Released> {
    /// What this very task has handed out, by [`Arch::ALL`]: parts of the tests run at the same time, and use the copies.
    static GIVEN: [Mutex<Option<Released>>; Arch::ALL.len()] = [const { Mutex::new(None) }; Arch::ALL.len()];
    let (_, given) = Arch::ALL
        .into_iter()
        .zip(&GIVEN)
        .find(|(known, _)| *known == arch)
        .context("an unknown architecture")?;
    let mut given = given.lock().map_err(|_| anyhow::anyhow!("another part panicked"))?;
    if let Some(released) = &*given {
        return Ok(released.clone());
    }
    let released = release(arch)?;
    *given = Some(released.clone());
    Ok(released)
}

fn release(arch: Arch) -> Result<Released> {
    let place = Place::checkout(arch);
    let made = match kept(arch)? {
        Some(kept) => kept,
        None => {
            let made = make(arch, &place)?;
            let files: [&Path; 3] = [&made.package.deb, &made.symbols, &made.program];
            kept::keep(arch, &kept_folder(arch)?, &files)?;
            made
        }
    };
    let program = Program::read(&made.program)?;
    program.check(arch)?;
    let package = weighed(publish(&made.package.deb)?, &made.program)?;
    let symbols = publish(&made.symbols)?;
    ensure!(package.deb_size < PACKAGE_LIMIT, "the package for {arch} is bigger than promised");
    ensure!(package.binary_size < BINARY_LIMIT, "the program for {arch} is bigger than promised");

    println!("{}  {}", package.deb.display(), size(package.deb_size, PACKAGE_LIMIT));
    println!("{}  {:.2} MB", symbols.display(), fs::metadata(&symbols)?.len() as f64 / f64::from(1 << 20));
    println!(
        "usr/bin/pitool  {}, needs glibc {} (promised: {GLIBC_FLOOR}), build id {}",
        size(package.binary_size, BINARY_LIMIT),
        program.glibc,
        program.build_id
    );
    Ok(Released { program: made.program, package, symbols })
}

fn kept_folder(arch: Arch) -> Result<PathBuf> {
    let source = root();
    kept::folder(arch, &source, &source_date(&source)?)
}

/// The released package of an architecture that was built before of what is in this checkout now, if it is kept.
pub(crate) fn kept(arch: Arch) -> Result<Option<Released>> {
    let folder = kept_folder(arch)?;
    if !folder.is_dir() {
        println!("{}: not built before of the same inputs", folder.display());
        return Ok(None);
    }
    let (mut deb, mut symbols) = (None, None);
    for entry in fs::read_dir(&folder)? {
        let path = entry?.path();
        match path.file_name().and_then(|name| name.to_str()).and_then(parts) {
            Some(("pitool", _)) => deb = Some(path),
            Some(("pitool-dbgsym", _)) => symbols = Some(path),
            _ => {}
        }
    }
    let program = folder.join("pitool");
    let (Some(deb), Some(symbols), true) = (deb, symbols, program.is_file()) else {
        bail!("{} lacks a part of the package: remove it", folder.display())
    };
    println!("{}: built before of the same inputs", folder.display());
    Ok(Some(Released { package: weighed(deb, &program)?, program, symbols }))
}

/// Builds the released package of an architecture from any place's sources, and leaves it in its target folder.
pub(crate) fn make(arch: Arch, place: &Place) -> Result<Released> {
    let date = source_date(&place.source)?;
    let debug = cross::build(arch, place)?;
    let program = Program::read(&place.program(arch))?;
    program.check(arch)?;

    let deb = cargo_deb(
        &place.source,
        &place.target,
        &date,
        &["--target", arch.target(), "--variant", "released"],
    )?;
    // The floor stands in two places: for the linker in arch.rs, for dpkg in Cargo.toml.
    let depends = field(&deb, "Depends")?;
    ensure!(
        depends.contains(&format!("libc6 (>= {GLIBC_FLOOR})")),
        "the package depends on {depends}, and not on the glibc {GLIBC_FLOOR} that it is built for"
    );
    let symbols = symbols(&deb, &debug, &program.build_id, &date)?;
    Ok(Released { program: place.program(arch), package: weighed(deb, &place.program(arch))?, symbols })
}

/// Has cargo-deb pack what is built; returns the package.
fn cargo_deb(source: &Path, target: &Path, date: &str, more: &[&str]) -> Result<PathBuf> {
    let cargo_deb = find("cargo-deb").context("cargo-deb is not installed: run packaging/setup deb")?;
    let out = target.join("debian");
    fs::create_dir_all(&out)?;
    let made = read(
        Command::new(cargo_deb)
            .current_dir(source)
            .args(["--package", "pitool", "--no-build", "--no-strip", "--locked", "--quiet", "--output"])
            .arg(&out)
            .args(more)
            .env("CARGO_TARGET_DIR", target)
            .env("SOURCE_DATE_EPOCH", date),
    )?;
    Ok(PathBuf::from(made.lines().last().context("cargo-deb named no package")?))
}

/// The package with the debug symbols: gdb and addr2line find them by the program's build id.
fn symbols(deb: &Path, debug: &Path, build_id: &str, date: &str) -> Result<PathBuf> {
    let [version, arch, maintainer] = ["Version", "Architecture", "Maintainer"].map(|name| field(deb, name));
    let (version, arch, maintainer) = (version?, arch?, maintainer?);
    let tree = deb.with_extension("symbols");
    let _ = fs::remove_dir_all(&tree);
    let folder = tree.join("usr/lib/debug/.build-id").join(&build_id[..2]);
    let doc = tree.join("usr/share/doc");
    for folder in [&folder, &doc, &tree.join("DEBIAN")] {
        fs::create_dir_all(folder)?;
    }
    fs::copy(debug, folder.join(format!("{}.debug", &build_id[2..])))?;
    // As Debian's own: the documents are those of the package that it needs.
    symlink("pitool", doc.join("pitool-dbgsym"))?;
    fs::write(
        tree.join("DEBIAN/control"),
        format!(
            "Package: pitool-dbgsym\nSource: pitool\nVersion: {version}\nArchitecture: {arch}\n\
             Auto-Built-Package: debug-symbols\nBuild-Ids: {build_id}\nMaintainer: {maintainer}\n\
             Depends: pitool (= {version})\nSection: debug\nPriority: optional\n\
             Description: debug symbols for pitool\n"
        ),
    )?;
    // Whatever the umask: dpkg-deb keeps the modes that it finds.
    run(command("chmod").args(["-R", "u=rwX,go=rX"]).arg(&tree))?;
    let package = deb.with_file_name(format!("pitool-dbgsym_{version}_{arch}.deb"));
    read(
        command("dpkg-deb")
            .args(["--root-owner-group", "-Zxz", "--threads-max=1", "--build"])
            .args([&tree, &package])
            .env("SOURCE_DATE_EPOCH", date),
    )?;
    fs::remove_dir_all(&tree)?;
    Ok(package)
}

/// A field of a package's control file.
pub(crate) fn field(deb: &Path, name: &str) -> Result<String> {
    read(command("dpkg-deb").arg("--field").arg(deb).arg(name))
}

fn weighed(deb: PathBuf, binary: &Path) -> Result<Package> {
    Ok(Package { deb_size: fs::metadata(&deb)?.len(), binary_size: fs::metadata(binary)?.len(), deb })
}

/// Runs lintian, where any error or warning fails; false when it is not installed.
pub(crate) fn lint(deb: &Path) -> Result<bool> {
    let Some(lintian) = find("lintian") else { return Ok(false) };
    let verdict = kept::verdict(deb, &lintian)?;
    if verdict.exists() {
        println!("{}: lintian had nothing to complain about", deb.display());
        return Ok(true);
    }
    run(command(lintian).args(["--fail-on", "error,warning", "--tag-display-limit", "0"]).arg(deb))?;
    println!("lintian: nothing to complain about");
    // Without a cache that can be written, it is asked again the next time.
    if verdict.parent().is_some_and(|folder| fs::create_dir_all(folder).is_ok()) {
        let _ = fs::write(&verdict, "");
    }
    Ok(true)
}

/// The time written into the package: that of its inputs, so that the same inputs make the same bytes.
fn source_date(source: &Path) -> Result<String> {
    if let Ok(date) = env::var("SOURCE_DATE_EPOCH") {
        return Ok(date);
    }
    kept::source_date(source).or_else(|_| {
        let changelog = source.join("deb/changelog");
        read(command("dpkg-parsechangelog").arg("-l").arg(changelog).args(["-S", "Timestamp"]))
    })
}

/// A copy in dist/, which holds the newest of each package only and belongs to whoever owns the checkout.
fn publish(made: &Path) -> Result<PathBuf> {
    let dist = root().join("dist");
    fs::create_dir_all(&dist)?;
    let name = made.file_name().and_then(|name| name.to_str()).context("the package has no name")?;
    for old in fs::read_dir(&dist)? {
        let old = old?.path();
        let other = old.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if parts(other).is_some() && parts(other) == parts(name) {
            fs::remove_file(old)?;
        }
    }
    let deb = dist.join(name);
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

/// Name and architecture in a package's file name, whatever the version.
fn parts(file: &str) -> Option<(&str, &str)> {
    let (name, rest) = file.strip_suffix(".deb")?.split_once('_')?;
    Some((name, rest.rsplit_once('_')?.1))
}

#[cfg(test)]
mod tests {
    use super::parts;

    #[test]
    fn an_older_version_of_a_package_is_known_by_its_file() {
        assert_eq!(parts("pitool_0.1.0-1_arm64.deb"), Some(("pitool", "arm64")));
        assert_ne!(parts("pitool-dbgsym_0.1.0-1_arm64.deb"), parts("pitool_0.2.0-1_arm64.deb"));
        assert_eq!(parts("notes.txt"), None);
    }
}
