//! `cargo xtask release`: a signed apt repository of the packages in dist/, added to those that it holds already.
//!
//! A folder of files for any web server: `pool/` with every version ever released, `dists/` with the indexes and their
//! signature, the public key, and `pitool.sources`, which is all that a machine needs to be told.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};

use crate::arch::{Arch, GLIBC_FLOOR};
use crate::deb::field;
use crate::tools::{command, find, read, root, run};

/// The name of the only suite: whoever has it gets the newest release.
const SUITE: &str = "stable";

/// Where the key lies on a machine that uses the repository.
const KEYRING: &str = "/usr/share/keyrings/pitool-archive-keyring.gpg";

#[derive(clap::Args)]
pub(crate) struct Args {
    /// The repository's folder; made if it is not there
    #[arg(long, value_name = "DIR")]
    repo: PathBuf,
    /// The key to sign with, as gpg finds it: a fingerprint or an address
    #[arg(long)]
    key: String,
    /// The address under which machines will find the folder
    #[arg(long, default_value = "https://pitool.github.io/pitool/apt")]
    url: String,
    /// Packages to add instead of those in dist/
    #[arg(value_name = "DEB")]
    packages: Vec<PathBuf>,
}

pub(crate) fn task(args: &Args) -> Result<()> {
    for (program, package) in [("apt-ftparchive", "apt-utils"), ("gpg", "gpg")] {
        ensure!(find(program).is_some(), "{program} is not installed: apt install {package}");
    }
    let packages = if args.packages.is_empty() { in_dist()? } else { args.packages.clone() };
    fs::create_dir_all(&args.repo)?;
    let repo = args.repo.canonicalize()?;
    for package in &packages {
        add(&repo, package)?;
    }
    index(&repo)?;
    sign(&repo, &args.key)?;
    let public = repo.join("pitool-archive-keyring.gpg");
    run(command("gpg")
        .args(["--batch", "--yes", "--export-options", "export-minimal", "--output"])
        .arg(&public)
        .args(["--export", &args.key]))?;
    fs::write(repo.join("pitool.sources"), sources(&args.url))?;

    println!("{}: {} packages added, signed by {}", repo.display(), packages.len(), args.key);
    println!("On a machine:");
    println!("  sudo curl -fsSLo {KEYRING} {}/pitool-archive-keyring.gpg", args.url);
    println!("  sudo curl -fsSLo /etc/apt/sources.list.d/pitool.sources {}/pitool.sources", args.url);
    println!("  sudo apt update && sudo apt install pitool");
    Ok(())
}

/// The released packages in dist/, of all architectures or none.
fn in_dist() -> Result<Vec<PathBuf>> {
    let mut found = BTreeMap::new();
    for file in
        fs::read_dir(root().join("dist")).context("there is no dist/: run `cargo xtask deb --arch all`")?
    {
        let path = file?.path();
        if path.extension().is_some_and(|extension| extension == "deb") {
            found.insert((field(&path, "Package")?, field(&path, "Architecture")?), path);
        }
    }
    for arch in Arch::ALL {
        for name in ["pitool", "pitool-dbgsym"] {
            let there = found.contains_key(&(name.to_owned(), arch.debian().to_owned()));
            ensure!(there, "dist/ has no {name} for {arch}: run `cargo xtask deb --arch all`");
        }
    }
    Ok(found.into_values().collect())
}

/// Copies a package into the pool. A version that was released is never replaced by another of the same number.
fn add(repo: &Path, package: &Path) -> Result<()> {
    let name = field(package, "Package")?;
    let (version, arch) = (field(package, "Version")?, field(package, "Architecture")?);
    if name == "pitool" {
        let depends = field(package, "Depends")?;
        ensure!(
            depends.contains(&format!("libc6 (>= {GLIBC_FLOOR})")),
            "{} is for the machine that built it ({depends}): a released one is built with `cargo xtask deb --arch`",
            package.display()
        );
    }
    let folder = repo.join("pool/main/p/pitool");
    fs::create_dir_all(&folder)?;
    let target = folder.join(format!("{name}_{version}_{arch}.deb"));
    let content = fs::read(package).with_context(|| format!("cannot read {}", package.display()))?;
    match fs::read(&target) {
        Ok(released) if released == content => return Ok(()),
        Ok(_) => {
            bail!("{name} {version} for {arch} was released already, with other content: raise the version")
        }
        Err(_) => {}
    }
    fs::write(&target, content).with_context(|| format!("cannot write {}", target.display()))
}

/// Writes the indexes of every architecture, and what they weigh and are, into `Release`.
fn index(repo: &Path) -> Result<()> {
    let dists = format!("dists/{SUITE}");
    for arch in Arch::ALL {
        let folder = repo.join(&dists).join(format!("main/binary-{arch}"));
        fs::create_dir_all(&folder)?;
        let all = ["--arch", arch.debian(), "packages", "pool"];
        let index = read(command("apt-ftparchive").current_dir(repo).args(all))? + "\n";
        fs::write(folder.join("Packages"), index)?;
        run(command("gzip").args(["--force", "--keep", "--no-name", "-9"]).arg(folder.join("Packages")))?;
    }
    for stale in ["Release", "InRelease", "Release.gpg"] {
        let _ = fs::remove_file(repo.join(&dists).join(stale));
    }
    let architectures = Arch::ALL.map(Arch::debian).join(" ");
    let release = read(
        command("apt-ftparchive")
            .current_dir(repo)
            .args(
                ["Origin=pitool", "Label=pitool", "Components=main", "Description=pitool for Debian"]
                    .map(|pair| format!("-oAPT::FTPArchive::Release::{pair}")),
            )
            .arg(format!("-oAPT::FTPArchive::Release::Suite={SUITE}"))
            .arg(format!("-oAPT::FTPArchive::Release::Codename={SUITE}"))
            .arg(format!("-oAPT::FTPArchive::Release::Architectures={architectures}"))
            .args(["release", &dists]),
    )?;
    fs::write(repo.join(dists).join("Release"), release + "\n")?;
    Ok(())
}

/// Signs `Release`, inside (`InRelease`) and beside it (`Release.gpg`), as apt and older tools want it.
fn sign(repo: &Path, key: &str) -> Result<()> {
    let folder = repo.join("dists").join(SUITE);
    for (how, output) in [("--clear-sign", "InRelease"), ("--detach-sign", "Release.gpg")] {
        run(command("gpg")
            .args(["--batch", "--yes", "--armor", "--digest-algo", "SHA512", "--local-user", key, "--output"])
            .arg(folder.join(output))
            .arg(how)
            .arg(folder.join("Release")))?;
    }
    Ok(())
}

/// What a machine's apt is told, in deb822 form. It asks for the architectures that its dpkg has.
fn sources(url: &str) -> String {
    format!("Types: deb\nURIs: {url}\nSuites: {SUITE}\nComponents: main\nSigned-By: {KEYRING}\n")
}
