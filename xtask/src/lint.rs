//! `cargo xtask lint`: what can be judged by reading.

use std::fs;
use std::path::PathBuf;

use anyhow::Result;

use crate::generate;
use crate::times::timed;
use crate::tools::{cache_dir, cargo, command, find, root, run};

pub(crate) fn task() -> Result<()> {
    run(cargo().args(["fmt", "--all", "--check"]))?;
    let clippy =
        ["clippy", "--workspace", "--all-targets", "--all-features", "--locked", "--", "--deny", "warnings"];
    timed("clippy", || run(cargo().args(clippy)))?;
    timed("generated files", || generate::task(&generate::Args { check: true }))?;
    timed("scripts and pipelines", || {
        scripts()?;
        pipelines()
    })
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
