//! The program for any of the architectures, as it is released: built against the oldest glibc, its debug symbols apart.
//!
//! `cargo zigbuild` compiles and links: zig compiles the C of the dependencies and has the symbols of every glibc, so
//! that no tree of an old Debian is needed. The Rust library of the target comes from the compiler of this machine
//! where it has one (`rustup target add`), else from Debian's compiler in a chroot that is made and cached here.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;

use anyhow::{Context, Result, bail};
use pitool_testkit::machine::DebianTree;

use crate::arch::{Arch, GLIBC_FLOOR};
use crate::build::{ESCAPED, c_flags, cargo_home, rust_flags};
use crate::tools::{cache_dir, cargo, command, find, is_root, read, root, run, target_dir};

/// The Debian whose compiler builds where this machine has none for the target: the one of `rust-version`.
const RELEASE: &str = "trixie";

/// What the chroot of the compiler shows of this machine, as packaging/cross/enter puts it there.
const SOURCE: &str = "/src";
const CARGO: &str = "/cargo";
const TARGET: &str = "/target";
const ZIG: &str = "/zig";

/// What decides, beside the sources, which bytes come out. `cross` passes the same on (Cross.toml).
const SETTINGS: [&str; 7] = [
    "SOURCE_DATE_EPOCH",
    "CARGO_ENCODED_RUSTFLAGS",
    "CARGO_INCREMENTAL",
    "CARGO_PROFILE_RELEASE_DEBUG",
    "CARGO_PROFILE_RELEASE_STRIP",
    "CFLAGS",
    ESCAPED.0,
];

/// The time that a compiler sees, in seconds since 1970: always the same.
///
/// rust-embed (in age) writes it into the program, and cargo does not build a dependency anew when it changes: with the
/// commit's time, a program would contain that of the commit at which the dependency happened to be built.
const DATE: &str = "1";

/// The sources to build and where to build them.
pub(crate) struct Place {
    pub(crate) source: PathBuf,
    pub(crate) target: PathBuf,
}

impl Place {
    /// This checkout, with a target folder for each architecture: cargo builds one at a time in each. Apart from the
    /// ordinary builds, which other flags would make anew.
    pub(crate) fn checkout(arch: Arch) -> Self {
        Self { source: root(), target: target_dir().join("packages").join(arch.debian()) }
    }

    /// Where the program for an architecture lies after its build.
    pub(crate) fn program(&self, arch: Arch) -> PathBuf {
        self.target.join(arch.target()).join("release/pitool")
    }
}

/// Builds the program, stripped, at [`Place::program`]; returns the file with its debug symbols.
pub(crate) fn build(arch: Arch, place: &Place) -> Result<PathBuf> {
    fs::create_dir_all(&place.target)?;
    let workshop = Workshop::open(arch, place)?;
    let [source, cargo_home, target, zig] = workshop.folders();
    let folders = [(source, "/pitool"), (cargo_home, "/cargo"), (target.clone(), "/target"), (zig, "/zig")];
    let mut rustflags = rust_flags(&folders);
    // The name under which debuggers find the symbols; the hash of the content, so the same for the same bytes.
    rustflags.push("-Clink-arg=-Wl,--build-id=sha1".to_owned());
    let cflags = c_flags(&folders)?;

    let values: [&str; SETTINGS.len()] =
        [DATE, &rustflags.join("\u{1f}"), "0", "line-tables-only", "none", &cflags, ESCAPED.1];
    let floor = format!("{}.{GLIBC_FLOOR}", arch.target());
    run(workshop
        .cargo()
        .args(["zigbuild", "--release", "--locked", "--offline", "--package", "pitool", "--bin", "pitool"])
        .args(["--target", &floor])
        .envs(SETTINGS.into_iter().zip(values)))?;

    // Beside the program and then over it: cargo keeps a second name for what it linked, which has to stay whole.
    let inside = target.join(arch.target()).join("release");
    let (linked, debug, stripped) =
        (inside.join("pitool"), inside.join("pitool.debug"), inside.join("pitool.stripped"));
    let objcopy = |arguments: &[&str], from: &Path, to: &Path| -> Result<()> {
        run(workshop.tool(&format!("{}-objcopy", arch.gnu()))?.args(arguments).args([from, to]))
    };
    objcopy(&["--only-keep-debug", "--compress-debug-sections"], &linked, &debug)?;
    objcopy(&["--strip-all", "--remove-section=.comment"], &linked, &stripped)?;
    let program = place.program(arch);
    fs::rename(program.with_file_name("pitool.stripped"), &program)?;
    Ok(program.with_file_name("pitool.debug"))
}

/// Where the compiler runs, and what it finds there.
struct Workshop<'a> {
    place: &'a Place,
    cargo_home: PathBuf,
    zig: PathBuf,
    /// The chroot; none where this machine's own compiler has the target.
    chroot: Option<PathBuf>,
}

impl<'a> Workshop<'a> {
    fn open(arch: Arch, place: &'a Place) -> Result<Self> {
        let chroot = if installed(arch) { None } else { Some(chroot(arch)?) };
        let zig = zig()?;
        // Here, because the chroot has no network of its own making: no proxy, no certificates.
        run(cargo().args(["fetch", "--locked", "--quiet"]).current_dir(&place.source))?;
        Ok(Self { place, cargo_home: cargo_home()?, zig, chroot })
    }

    /// The sources, cargo's home, the target folder and zig, as the compiler sees them.
    fn folders(&self) -> [PathBuf; 4] {
        match &self.chroot {
            Some(_) => [SOURCE, CARGO, TARGET, ZIG].map(PathBuf::from),
            None => [
                self.place.source.clone(),
                self.cargo_home.clone(),
                self.place.target.clone(),
                self.zig.clone(),
            ],
        }
    }

    /// A program of the workshop.
    fn tool(&self, name: &str) -> Result<Command> {
        let Some(chroot) = &self.chroot else {
            let tool =
                find(name).with_context(|| format!("{name} is not installed: run packaging/setup cross"))?;
            return Ok(command(tool));
        };
        Ok(self.inside(chroot, name))
    }

    fn inside(&self, chroot: &Path, program: &str) -> Command {
        let mut enter = Command::new("unshare");
        enter.args(["--mount", "--propagation=private", "--"]).arg(root().join("packaging/cross/enter"));
        enter.arg(chroot).args([&self.place.source, &self.cargo_home, &self.place.target, &self.zig]);
        enter.args(["env", "--chdir=/src", program]);
        self.environment(&mut enter, "/usr/bin:/bin:/usr/sbin:/sbin");
        enter
    }

    /// Cargo, which finds zigbuild, and zigbuild its zig.
    fn cargo(&self) -> Command {
        match &self.chroot {
            Some(chroot) => self.inside(chroot, "cargo"),
            None => {
                let mut cargo = cargo();
                cargo.current_dir(&self.place.source);
                self.environment(&mut cargo, &env::var("PATH").unwrap_or_default());
                cargo
            }
        }
    }

    /// Nothing of the caller's environment decides what is built.
    fn environment(&self, command: &mut Command, path: &str) {
        let [_, cargo_home, target, zig] = self.folders();
        let joined = |folder: &Path, name: &str| folder.join(name).into_os_string();
        let mut tools: OsString = joined(&zig, "bin");
        tools.push(":");
        tools.push(path);
        for name in ["RUSTFLAGS", "RUSTC_WRAPPER", "CARGO_BUILD_TARGET", "CARGO_BUILD_RUSTFLAGS", "CC", "AR"]
        {
            command.env_remove(name);
        }
        command
            .env("PATH", tools)
            .env("CARGO_HOME", cargo_home)
            .env("CARGO_TARGET_DIR", &target)
            .env("CARGO_ZIGBUILD_ZIG_PATH", joined(&zig, "ziglang/zig"))
            .env("XDG_CACHE_HOME", joined(&zig, "cache"))
            .env("ZIG_GLOBAL_CACHE_DIR", joined(&zig, "cache"))
            .env("ZIG_LOCAL_CACHE_DIR", joined(&zig, "cache"));
    }
}

/// Names the compiler that builds for an architecture, and everything that its version decides.
pub(crate) fn toolchain(arch: Arch) -> Result<String> {
    if installed(arch) {
        let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
        return read(command(rustc).arg("-vV"));
    }
    let status = chroot(arch)?.join("var/lib/dpkg/status");
    fs::read_to_string(&status).with_context(|| format!("cannot read {}", status.display()))
}

/// Has this machine's own compiler the Rust library of the target?
fn installed(arch: Arch) -> bool {
    let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    read(command(rustc).args(["--print", "target-libdir", "--target", arch.target()])).is_ok_and(|folder| {
        let library = fs::read_dir(folder).into_iter().flatten().flatten();
        library.into_iter().any(|file| file.file_name().to_string_lossy().starts_with("libstd-"))
    })
}

/// The chroot with Debian's compiler for all the architectures, made once (a minute, 1.6 GB).
fn chroot(arch: Arch) -> Result<PathBuf> {
    if !is_root() {
        bail!(
            "this machine's Rust cannot build for {arch}: `rustup target add {}`, or as root, which builds in a Debian chroot",
            arch.target()
        );
    }
    eprintln!(
        "this machine's Rust has no {} (`rustup target add` would change that): building with that of Debian {RELEASE}",
        arch.target()
    );
    // The compiler's own architecture first.
    let mut all = Arch::ALL;
    all.sort_by_key(|arch| !arch.is_host());
    let foreign: Vec<_> = all.iter().filter(|arch| !arch.is_host()).collect();
    let libraries: Vec<_> = foreign.iter().map(|arch| format!("libstd-rust-dev:{arch}")).collect();
    let binutils: Vec<_> = foreign.iter().map(|arch| arch.binutils()).collect();
    let mut packages = vec!["cargo", "rustc", "gcc", "libc6-dev", "ca-certificates"];
    packages.extend(libraries.iter().chain(&binutils).map(String::as_str));
    DebianTree {
        name: "compiler",
        release: RELEASE,
        variant: "apt",
        architectures: &all.map(Arch::debian),
        packages: &packages,
        options: &[],
    }
    .make(&cache_dir())
}

/// The folder with zig and cargo-zigbuild, of the versions and hashes that packaging/cross names.
fn zig() -> Result<PathBuf> {
    // The architectures are built beside each other, and each asks for it.
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _turn = ONE_AT_A_TIME.lock();
    let wanted = root().join("packaging/cross/requirements.txt");
    let versions: Vec<_> = fs::read_to_string(&wanted)?
        .lines()
        .filter_map(|line| Some(line.split_once("==")?.1.split(' ').next()?.to_owned()))
        .collect();
    let folder = cache_dir().join(format!("zig-{}", versions.join("-")));
    if !folder.is_dir() {
        let unfinished = folder.with_extension("tmp");
        let _ = fs::remove_dir_all(&unfinished);
        run(command("python3")
            .args([
                "-m",
                "pip",
                "install",
                "--quiet",
                "--no-deps",
                "--no-compile",
                "--disable-pip-version-check",
            ])
            .args(["--require-hashes", "--only-binary=:all:", "--root-user-action=ignore", "--target"])
            .arg(&unfinished)
            .arg("--requirement")
            .arg(wanted))
        .context("zig could not be installed; pip is needed: run packaging/setup cross")?;
        fs::create_dir_all(unfinished.join("cache"))?;
        fs::rename(&unfinished, &folder)?;
    }
    Ok(folder)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cross_builds_for_the_same_targets_with_the_same_settings() {
        let text = fs::read_to_string(root().join("Cross.toml")).unwrap();
        let cross: toml::Table = toml::from_str(&text).unwrap();
        let targets: Vec<&str> = cross["target"].as_table().unwrap().keys().map(String::as_str).collect();
        let mut ours = Arch::ALL.map(Arch::target);
        ours.sort_unstable();
        assert_eq!(targets, ours);
        let passed = cross["build"]["env"]["passthrough"].as_array().unwrap();
        let passed: Vec<&str> = passed.iter().map(|name| name.as_str().unwrap()).collect();
        assert_eq!(passed, SETTINGS);
        for (target, settings) in cross["target"].as_table().unwrap() {
            let image = settings["image"].as_str().unwrap();
            assert!(image.contains(&format!("/{target}:0.2.5")), "{image}: another release, another glibc");
        }
    }
}
