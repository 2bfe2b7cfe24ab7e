//! `cargo xtask lint`: what can be judged by reading.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};

use crate::circles;
use crate::generate;
use crate::phrases;
use crate::times::timed;
use crate::tools::{cache_dir, cargo, command, find, root, run};

pub(crate) fn task() -> Result<()> {
    run(cargo().args(["fmt", "--all", "--check"]))?;
    paths_of_the_build()?;
    phrases::task(&phrases::Args { update: false })?;
    timed("circles", circles::task)?;
    let clippy =
        ["clippy", "--workspace", "--all-targets", "--all-features", "--locked", "--", "--deny", "warnings"];
    timed("clippy", || run(cargo().args(clippy)))?;
    timed("generated files", || generate::task(&generate::Args { check: true }))?;
    timed("scripts and pipelines", || {
        scripts()?;
        pipelines()
    })
}

/// Builds are kept for other checkouts (`.ci/times`), so no source takes the path of the one that it is compiled in.
fn paths_of_the_build() -> Result<()> {
    let variable = "CARGO_MANIFEST_DIR";
    let wrong = command("git")
        .args([
            "-c",
            &format!("safe.directory={}", root().display()),
            "grep",
            "--line-number",
            "--fixed-strings",
        ])
        .args([&format!("env!(\"{variable}\")"), "--", "*.rs"])
        .output()
        .context("cannot start git")?;
    match wrong.status.code() {
        // Nothing found.
        Some(1) => Ok(()),
        Some(0) => bail!(
            "{variable} at compile time names a checkout that may be gone; tests run in the folder of their crate, \
             other programs ask for the variable at run time:\n{}",
            String::from_utf8_lossy(&wrong.stdout)
        ),
        _ => bail!("git grep: {}", String::from_utf8_lossy(&wrong.stderr)),
    }
}

/// The CI pipelines against the schema of those who run them.
fn pipelines() -> Result<()> {
    // Of the version that packaging/setup installs.
    let checker = cache_dir().join("check-jsonschema-0.39.0");
    if !checker.is_dir() {
        println!("skipped: CI pipelines (check-jsonschema is not installed: packaging/setup lint)");
        return Ok(());
    }
    let concourse = "packaging/ci/concourse.schema.json";
    for (schema, pipeline) in [
        (["--builtin-schema", "vendor.github-workflows"], "packaging/ci/github.yml"),
        (["--schemafile", concourse], "packaging/ci/concourse.yml"),
    ] {
        run(command("python3")
            .args(["-m", "check_jsonschema", "--quiet"])
            .args(schema)
            .arg(pipeline)
            .env("PYTHONPATH", &checker))?;
    }
    Ok(())
}

/// Every shell script of the project through shellcheck.
fn scripts() -> Result<()> {
    let Some(shellcheck) = find("shellcheck") else {
        println!("skipped: shell scripts (shellcheck is not installed)");
        return Ok(());
    };
    let mut scripts = Vec::new();
    for folder in
        [".ci", "deb", "packaging", "packaging/cross", "tests/package", "crates/pitool/src/commands/image"]
    {
        for entry in fs::read_dir(root().join(folder))? {
            let path = entry?.path();
            if path.is_file() && is_shell(&path) {
                scripts.push(path);
            }
        }
    }
    scripts.sort();
    run(command(shellcheck).arg("--external-sources").args(scripts))
}

fn is_shell(path: &PathBuf) -> bool {
    fs::read(path).is_ok_and(|text| {
        let first = text.split(|byte| *byte == b'\n').next().unwrap_or_default();
        first.starts_with(b"#!") && first.ends_with(b"sh")
    })
}
