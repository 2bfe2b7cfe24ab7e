//! `cargo xtask build`: the program as it is shipped, the same bytes wherever it is built.

use std::env;
use std::fs;
use std::path::PathBuf;

use anyhow::Result;

use crate::tools::{cargo, root, run, target_dir};

/// The installed program stays below this: it goes onto SD cards and is read at every call.
pub(crate) const BINARY_LIMIT: u64 = 9 << 20;

pub(crate) fn task() -> Result<()> {
    let binary = release()?;
    println!("{}  {}", binary.display(), size(fs::metadata(&binary)?.len(), BINARY_LIMIT));
    Ok(())
}

/// Builds the release program without a trace of this machine's folders in it.
pub(crate) fn release() -> Result<PathBuf> {
    let cargo_home = env::var_os("CARGO_HOME")
        .map(PathBuf::from)
        .or_else(|| Some(PathBuf::from(env::var_os("HOME")?).join(".cargo")));
    let folders = [(Some(root()), "/pitool"), (cargo_home, "/cargo"), (Some(target_dir()), "/target")];
    let folders: Vec<_> =
        folders.iter().filter_map(|(from, to)| Some((from.as_ref()?.display(), to))).collect();

    let mut rustflags: Vec<_> = env::var("RUSTFLAGS")
        .map(|flags| flags.split_whitespace().map(str::to_owned).collect())
        .unwrap_or_default();
    rustflags.extend(folders.iter().map(|(from, to)| format!("--remap-path-prefix={from}={to}")));
    // A panic aborts and nothing unwinds: the tables would only give a backtrace, of a program without symbols.
    rustflags.push("-Cforce-unwind-tables=no".to_owned());
    let mut cflags = vec![env::var("CFLAGS").unwrap_or_default()];
    cflags.extend(folders.iter().map(|(from, to)| format!("-ffile-prefix-map={from}={to}")));
    cflags.extend(["-fno-unwind-tables", "-fno-asynchronous-unwind-tables"].map(str::to_owned));

    run(cargo()
        .args(["build", "--release", "--locked", "--package", "pitool", "--bin", "pitool"])
        .env_remove("RUSTFLAGS")
        .env("CARGO_ENCODED_RUSTFLAGS", rustflags.join("\u{1f}"))
        .env("CFLAGS", cflags.join(" ").trim()))?;
    Ok(target_dir().join("release/pitool"))
}

/// A size against its limit, for people: `1.23 MB of 4 MB`.
pub(crate) fn size(bytes: u64, limit: u64) -> String {
    let verdict = if bytes < limit { "" } else { "  TOO BIG" };
    format!("{:.2} MB of {} MB{verdict}", bytes as f64 / f64::from(1 << 20), limit >> 20)
}
