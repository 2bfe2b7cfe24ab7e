//! Nobody is locked out: after a run, somebody can log in over ssh and become root. Judged by real logins from another
//! box, whatever sshd, sudo and PAM are made to refuse.

use std::path::Path;

use anyhow::{Result, ensure};
use pitool_testkit::machine::{BoxOptions, Lab, Machine, Output, Suite, ssh_key};
use pitool_testkit::suite::Runner;

use crate::{expect, install, installed};

const PASSWORD: &str = "raspberry";

/// What is wrong, and how it is made so. Whoever may get in besides does so as pi with a password, or as root with one.
const SPOILED: [(&str, &str); 7] = [
    (
        "K2.1: the keys are root's",
        "chown root: /home/pi/.ssh/authorized_keys; chmod 600 /home/pi/.ssh/authorized_keys",
    ),
    (
        "K2.2: sshd takes no such keys",
        "echo 'PubkeyAcceptedAlgorithms rsa-sha2-512' > /etc/ssh/sshd_config.d/50-mine.conf",
    ),
    (
        "K2.3: no keys of this user",
        "printf 'Match User pi\\n  PubkeyAuthentication no\\n' > /etc/ssh/sshd_config.d/50-mine.conf",
    ),
    (
        "K2.3: another file of keys",
        "printf 'Match User pi\\n  AuthorizedKeysFile /etc/none/%%u\\n' > /etc/ssh/sshd_config.d/50-mine.conf",
    ),
    (
        "K2.4: sudo for one command",
        "usermod -L pi; echo 'pi ALL=(root) NOPASSWD: /usr/sbin/reboot' > /etc/sudoers.d/pi",
    ),
    ("a key with a command", "sed -i 's/^/command=\"\\/bin\\/true\" /' /home/pi/.ssh/authorized_keys"),
    ("the account has expired", "chage -E 2020-01-01 pi"),
];

pub(crate) fn cases(runner: &mut Runner, lab: &Lab, suite: Suite, deb: &Path) {
    let name = |what: &str| format!("{suite}: way in: {what}");
    let boxes = || -> Result<(Machine, Machine)> {
        let machine = installed(lab, suite, &BoxOptions::named("wayin"), deb)?;
        install(&machine, "sudo openssh-server")?;
        let outsider = Machine::up(lab, suite, &BoxOptions::named("wayin-out"))?;
        Ok((machine, outsider))
    };
    let mut up = None;
    runner.case(&name("boxes"), || {
        up = Some(boxes()?);
        Ok(())
    });
    let Some((machine, outsider)) = up else { return };
    for (what, how) in SPOILED {
        runner.case(&name(what), || {
            prepare(lab, &machine)?;
            machine.check(how)?;
            machine.check("systemctl restart ssh")?;
            let before = ways(&machine, &outsider)?;
            ensure!(!before.is_empty(), "nobody could get in to begin with");
            let output = expect(&machine, "pitool apply security", 0)?;
            let after = ways(&machine, &outsider)?;
            ensure!(!after.is_empty(), "nobody gets in any more, of {before:?}: {output}");
            Ok(())
        });
    }
    runner.case(&name("a forged line in the journal is not a login (K2.5)"), || {
        forged(lab, &machine, &outsider)
    });
    runner.case(&name("where all is well, passwords and root go off"), || {
        prepare(lab, &machine)?;
        expect(&machine, "pitool apply security", 0)?;
        let after = ways(&machine, &outsider)?;
        ensure!(after == ["pi by key"], "{after:?}");
        // Asking for the ways in changed rules of the firewall.
        expect(&machine, "pitool apply security", 0)?;
        let again = machine.measured(["pitool", "apply", "security"])?;
        ensure!(again.output.status == 0, "{}", again.output);
        ensure!(again.trace.children() == 0, "without a change it started {:#?}", again.trace.programs);
        ensure!(again.trace.written_bytes() == 0, "without a change it wrote: {:#?}", again.trace);
        Ok(())
    });
    runner.case(&name("what is held back costs little"), || {
        prepare(lab, &machine)?;
        machine.check("chown root: /home/pi/.ssh/authorized_keys")?;
        expect(&machine, "pitool apply security", 0)?;
        let again = machine.measured(["pitool", "apply", "security"])?;
        ensure!(again.output.status == 0, "{}", again.output);
        ensure!(again.trace.written_bytes() == 0, "it wrote: {:#?}", again.trace);
        ensure!(
            again.trace.children() <= 6,
            "{} processes: {:#?}",
            again.trace.children(),
            again.trace.programs
        );
        Ok(())
    });
    runner.case(&name("a rollback leaves the login that it is typed in (K2.6)"), || {
        rolled_back(lab, &machine, &outsider)
    });
    runner.case(&name("the port of another ssh server stays open (K2.7)"), || {
        dropbear(lab, &machine, &outsider)
    });
    runner.case(&name("boxes go"), || {
        machine.down()?;
        outsider.down()
    });
}

/// pi with a password, a key and sudo; root with a password that sshd takes; no file of ours and no run of ours.
fn prepare(lab: &Lab, machine: &Machine) -> Result<()> {
    let key = ssh_key(lab)?;
    machine.check(&format!(
        "rm -rf /etc/ssh/sshd_config.d/01-pitool* /etc/ssh/sshd_config.d/50-mine.conf /etc/sudoers.d/pi /home/pi/.ssh \
         /root/.ssh /var/lib/pitool\n\
         mkdir -p /etc/ssh/sshd_config.d /etc/pitool; : > /etc/pitool/pitool.toml\n\
         echo 'PermitRootLogin yes' > /etc/ssh/sshd_config.d/60-root.conf\n\
         usermod -U pi 2>/dev/null; chage -E -1 pi; usermod -aG sudo pi\n\
         echo pi:{PASSWORD} | chpasswd; echo root:{PASSWORD} | chpasswd\n\
         systemctl stop fail2ban 2>/dev/null; ufw --force disable >/dev/null 2>&1; systemctl restart ssh"
    ))?;
    machine.authorize("pi", &key.public)
}

/// Who can log in from outside and become root, and how.
fn ways(machine: &Machine, outsider: &Machine) -> Result<Vec<&'static str>> {
    // No ban and no limit is in the way of asking: it is the logins that are judged.
    machine.sh("fail2ban-client unban --all; ufw allow 22/tcp; true")?;
    let root = format!("echo {PASSWORD} | sudo -S -p '' id -u");
    let mut found = Vec::new();
    let is_root = |output: Output| output.ok() && output.stdout.trim() == "0";
    if is_root(outsider.ssh(machine, "pi", 22, &root)?) {
        found.push("pi by key");
    }
    if is_root(outsider.ssh(machine, "root", 22, "id -u")?) {
        found.push("root by key");
    }
    if is_root(by_password(machine, outsider, "pi", &root)?) {
        found.push("pi by password");
    }
    if is_root(by_password(machine, outsider, "root", "id -u")?) {
        found.push("root by password");
    }
    Ok(found)
}

/// Logs in with the password, as ssh(1) asks a program of its own for it.
fn by_password(machine: &Machine, outsider: &Machine, user: &str, command: &str) -> Result<Output> {
    outsider.write_file("/root/askpass", format!("#!/bin/sh\necho {PASSWORD}\n"), 0o755)?;
    outsider.write_file("/root/command", command, 0o644)?;
    outsider.sh(&format!(
        "SSH_ASKPASS=/root/askpass SSH_ASKPASS_REQUIRE=force ssh -o PubkeyAuthentication=no -o NumberOfPasswordPrompts=1 \
         -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR -o ConnectTimeout=10 {user}@{} \
         \"$(cat /root/command)\" </dev/null",
        machine.ip()
    ))
}

/// pi logs in with a password, and a local user says that it was a key.
fn forged(lab: &Lab, machine: &Machine, outsider: &Machine) -> Result<()> {
    prepare(lab, machine)?;
    machine.check("rm -rf /home/pi/.ssh; passwd -l root")?;
    let command = format!(
        "set -- $SSH_CONNECTION; logger -t sshd \"Accepted publickey for pi from $1 port $2 ssh2: ED25519 SHA256:x\"; \
         sleep 1; echo {PASSWORD} | sudo -S -p '' pitool apply security"
    );
    let output = by_password(machine, outsider, "pi", &command)?;
    ensure!(output.ok(), "{output}");
    let after = ways(machine, outsider)?;
    ensure!(after == ["pi by password"], "{after:?}: {output}");
    Ok(())
}

/// ada, whom the first run made, goes back over her own login.
fn rolled_back(lab: &Lab, machine: &Machine, outsider: &Machine) -> Result<()> {
    prepare(lab, machine)?;
    let key = ssh_key(lab)?;
    let config = format!("[common.users.ada]\nsudo = true\nauthorized_keys = [\"{}\"]\n", key.public);
    machine.write_file("/etc/pitool/pitool.toml", config, 0o644)?;
    expect(machine, "pitool apply common security", 0)?;
    machine.sh("fail2ban-client unban --all; ufw allow 22/tcp; true")?;
    let output = outsider.ssh(machine, "ada", 22, "sudo pitool rollback")?;
    ensure!(output.status == 0, "{output}");
    let said = format!("{}{}", output.stdout, output.stderr);
    ensure!(
        said.contains("--cut-login") && said.contains("on purpose"),
        "it does not say what stays: {output}"
    );
    let again = outsider.ssh(machine, "ada", 22, "sudo -n id -u")?;
    ensure!(again.stdout.trim() == "0", "ada is locked out: {again}\n{output}");
    Ok(())
}

/// Dropbear on port 2200 and no OpenSSH: the person came in there.
fn dropbear(lab: &Lab, machine: &Machine, outsider: &Machine) -> Result<()> {
    prepare(lab, machine)?;
    let key = ssh_key(lab)?;
    machine.authorize("root", &key.public)?;
    install(machine, "dropbear")?;
    machine.check(
        "apt-get -qq purge -y openssh-server >/dev/null 2>&1; rm -rf /etc/ssh/sshd_config.d/*; \
         sed -i '/DROPBEAR_PORT/d; /NO_START/d' /etc/default/dropbear; printf 'DROPBEAR_PORT=2200\\nNO_START=0\\n' >> \
         /etc/default/dropbear; systemctl enable dropbear; systemctl reset-failed dropbear; systemctl restart dropbear; sleep 1; ss -ltn | grep -q :2200",
    )?;
    let output = outsider.ssh(machine, "root", 2200, "pitool apply security")?;
    ensure!(output.status == 0, "{output}");
    ensure!(
        outsider.can_connect(machine.ip(), 2200)?,
        "the port that the person came in through is closed: {output}"
    );
    let again = outsider.ssh(machine, "root", 2200, "pitool apply security; id -u")?;
    ensure!(again.stdout.trim().ends_with('0'), "{again}");
    // Typed in on the console it stays open too, because an ssh server listens there.
    expect(machine, "pitool apply security", 0)?;
    ensure!(outsider.can_connect(machine.ip(), 2200)?, "the port of Dropbear is closed");
    Ok(())
}
