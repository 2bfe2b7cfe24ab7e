//! The package on whole machines: real systemd, apt, sshd, ufw, fail2ban, nginx and docker, from `apt install` to
//! going back. `cargo xtask test` runs it; by hand:
//! `PITOOL_MACHINE=1 PITOOL_DEB=dist/….deb cargo test -p pitool-testkit --test machine -- [trixie] [CASE…]` as root.

#![expect(clippy::print_stdout, reason = "a suite tells how far it is")]
#![expect(clippy::disallowed_methods, reason = "a test of whole machines reads its own surroundings")]

mod backup;
mod bad_days;
mod certificates;
mod contract;
mod converged;
mod firewall;
mod first_boot;
mod going_back;
mod hardening;
mod life;
mod monitor;
mod page;
mod power;
mod repository;
mod restore;
mod services;
mod trust;
mod upgrade;
mod way_in;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail, ensure};
use pitool_testkit::machine::{BoxOptions, Lab, Machine, Output, Suite};
use pitool_testkit::suite::Runner;

fn main() -> ExitCode {
    let mut runner = Runner::new();
    let Some(lab) = runner.lab() else { return runner.finish() };
    for suite in Suite::ALL {
        runner.group(&format!("{suite}: contract"));
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
        for (name, cases) in GROUPS {
            runner.group(&format!("{suite}: {name}"));
            cases(&mut runner, &lab, suite, &deb);
        }
        let long = std::env::var_os("PITOOL_LONG").is_some();
        for (name, cases) in LONG {
            let name = format!("{suite}: {name}");
            runner.group(&name);
            if long {
                cases(&mut runner, &lab, suite, &deb);
            } else {
                runner.skip(&name, "PITOOL_LONG is not set");
            }
        }
    }
    runner.finish()
}

/// Adds the cases of a group for one release.
type Cases = fn(&mut Runner, &Lab, Suite, &Path);

/// The groups of cases that need the package, in the order of the runs; the times of each are printed at the end.
const GROUPS: &[(&str, Cases)] = &[
    ("life", life::cases),
    ("lived-in", life::lived_in),
    ("converged", converged::cases),
    ("backup", backup::cases),
    ("bad days", bad_days::cases),
    ("certificates", certificates::cases),
    ("monitor", monitor::cases),
    ("page", page::cases),
    ("repository", repository::cases),
    ("first boot", first_boot::cases),
    ("upgrade", upgrade::cases),
    ("trust", trust::cases),
    ("restore", restore::cases),
    ("power", power::cases),
];

/// Groups that run only with `PITOOL_LONG`, because each takes minutes that CI does not have: audits from outside, the
/// first closing of the firewall, going back in every way, services under each kind of change, every way in.
const LONG: &[(&str, Cases)] = &[
    ("hardening", hardening::cases),
    ("firewall", firewall::cases),
    ("going back", going_back::cases),
    ("services", services::cases),
    ("way in", way_in::cases),
];

/// The package under test: `PITOOL_DEB`, else the one in dist/ for this machine.
fn deb() -> Result<PathBuf> {
    if let Some(deb) = std::env::var_os("PITOOL_DEB") {
        return Ok(deb.into());
    }
    let dist = std::path::absolute("../../dist")?;
    let files = std::fs::read_dir(&dist).context("there is no package: run `cargo xtask deb` first")?;
    let own = match std::env::consts::ARCH {
        "aarch64" => "_arm64.deb",
        "arm" => "_armhf.deb",
        _ => "_amd64.deb",
    };
    let debs: Vec<PathBuf> = files
        .filter_map(|file| file.ok().map(|file| file.path()))
        .filter(|path| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            name.starts_with("pitool_") && name.ends_with(own)
        })
        .collect();
    match &debs[..] {
        [only] => Ok(only.clone()),
        [] => bail!("there is no package in dist/: run `cargo xtask deb` first"),
        // An older one would be tested without anybody noticing.
        _ => bail!("dist/ has more than one package for this machine: name one by PITOOL_DEB, of {debs:?}"),
    }
}

/// A fresh box with the package put beside it, not installed.
fn fresh(lab: &Lab, suite: Suite, options: &BoxOptions, deb: &Path) -> Result<Machine> {
    let machine = Machine::up(lab, suite, options)?;
    machine.copy_in(deb, "/root/pitool.deb", 0o644)?;
    Ok(machine)
}

/// A fresh box with the package installed by apt, on which pitool never ran.
fn installed(lab: &Lab, suite: Suite, options: &BoxOptions, deb: &Path) -> Result<Machine> {
    let machine = fresh(lab, suite, options, deb)?;
    install_package(&machine)?;
    Ok(machine)
}

/// A box on which `pitool apply all` ran, without any config file: for cases whose subject is not the first run.
///
/// It is a copy of one that was made for this package and shut down, with a machine id, host keys and a name of its
/// own. `pitool plan all` has nothing to do there.
fn converged(lab: &Lab, suite: Suite, name: &str, deb: &Path) -> Result<Machine> {
    let package = std::fs::read(deb).with_context(|| format!("reading {}", deb.display()))?;
    let key = blake3::hash(&package).to_hex();
    let template = lab.template(suite, "converged", &key, |machine| {
        machine.copy_in(deb, "/root/pitool.deb", 0o644)?;
        install_package(machine)?;
        expect(machine, "pitool apply all", 0)?;
        expect(machine, "pitool plan all", 0)?;
        Ok(())
    })?;
    Machine::copy_of(lab, &template, &BoxOptions::named(name))
}

/// Installs the package that was put beside the box.
fn install_package(machine: &Machine) -> Result<()> {
    // Boxes share their downloads and so the lock on them; another box may run beside this one.
    machine.check("apt-get -qq update; for try in $(seq 30); do apt-get -qq install -y /root/pitool.deb && exit 0; sleep 2; done; exit 1")?;
    Ok(())
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
