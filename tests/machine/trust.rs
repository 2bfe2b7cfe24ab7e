//! Root in directories that belong to others: their owner exchanges names while root works there.
//!
//! `PITOOL_RACE_ROUNDS` says how often each race is run (20).

use std::path::Path;
use std::time::Duration;

use anyhow::{Result, ensure};
use pitool_testkit::machine::{BoxOptions, Lab, Machine, Output, Suite};
use pitool_testkit::suite::Runner;

use crate::{expect, installed};

/// What only root can read, and what must turn up nowhere else.
const SECRET: &str = "text that only root can read";

/// A key of ada's, by whom nobody must become root.
const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIPJ0r1kV7iQ4h1c0pM0qVhWmYxUuS3uGm5l8p2XwS0aB ada@home";

const ATTACKER: &str = "/usr/local/bin/attacker";

pub(crate) fn cases(runner: &mut Runner, lab: &Lab, suite: Suite, deb: &Path) {
    let name = |case: &str| format!("{suite}: trust: {case}");
    let mut booted = None;
    runner.case(&name("a box with an app and a user"), || {
        booted = Some(prepared(lab, suite, deb)?);
        Ok(())
    });
    let Some(machine) = booted else { return };
    runner.case(&name("a link that root made is not followed once somebody else can move it"), || {
        moved_link(&machine)
    });
    runner.case(&name("odd objects of one user are held back, and the rest is done"), || odd(&machine));
    runner.case(&name("authorized_keys exchanged for a link to a file of root's"), || keys(&machine));
    runner.case(&name(".env exchanged for a link to a file of root's, while runs fail"), || env(&machine));
}

fn rounds() -> usize {
    std::env::var("PITOOL_RACE_ROUNDS").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(20)
}

fn prepared(lab: &Lab, suite: Suite, deb: &Path) -> Result<Machine> {
    let machine = installed(lab, suite, &BoxOptions::named("trust"), deb)?;
    machine.write_file(ATTACKER, include_bytes!("attacker.py"), 0o755)?;
    machine.write_file("/root/secret", format!("{SECRET}\n"), 0o600)?;
    let config = format!("[common.users.ada]\nauthorized_keys = [\"{KEY}\"]\n[apps.notes]\n");
    machine.write_file("/etc/pitool/pitool.toml", config, 0o644)?;
    expect(&machine, "pitool apply common app", 0)?;
    Ok(machine)
}

/// Requires that no file of this user's directory holds the secret, and that it is as it was.
fn kept(machine: &Machine, directory: &str, round: usize) -> Result<()> {
    let found = machine.sh(&format!("find {directory} -type f -exec grep -l '{SECRET}' {{}} +"))?;
    ensure!(found.stdout.is_empty(), "round {round}: the secret is in {found}");
    let secret = machine.read_text("/root/secret")?;
    ensure!(secret == format!("{SECRET}\n"), "round {round}: somebody wrote into root's file: {secret:?}");
    machine.check("test \"$(stat -c %U:%a /root/secret)\" = root:600")?;
    Ok(())
}

/// One attack beside one run. The exchanges count only if there were any while it ran.
fn attack(machine: &Machine, user: &str, words: &[&str], run: &str) -> Result<Output> {
    let start = ["runuser", "-u", user, "--", ATTACKER];
    let attacker = machine.spawn(start.iter().chain(words))?;
    std::thread::sleep(Duration::from_millis(200));
    // It may succeed, find that things moved, or fail and be taken back: that is the attacker's choice.
    let run = machine.sh(run)?;
    machine.sh(&format!("pkill -TERM -u {user} -f {ATTACKER}"))?;
    let output = attacker.wait(Duration::from_secs(20))?;
    let exchanges: u64 = output.stdout.lines().last().and_then(|line| line.parse().ok()).unwrap_or(0);
    ensure!(exchanges > 100, "nothing was exchanged: {output}\n{run}");
    Ok(run)
}

/// A pause between two exchanges that differs from round to round, in microseconds: where root looks twice, one that is as
/// long as root needs in between wins most often.
fn pause(round: usize) -> String {
    [0, 0, 10, 40][round % 4].to_string()
}

fn keys(machine: &Machine) -> Result<()> {
    let home = "/home/ada/.ssh";
    for round in 1..=rounds() {
        machine.check(&format!(
            "rm -rf {home} && install -d -o ada -g ada -m 700 {home} && cd {home} && \
             echo 'ssh-rsa AAAA other' >authorized_keys && chown ada: authorized_keys && chmod 600 authorized_keys && \
             runuser -u ada -- ln -s /root/secret away"
        ))?;
        let (file, link) = (format!("{home}/authorized_keys"), format!("{home}/away"));
        attack(machine, "ada", &["swap", &file, &link, &pause(round)], "pitool apply common")?;
        kept(machine, home, round)?;
    }
    machine.check(&format!("rm -rf {home}"))?;
    expect(machine, "pitool apply common", 0)?;
    ensure!(machine.read_text("/home/ada/.ssh/authorized_keys")?.contains(KEY), "the key is missing");
    Ok(())
}

fn env(machine: &Machine) -> Result<()> {
    let (config, sites) = ("/opt/notes/config", "/etc/nginx/sites-available");
    // Each run has something to do that fails, and is taken back: what was seen before it is written then.
    machine.check(&format!(
        "echo '# changed' >>{sites}/notes && mount --bind {sites} {sites} && mount -o remount,ro,bind {sites}"
    ))?;
    for round in 1..=rounds() {
        machine.check(&format!(
            "rm -rf {config} && install -d -o appuser -g appuser -m 750 {config} && cd {config} && \
             echo MINE=1 >.env && chown appuser: .env && chmod 600 .env && \
             runuser -u appuser -- ln -s /root/secret away"
        ))?;
        let (file, link) = (format!("{config}/.env"), format!("{config}/away"));
        let output = attack(machine, "appuser", &["swap", &file, &link, &pause(round)], "pitool apply app")?;
        ensure!(output.status != 0, "the run should fail: {output}");
        kept(machine, config, round)?;
    }
    machine.check(&format!("umount {sites} && rm -rf {config}"))?;
    expect(machine, "pitool apply app", 0)?;
    expect(machine, "pitool plan common app", 0)?;
    Ok(())
}

fn moved_link(machine: &Machine) -> Result<()> {
    machine.check(
        "install -d -m 700 /root/.ssh && echo '# root' >/root/.ssh/authorized_keys && \
         rm -rf /home/ada/.ssh && install -d -o ada -g ada -m 700 /home/ada/.ssh && \
         ln -s /root/.ssh/authorized_keys /home/ada/.ssh/authorized_keys && \
         test \"$(stat -c %U /home/ada/.ssh/authorized_keys)\" = root",
    )?;
    let output = machine.sh("pitool apply common")?;
    let written = machine.read_text("/root/.ssh/authorized_keys")?;
    ensure!(written == "# root\n", "ada's key is root's: {written}\n{output}");
    let said = format!("{}{}", output.stdout, output.stderr);
    ensure!(said.contains("`authorized_keys`, in a directory that others can write to"), "{output}");
    machine.check("test -L /home/ada/.ssh/authorized_keys && rm -rf /home/ada/.ssh")?;
    expect(machine, "pitool apply common", 0)?;
    Ok(())
}

fn odd(machine: &Machine) -> Result<()> {
    let (ada, app) = (("ada", "/home/ada/.ssh"), ("appuser", "/opt/notes/config"));
    let cases = [
        (ada, "a FIFO", "mkfifo authorized_keys"),
        (ada, "a directory", "mkdir authorized_keys"),
        (ada, "a link", "ln -s /etc/motd authorized_keys"),
        (ada, "17 MB", "head -c 17000000 /dev/zero >authorized_keys"),
        (ada, "Latin-1", "printf 'caf\\351\\n' >authorized_keys"),
        (ada, "a link to the directory", "cd .. && rmdir .ssh && mkdir dot && ln -s dot .ssh"),
        (app, "17 MB", "head -c 17000000 /dev/zero >.env"),
        (app, "a directory", "mkdir .env.example"),
        (app, "a FIFO", "mkfifo .env.example"),
    ];
    for ((user, directory), what, make) in cases {
        machine.check(&format!(
            "rm -rf /home/ada/.ssh /home/ada/dot /opt/notes/config /etc/sysctl.d/*pitool*; \
             install -d -o {user} -g {user} -m 700 {directory} && cd {directory} && \
             runuser -u {user} -- sh -c \"{make}\" && echo '# changed' >>/etc/nginx/sites-available/notes"
        ))?;
        let output = machine.sh("timeout 120 pitool apply common app")?;
        ensure!(output.status == 0, "{directory}, {what}: {output}");
        let said = format!("{}{}", output.stdout, output.stderr);
        ensure!(said.contains("Held back") && said.contains(directory), "{directory}, {what}: {output}");
        machine.check("! grep '# changed' /etc/nginx/sites-available/notes")?;
    }
    machine.check("rm -rf /home/ada/.ssh /home/ada/dot /opt/notes/config")?;
    expect(machine, "pitool apply common app", 0)?;
    expect(machine, "pitool plan common app", 0)?;
    Ok(())
}
