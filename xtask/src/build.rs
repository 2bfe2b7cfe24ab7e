//! `cargo xtask build`: the program as it is shipped, the same bytes wherever it is built.

use std::env;
use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};

use crate::tools::{cargo, root, run, target_dir};

/// The installed program stays below this: it goes onto SD cards and is read at every call.
pub(crate) const BINARY_LIMIT: u64 = 9 << 20;

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
    rustflags.extend(without_paths("--remap-path-prefix", &folders));
    let mut cflags = vec![env::var("CFLAGS").unwrap_or_default()];
    cflags.extend(without_paths("-ffile-prefix-map", &folders));

    run(cargo()
        .args(["build", "--release", "--locked", "--package", "pitool", "--bin", "pitool"])
        .env_remove("RUSTFLAGS")
        .env("CARGO_ENCODED_RUSTFLAGS", rustflags.join("\u{1f}"))
        .env("CFLAGS", cflags.join(" ").trim()))?;
    Ok(target_dir().join("release/pitool"))
}

/// Compiler flags that leave no trace of the building machine's folders in what is built.
pub(crate) fn without_paths(flag: &str, folders: &[(PathBuf, &str)]) -> Vec<String> {
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
