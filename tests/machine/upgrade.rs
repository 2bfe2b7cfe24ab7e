//! A machine that an earlier version set up, with that version's own package, goes on with this one: its services, its
//! archives, its journal.

use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};
use pitool_testkit::machine::{BoxOptions, Lab, Machine, Suite};
use pitool_testkit::suite::{Runner, skip};

use crate::life::{Before, restored};
use crate::{expect, fresh};

/// The package of 0.1.0 as it was released, for the one architecture that it is kept for.
fn first_release() -> Result<PathBuf> {
    if cfg!(target_arch = "x86_64") {
        // Cargo runs tests in the folder of their crate.
        Ok(std::path::absolute("../../tests/machine/upgrade/pitool_0.1.0-1_amd64.deb")?)
    } else {
        Err(skip("the package of 0.1.0 is kept for amd64 only"))
    }
}

pub(crate) fn cases(runner: &mut Runner, lab: &Lab, suite: Suite, deb: &Path) {
    let name = |case: &str| format!("{suite}: upgrade: {case}");
    let mut set_up = None;
    runner.case(&name("0.1.0 sets a machine up and saves a set"), || {
        let machine = fresh(lab, suite, &BoxOptions::named("upgrade"), deb)?;
        machine.copy_in(&first_release()?, "/root/first.deb", 0o644)?;
        machine.check("apt-get -qq update && apt-get -qq install -y /root/first.deb")?;
        machine.check("mkdir -p /srv/notes/deep && echo one >/srv/notes/a && echo two >/srv/notes/deep/b && ln -s a /srv/notes/link")?;
        machine.write_file(
            "/etc/pitool/pitool.toml",
            "[backup.sets.notes]\npaths = [\"/srv/notes\"]\n[apps.notes]\nserver_name = [\"notes.example\"]\nupstream_port = 8080\n",
            0o644,
        )?;
        let before = Before::of(&machine)?;
        machine.check("pitool --version | grep -qx 'pitool 0.1.0'")?;
        expect(&machine, "pitool apply all", 0)?;
        expect(&machine, "pitool backup run notes", 0)?;
        set_up = Some((machine, before));
        Ok(())
    });
    let Some((machine, before)) = set_up else { return };

    runner.case(&name("the new package takes over, and nothing stops"), || {
        let running = "systemctl list-units --no-legend --plain --type=service,timer --state=active | awk '{print $1}' | \
                       grep -E '^(ssh|nginx|docker|fail2ban|pitool)' | sort";
        let services = machine.check(running)?.stdout;
        let daemons = "systemctl show -p MainPID --value ssh.service nginx.service docker.service fail2ban.service";
        let processes = machine.check(daemons)?.stdout;
        machine.check("apt-get -qq install -y /root/pitool.deb")?;
        machine.check("! pitool --version | grep -qx 'pitool 0.1.0'")?;
        let now = machine.check(running)?.stdout;
        ensure!(now == services, "before:\n{services}after:\n{now}");
        ensure!(machine.check(daemons)?.stdout == processes, "a daemon started anew");
        Ok(())
    });
    runner.case(&name("the journal of 0.1.0 is read"), || {
        let history = expect(&machine, "pitool history", 0)?;
        ensure!(history.stdout.contains("pitool apply all") && history.stderr.is_empty(), "{history}");
        expect(&machine, "pitool history 1", 0)?;
        Ok(())
    });
    runner.case(&name("apply brings the machine to the new version, once"), || {
        expect(&machine, "pitool apply all", 0)?;
        expect(&machine, "pitool plan all", 0)?;
        expect(&machine, "pitool apply all --verify", 0)?;
        Ok(())
    });
    runner.case(&name("an archive of 0.1.0 is verified and restored"), || comes_back(&machine));
    runner.case(&name("back to before the first run of 0.1.0"), || {
        expect(&machine, "pitool rollback 1", 0)?;
        // What people keep when an account goes, and their archives.
        machine.check("rm -r /opt/notes /var/backups/pitool")?;
        restored(&machine, &before)?;
        machine.down()
    });
}

fn comes_back(machine: &Machine) -> Result<()> {
    let list = expect(machine, "pitool backup list", 0)?;
    ensure!(list.stdout.contains("notes-"), "{list}");
    expect(machine, "pitool backup verify notes", 0)?;
    let content = "cd /srv/notes && find . -printf '%p %y %m %u %l\\n' | sort && cat a deep/b";
    let was = machine.check(content)?.stdout;
    machine.check("rm -rf /srv/notes")?;
    expect(machine, "pitool backup restore notes --yes", 0)?;
    let now = machine.check(content)?.stdout;
    ensure!(now == was, "before:\n{was}after:\n{now}");
    // And the next archive goes on from it.
    expect(machine, "pitool backup run notes", 0)?;
    Ok(())
}
