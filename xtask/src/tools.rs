//! What the tasks share: where things are, and running a program.

use std::env;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

/// The cache that root fills and everyone may read.
const SHARED_CACHE: &str = "/var/cache/pitool-dev";

/// The checkout.
pub(crate) fn root() -> PathBuf {
    // Asked at run time: a build that is kept may be of another checkout.
    let xtask = env::var_os("CARGO_MANIFEST_DIR").expect("cargo starts this program");
    Path::new(&xtask).parent().expect("xtask/ lies in the checkout").to_owned()
}

/// Where cargo builds: `CARGO_TARGET_DIR`, or `target/` of the checkout.
pub(crate) fn target_dir() -> PathBuf {
    env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), |dir| root().join(dir))
}

/// What is kept between runs outside the checkout, the same place as packaging/setup uses.
pub(crate) fn cache_dir() -> PathBuf {
    match env::var_os("PITOOL_CACHE") {
        Some(dir) => dir.into(),
        None if is_root() => SHARED_CACHE.into(),
        None => PathBuf::from(env::var_os("HOME").unwrap_or_default()).join(".cache/pitool-dev"),
    }
}

/// Are we root? Boxes, chroots and package installations need it.
pub(crate) fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0)
}

/// The program of that name in `PATH`, or among the tools that `packaging/setup` built into the cache.
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .chain(["/usr/sbin".into(), "/sbin".into()])
        .chain([cache_dir(), SHARED_CACHE.into()].map(|cache| cache.join("cargo/bin")))
        .map(|dir| dir.join(program))
        .find(|file| file.is_file())
}

/// A command that runs in the checkout.
pub(crate) fn command(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    command.current_dir(root());
    command
}

/// The cargo that runs this task.
pub(crate) fn cargo() -> Command {
    command(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}

/// Runs a command with our own stdout and stderr; anything but success is an error that names it.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    eprintln!("+ {}", shown(command));
    let status = command.status().with_context(|| format!("cannot start {}", shown(command)))?;
    if !status.success() {
        bail!("{} failed ({status})", shown(command));
    }
    Ok(())
}

/// Runs a command quietly and returns what it printed.
pub(crate) fn read(command: &mut Command) -> Result<String> {
    let output = command.output().with_context(|| format!("cannot start {}", shown(command)))?;
    if !output.status.success() {
        bail!("{} failed: {}", shown(command), String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}

fn shown(command: &Command) -> String {
    let program = Path::new(command.get_program()).file_name().unwrap_or(command.get_program());
    std::iter::once(program)
        .chain(command.get_args())
        .map(OsStr::to_string_lossy)
        .collect::<Vec<_>>()
        .join(" ")
}
