//! Scenarios: whole commands on a simulated machine, and every word that they print.
//!
//! A script in this folder is a machine, things that happen to it, and commands with their output, as a person at
//! that machine would see them. README.md here lists the words. `UPDATE=1 cargo test -p pitool --test scenarios`
//! writes the outputs anew; read what `git diff` says then, because the outputs are what these tests are about.

#![expect(clippy::print_stdout, reason = "a suite tells how far it is")]
#![expect(clippy::disallowed_methods, reason = "a test reads its own files and surroundings")]

mod redact;
mod script;
mod stage;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use similar::TextDiff;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let update = std::env::var_os("UPDATE").is_some_and(|value| value == "1");
    let wanted = |path: &PathBuf| {
        let filters: Vec<&String> = arguments.iter().filter(|word| !word.starts_with('-')).collect();
        filters.is_empty() || filters.iter().any(|filter| name(path).contains(filter.as_str()))
    };
    // Cargo runs tests in the folder of their crate.
    let folder = Path::new("../../tests/scenarios");
    let mut paths: Vec<PathBuf> = match std::fs::read_dir(folder) {
        Ok(files) => files.flatten().map(|file| file.path()).collect(),
        Err(error) => {
            println!("{}: {error}", folder.display());
            return ExitCode::FAILURE;
        }
    };
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "txt") && wanted(path));
    paths.sort();
    if arguments.iter().any(|word| word == "--list") {
        paths.iter().for_each(|path| println!("{}: test", name(path)));
        return ExitCode::SUCCESS;
    }
    // What a scenario panics with is told below, beside its name.
    std::panic::set_hook(Box::new(|_| {}));
    let (mut passed, mut failed) = (0, 0);
    for path in &paths {
        match check(path, update) {
            Ok(words) => {
                passed += 1;
                println!("test {} ... {words}", name(path));
            }
            Err(why) => {
                failed += 1;
                println!("test {} ... FAILED\n{why}", name(path));
            }
        }
    }
    let verdict = if failed == 0 { "ok" } else { "FAILED" };
    println!(
        "\ntest result: {verdict}. {passed} passed; {failed} failed; 0 ignored; 0 measured; 0 filtered out"
    );
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn name(path: &Path) -> String {
    path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default()
}

/// Plays one script and compares, or with `update` writes what came out.
fn check(path: &Path, update: bool) -> Result<&'static str, String> {
    let written = std::fs::read_to_string(path).map_err(|error| error.to_string())?;
    let played = catch_unwind(AssertUnwindSafe(|| stage::play(&written))).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
        Err(text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default())
    })?;
    if played == written {
        return Ok("ok");
    }
    if update {
        std::fs::write(path, played).map_err(|error| error.to_string())?;
        return Ok("ok (written anew)");
    }
    let diff = TextDiff::from_lines(&written, &played);
    Err(format!(
        "{}\nUPDATE=1 writes it anew.",
        diff.unified_diff().context_radius(3).header("in the script", "printed now")
    ))
}
