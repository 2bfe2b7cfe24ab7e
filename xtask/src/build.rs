//! `cargo xtask build`: the program as it is shipped, the same bytes wherever it is built.

use std::env;
use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};

use crate::tools::{cargo, root, run, target_dir};

/// The installed program stays below this: it goes onto SD cards and is read at every call.
pub(crate) const BINARY_LIMIT: u64 = 10 << 20;

pub(crate) fn task() -> Result<()> {
    let binary = release()?;
    println!("{}  {}", binary.display(), size(fs::metadata(&binary)?.len(), BINARY_LIMIT));
    Ok(())
}

/// Builds the release program for this machine, with its own compiler.
pub(crate) fn release() -> Result<PathBuf> {
    let folders = [(root(), "/pitool"), (cargo_home()?, "/cargo"), (target_dir(), "/target")];
    let mut rustflags: Vec<_> = env::var("RUSTFLAGS")
        .map(|flags| flags.split_whitespace().map(str::to_owned).collect())
        .unwrap_or_default();
    rustflags.extend(rust_flags(&folders));
    let given = env::var("CFLAGS").unwrap_or_default();
    let cflags = format!("{given} {}", c_flags(&folders)?);

    run(cargo()
        .args(["build", "--release", "--locked", "--package", "pitool", "--bin", "pitool"])
        .env_remove("RUSTFLAGS")
        .env("CARGO_ENCODED_RUSTFLAGS", rustflags.join("\u{1f}"))
        .env("CFLAGS", cflags.trim())
        .env(ESCAPED.0, ESCAPED.1))?;
    Ok(target_dir().join("release/pitool"))
}

/// What rustc is told for everything that is shipped. Nothing unwinds, because a panic aborts: the tables would only give a
/// backtrace, of a program without symbols.
pub(crate) fn rust_flags(folders: &[(PathBuf, &str)]) -> Vec<String> {
    let mut flags = without_paths("--remap-path-prefix", folders);
    flags.push("-Cforce-unwind-tables=no".to_owned());
    flags
}

/// What the C compiler is told for the libraries in it, to the same ends: `CFLAGS`, quoted as in a shell.
pub(crate) fn c_flags(folders: &[(PathBuf, &str)]) -> Result<String> {
    let mut flags = without_paths("-ffile-prefix-map", folders);
    flags.extend(["-fno-unwind-tables", "-fno-asynchronous-unwind-tables"].map(str::to_owned));
    Ok(shlex::try_join(flags.iter().map(String::as_str))?)
}

/// Tells the crate `cc` to read `CFLAGS` with its quotes: a folder may have a space in its name.
pub(crate) const ESCAPED: (&str, &str) = ("CC_SHELL_ESCAPED_FLAGS", "1");

/// Compiler flags that leave no trace of the building machine's folders in what is built.
fn without_paths(flag: &str, folders: &[(PathBuf, &str)]) -> Vec<String> {
    folders.iter().map(|(from, to)| format!("{flag}={}={to}", from.display())).collect()
}

/// Where cargo keeps the sources of the dependencies.
pub(crate) fn cargo_home() -> Result<PathBuf> {
    let home = || Some(PathBuf::from(env::var_os("HOME")?).join(".cargo"));
    env::var_os("CARGO_HOME").map(PathBuf::from).or_else(home).context("neither CARGO_HOME nor HOME is set")
}

/// A size against its limit, for people: `1.23 MB of 4 MB`.
pub(crate) fn size(bytes: u64, limit: u64) -> String {
    let verdict = if bytes < limit { "" } else { "  TOO BIG" };
    format!("{:.2} MB of {} MB{verdict}", bytes as f64 / f64::from(1 << 20), limit >> 20)
}
