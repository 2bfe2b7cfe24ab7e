//! `cargo xtask reproduce`: proves that the same commit makes the same packages, byte for byte.
//!
//! The packages of this checkout, built however often and with whatever was there before, against those of a clean
//! clone at another path with nothing built, and the kept ones of the same inputs. Who downloads a package can so check that
//! it is made of these sources.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::thread;

use anyhow::{Result, anyhow, bail, ensure};

use crate::arch::Arch;
use crate::cross::{self, Place};
use crate::deb::{self, Choice};
use crate::tools::{command, read, root, run, target_dir};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// The architecture to build for
    #[arg(long, value_enum, default_value_t = Choice::All)]
    arch: Choice,
}

pub(crate) fn task(args: &Args) -> Result<()> {
    ensure!(
        !args.arch.arches().is_empty(),
        "only released packages are promised to be the same: name an architecture"
    );
    let safe = format!("safe.directory={}", root().display());
    let git = |words: &[&str]| read(command("git").args(["-c", &safe]).args(words));
    let changed = git(&["status", "--porcelain"])?;
    ensure!(changed.is_empty(), "a commit is what is built twice, and these are in none yet:\n{changed}");
    let commit = git(&["rev-parse", "HEAD"])?;

    let folder = target_dir().join("reproduce");
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder)?;
    let clone = folder.join("a clean clone");
    let origin = root();
    run(command("git").args(["-c", &safe, "clone", "--quiet"]).args([&origin, &clone]))?;
    run(Command::new("git").current_dir(&clone).args(["checkout", "--quiet", "--detach", &commit]))?;

    // As in `cargo xtask ci`: what they share is made once, and the builds run beside each other.
    let arches = args.arch.arches();
    for &arch in &arches {
        cross::toolchain(arch)?;
    }
    thread::scope(|scope| {
        let builds: Vec<_> = arches
            .iter()
            .map(|&arch| {
                let (clone, folder) = (&clone, folder.join(arch.debian()));
                scope.spawn(move || twice(arch, clone, &folder))
            })
            .collect();
        // Every one is waited for, also when another failed.
        let done: Vec<_> = builds
            .into_iter()
            .map(|build| build.join().unwrap_or_else(|_| Err(anyhow!("a build panicked"))))
            .collect();
        done.into_iter().collect::<Result<()>>()
    })?;
    fs::remove_dir_all(&folder)?;
    Ok(())
}

/// Builds an architecture's packages here and in the clone, and compares them.
fn twice(arch: Arch, clone: &Path, folder: &Path) -> Result<()> {
    fs::create_dir_all(folder)?;
    let here = deb::make(arch, &Place::checkout(arch))?;
    let elsewhere = Place { source: clone.to_owned(), target: folder.join("target") };
    let there = deb::make(arch, &elsewhere)?;
    for (here, there) in [(&here.package.deb, &there.package.deb), (&here.symbols, &there.symbols)] {
        same(here, there, folder)?;
    }
    // What is tested and released may have been built at an earlier commit.
    if let Some(kept) = deb::kept(arch)? {
        same(&kept.package.deb, &there.package.deb, folder)?;
        same(&kept.symbols, &there.symbols, folder)?;
    }
    Ok(())
}

/// Compares two packages; where they differ, says in which files.
fn same(here: &Path, there: &Path, folder: &Path) -> Result<()> {
    let name = here.file_name().unwrap_or_default().to_string_lossy();
    let [one, other] = [here, there].map(|deb| read(command("sha256sum").arg(deb)));
    let digest = |line: String| line.split(' ').next().unwrap_or_default().to_owned();
    let (one, other) = (digest(one?), digest(other?));
    if one == other {
        println!("{one}  {name}  the same from a clean clone");
        return Ok(());
    }
    let [left, right] = ["here", "there"].map(|side| folder.join(side));
    for (deb, tree) in [(here, &left), (there, &right)] {
        let _ = fs::remove_dir_all(tree);
        run(command("dpkg-deb").arg("--raw-extract").args([deb, tree]))?;
    }
    let differing = command("diff").args(["-rq"]).args([&left, &right]).output()?;
    bail!(
        "{name} is not reproducible ({one} here, {other} there):\n{}",
        String::from_utf8_lossy(&differing.stdout)
    );
}
