//! `cargo xtask all`, behind `make test-all`: every check and test at full length, to be run before a release.
//!
//! It is a process of its own for each task, with the long variants asked for in the environment. All of them run, also
//! after one that failed; the table at the end says which.

use std::env;
use std::fs;

use anyhow::{Context, Result, ensure};

use crate::times;
use crate::tools::{command, run, target_dir};

/// What is longer than in `make test`; a value that the caller set stays.
const LONG: [(&str, &str); 5] = [
    ("PITOOL_BACKUP_KILLS", "200"),
    ("PITOOL_FUZZ_SECONDS", "3600"),
    ("PITOOL_LONG", "1"),
    ("PITOOL_POWER_CUTS", "10"),
    ("PITOOL_RACE_ROUNDS", "200"),
];

/// The tasks: first those that a failure shows soonest.
const TASKS: [(&str, &[&str]); 5] = [
    ("checks", &["ci"]),
    ("bit for bit", &["reproduce", "--arch", "all"]),
    ("tests", &["test"]),
    ("bench", &["bench"]),
    ("bench of backups", &["bench", "backup"]),
];

pub(crate) fn task() -> Result<()> {
    fs::create_dir_all(target_dir())?;
    let rows = target_dir().join("times-of-all");
    let _ = fs::remove_file(&rows);
    let program = env::current_exe().context("this program has no path")?;
    let mut failed = Vec::new();
    for (name, arguments) in TASKS {
        let mut task = command(&program);
        task.args(arguments).env("PITOOL_TIMES", &rows);
        for (variable, value) in LONG {
            if env::var_os(variable).is_none() {
                task.env(variable, value);
            }
        }
        let (done, row) = times::measured(&format!("= {name}"), || run(&mut task));
        times::add(&[row], &rows)?;
        if let Err(error) = done {
            println!("{name}: {error:#}");
            failed.push(name);
        }
    }
    println!("== all");
    times::print(&times::of(&rows));
    ensure!(failed.is_empty(), "failed: {}", failed.join(", "));
    println!("{} of {} tasks passed", TASKS.len(), TASKS.len());
    Ok(())
}
