//! The contract of a host, kept by the machine that this runs on: `cargo run --example contract -p pitool-sim`.
//!
//! It installs packages, starts units, makes users and sets firewall rules, so run it as root in a box that nobody
//! needs afterwards.

#![expect(clippy::print_stdout, reason = "a test program's results are its output")]
#![expect(clippy::disallowed_methods, reason = "a test arranges its own surroundings")]

use std::process::ExitCode;

use pitool_host::local::Local;
use pitool_sim::contract;

fn main() -> ExitCode {
    let area = format!("/var/tmp/pitool-contract-{}", std::process::id());
    let local = match Local::new("/") {
        Ok(local) => local,
        Err(error) => {
            println!("FAILED the machine: {error}");
            return ExitCode::FAILURE;
        }
    };
    if let Err(error) = std::fs::create_dir(&area) {
        println!("FAILED the area {area}: {error}");
        return ExitCode::FAILURE;
    }
    let outcomes = contract::check(&local, &area);
    let _ = std::fs::remove_dir_all(&area);
    for (name, verdict) in &outcomes {
        match verdict {
            Ok(()) => println!("ok {name}"),
            Err(why) => println!("FAILED {name}: {why}"),
        }
    }
    let failed = outcomes.iter().filter(|(_, verdict)| verdict.is_err()).count();
    println!("{} kept, {failed} broken", outcomes.len() - failed);
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
