//! The package on whole machines: real systemd, apt, sshd, ufw, fail2ban, nginx and docker, from `apt install` to
//! going back. `cargo xtask test` runs it; by hand:
//! `PITOOL_MACHINE=1 PITOOL_DEB=dist/….deb cargo test -p pitool-testkit --test machine -- [trixie] [CASE…]` as root.

#![expect(clippy::print_stdout, reason = "a suite tells how far it is")]
#![expect(clippy::disallowed_methods, reason = "a test of whole machines reads its own surroundings")]

mod backup;
mod bad_days;
mod certificates;
mod contract;
mod first_boot;
mod hardening;
mod life;
mod monitor;
mod page;
mod power;
mod repository;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use pitool_testkit::machine::{BoxOptions, Lab, Machine, Output, Suite};
use pitool_testkit::suite::Runner;

fn main() -> ExitCode {
    let mut runner = Runner::new();
    let Some(lab) = runner.lab() else { return runner.finish() };
    for suite in Suite::ALL {
        contract::cases(&mut runner, &lab, suite);
    }
    let deb = match deb() {
        Ok(deb) => deb,
        Err(error) => {
            runner.case("the package", || Err(error));
            return runner.finish();
        }
    };
    for suite in Suite::ALL {
        life::cases(&mut runner, &lab, suite, &deb);
        life::lived_in(&mut runner, &lab, suite, &deb);
        backup::cases(&mut runner, &lab, suite, &deb);
        bad_days::cases(&mut runner, &lab, suite, &deb);
        certificates::cases(&mut runner, &lab, suite, &deb);
        monitor::cases(&mut runner, &lab, suite, &deb);
        page::cases(&mut runner, &lab, suite, &deb);
        repository::cases(&mut runner, &lab, suite, &deb);
        first_boot::cases(&mut runner, &lab, suite, &deb);
        hardening::cases(&mut runner, &lab, suite, &deb);
        power::cases(&mut runner, &lab, suite, &deb);
    }
    runner.finish()
}

/// The package under test: `PITOOL_DEB`, else the one in dist/ for this machine.
fn deb() -> Result<PathBuf> {
    if let Some(deb) = std::env::var_os("PITOOL_DEB") {
        return Ok(deb.into());
    }
    let dist = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../dist");
    let files = std::fs::read_dir(&dist).context("there is no package: run `cargo xtask deb` first")?;
    let own = match std::env::consts::ARCH {
        "aarch64" => "_arm64.deb",
        "arm" => "_armhf.deb",
        _ => "_amd64.deb",
    };
    let mut debs = files.filter_map(|file| file.ok().map(|file| file.path())).filter(|path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.starts_with("pitool_") && name.ends_with(own)
    });
    debs.next().context("there is no package in dist/: run `cargo xtask deb` first")
}

/// A fresh box with the package put beside it, not installed.
fn fresh(lab: &Lab, suite: Suite, name: &str, deb: &std::path::Path) -> Result<Machine> {
    let machine = Machine::up(lab, suite, &BoxOptions::named(name))?;
    machine.copy_in(deb, "/root/pitool.deb", 0o644)?;
    Ok(machine)
}

/// A fresh box with the package installed by apt.
fn installed(lab: &Lab, suite: Suite, name: &str, deb: &std::path::Path) -> Result<Machine> {
    let machine = fresh(lab, suite, name, deb)?;
    // Boxes share their downloads and so the lock on them; another suite may run beside this one.
    machine.check("apt-get -qq update; for try in $(seq 30); do apt-get -qq install -y /root/pitool.deb && exit 0; sleep 2; done; exit 1")?;
    Ok(machine)
}

/// Installs packages of Debian's that a case needs. Boxes share their downloads and so the lock on them.
fn install(machine: &Machine, packages: &str) -> Result<()> {
    let script = format!(
        "export DEBIAN_FRONTEND=noninteractive; for try in $(seq 60); do \
         apt-get -qq install -y --no-install-recommends {packages} >/root/apt.log 2>&1 && exit 0; sleep 2; done; cat /root/apt.log; exit 1"
    );
    machine.check(&script)?;
    Ok(())
}

/// Runs a command that must end with this status.
fn expect(machine: &Machine, command: &str, status: i32) -> Result<Output> {
    let output = machine.sh(command)?;
    ensure!(output.status == status, "`{command}` should end with {status}:\n{output}");
    Ok(output)
}
