//! Development tasks, run as `cargo xtask TASK`: one file per task, the shared pieces in [`tools`].
//!
//! A task says what it runs, stops at the first failure, and leaves nothing behind.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a task talks to the person at the terminal")]
#![expect(clippy::disallowed_methods, reason = "tasks build and test the project on the machine they run on")]

mod all;
mod arch;
mod bench;
mod build;
mod ci;
mod circles;
mod cross;
mod deb;
mod elf;
mod emulated;
mod generate;
mod kept;
mod lint;
mod phrases;
mod release;
mod reproduce;
mod test;
mod times;
mod tools;
mod try_it;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "cargo xtask", about = "Development tasks", disable_help_subcommand = true)]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Build the program as it is shipped
    Build,
    /// Format, circles between files, clippy without warnings, generated files, shell scripts
    Lint,
    /// Name the files of a crate that refer to each other
    Circles,
    /// Count the phrases that STYLE.md says not to use
    Phrases(phrases::Args),
    /// Run every test that can run here, and say what was skipped and why
    Test,
    /// Write man pages, completions and the config reference from the code
    Generate(generate::Args),
    /// Build Debian packages into dist/ and check them with lintian
    Deb(deb::Args),
    /// Prove that the same commit makes the same packages, byte for byte
    Reproduce(reproduce::Args),
    /// Make or extend a signed apt repository from the packages in dist/
    Release(release::Args),
    /// Use the package on a whole emulated ARM machine, from install to reboot
    Machine(emulated::Args),
    /// Install and use the package in a throw-away Debian box, and keep the box
    Try(try_it::Args),
    /// Measure what pitool costs, one table with targets
    Bench(bench::Args),
    /// Every check that is not a test: lint, then the package with all its promises
    Ci,
    /// Every check and test at full length: rebuilt packages, all power cuts, long races and fuzzing, benches
    All,
}

fn main() -> ExitCode {
    let done = match Cli::parse().task {
        Task::Build => build::task(),
        Task::Lint => lint::task(),
        Task::Circles => circles::task(),
        Task::Phrases(args) => phrases::task(&args),
        Task::Test => test::task(),
        Task::Generate(args) => generate::task(&args),
        Task::Deb(args) => deb::task(&args),
        Task::Reproduce(args) => reproduce::task(&args),
        Task::Release(args) => release::task(&args),
        Task::Machine(args) => emulated::task(&args),
        Task::Try(args) => try_it::task(&args),
        Task::Bench(args) => bench::task(&args),
        Task::Ci => ci::task(),
        Task::All => all::task(),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}
