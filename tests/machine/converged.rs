//! The box that most cases begin with: copies of one on which pitool ran, each a machine of its own.

use std::path::Path;

use anyhow::{Result, ensure};
use pitool_testkit::machine::{Lab, Machine, Suite};
use pitool_testkit::suite::Runner;

use crate::{converged, expect};

pub(crate) fn cases(runner: &mut Runner, lab: &Lab, suite: Suite, deb: &Path) {
    let name = |case: &str| format!("{suite}: converged: {case}");
    let mut made = None;
    runner.case(&name("a copy has nothing to do, and writes nothing"), || {
        let machine = converged(lab, suite, "copy", deb)?;
        expect(&machine, "pitool plan all", 0)?;
        let again = machine.measured(["pitool", "apply", "all"])?;
        ensure!(again.output.status == 0, "{}", again.output);
        ensure!(again.trace.read_only() && again.trace.written_bytes() == 0, "{:#?}", again.trace);
        expect(&machine, "pitool apply all --verify", 0)?;
        machine.check("systemctl is-active ssh nginx fail2ban docker pitool-monitor")?;
        ensure!(machine.check("systemctl --failed --no-legend")?.stdout.is_empty());
        made = Some(machine);
        Ok(())
    });
    let Some(machine) = made else { return };
    runner.case(&name("two copies are two machines"), || {
        let twin = converged(lab, suite, "twin", deb)?;
        let [one, other] = [identity(&machine)?, identity(&twin)?];
        for (here, there) in one.iter().zip(&other) {
            ensure!(!here.trim().is_empty() && here != there, "both are {here}");
        }
        for (machine, name) in [(&machine, "copy"), (&twin, "twin")] {
            machine.check(&format!("test $(hostname) = {name} && getent hosts {name}"))?;
            machine
                .check("! grep -rlw template /etc --exclude-dir=nginx --include=hostname --include=hosts")?;
        }
        // Docker's storage as on any machine, on whatever the boxes' disk is.
        let driver = twin.check("docker info --format '{{.Driver}}'")?.stdout;
        ensure!(driver.starts_with("overlay"), "{driver}");
        twin.down()
    });
}

/// What no two machines have in common.
fn identity(machine: &Machine) -> Result<Vec<String>> {
    let questions = [
        "cat /etc/machine-id",
        "hostname",
        "cat /etc/ssh/ssh_host_ed25519_key.pub",
        "cat /etc/ssh/ssh_host_ecdsa_key.pub",
        "cat /etc/ssh/ssh_host_rsa_key.pub",
        "ssh-keyscan -t ed25519 127.0.0.1 2>/dev/null",
    ];
    questions.into_iter().map(|question| Ok(machine.check(question)?.stdout)).collect()
}
