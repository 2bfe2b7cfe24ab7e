//! The contract that the simulated machine keeps, kept by the real one: the same checks on a whole Debian.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use pitool_testkit::machine::{BoxOptions, Lab, Machine, Suite};
use pitool_testkit::suite::{Runner, skip};

pub(crate) fn cases(runner: &mut Runner, lab: &Lab, suite: Suite) {
    runner.case(&format!("{suite}: the real machine keeps the contract"), || {
        let program = program()?;
        // apt's files of its own: the lock on what other boxes share is none that a person's machine has.
        let options = BoxOptions { shared_apt_cache: false, ..BoxOptions::named("contract") };
        let machine = Machine::up(lab, suite, &options)?;
        machine.copy_in(&program, "/root/contract", 0o755)?;
        let output = machine.sh_within("/root/contract", Duration::from_secs(600))?;
        let broken: Vec<&str> = output.stdout.lines().filter(|line| line.starts_with("FAILED ")).collect();
        ensure!(broken.is_empty(), "{}", broken.join("\n"));
        ensure!(output.ok(), "{output}");
        // What was never asked is not kept.
        let kept = output.stdout.lines().filter(|line| line.starts_with("ok ")).count();
        ensure!(kept > 50, "only {kept} checks: {output}");
        Ok(())
    });
}

/// The example `contract` of pitool-sim: `PITOOL_CONTRACT`, else where cargo puts it beside this program.
fn program() -> Result<PathBuf> {
    if let Some(program) = std::env::var_os("PITOOL_CONTRACT") {
        return Ok(program.into());
    }
    let own = std::env::current_exe().context("this program has no path")?;
    let beside = own.parent().and_then(Path::parent).map(|folder| folder.join("examples/contract"));
    beside.filter(|program| program.exists()).ok_or_else(|| {
        skip(
            "there is no example: run `cargo build --example contract -p pitool-sim`, or set PITOOL_CONTRACT",
        )
    })
}
