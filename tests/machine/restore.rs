//! Restores and drills while somebody tries to trick root: an app's user who exchanges what is restored, and a stick
//! that somebody prepared. `PITOOL_RACE_ROUNDS` is how often each race is run (20).

use std::path::Path;

use anyhow::{Result, ensure};
use pitool_testkit::machine::{BoxOptions, Lab, Machine, Output, Suite};
use pitool_testkit::suite::Runner;

use crate::{expect, install, installed};

/// What exchanges names in a loop.
const ATTACKER: &str = include_str!("attacker.py");

/// A set in a directory of `ada`'s, with a pipe that was setuid once, and what she would like to have.
const SETTING: &str = r#"set -e
useradd -m ada
mkdir -p /srv/notes/data /etc/pitool; chown -R ada: /srv/notes
cp /bin/true /usr/local/bin/victim; chmod 755 /usr/local/bin/victim
mkdir -p /etc/cron.d
mkdir /root/kept; echo secret > /root/kept/secret; chmod 700 /root/kept; chmod 600 /root/kept/secret
cat > /etc/pitool/pitool.toml <<'END'
[backup]
enabled = true
[backup.sets.notes]
paths = ["/srv/notes/data"]
END
cd /srv/notes/data
setpriv --reuid ada --regid ada --clear-groups sh -c 'mkdir d e
  for i in $(seq 40); do mkfifo f$i; chmod 4777 f$i; echo $i > d/file$i; chmod 4755 d/file$i; mkdir d/open$i; chmod 777 d/open$i; done'
pitool backup run notes"#;

/// What nobody but root may have changed.
const UNTOUCHED: &str = r#"set -e
stat -c '%n %a %U %s' /usr/local/bin/victim /root/kept /root/kept/secret /etc/cron.d /etc/shadow
ls /etc/cron.d /root/kept; cat /root/kept/secret; find /etc /usr -xdev -user ada"#;

pub(crate) fn cases(runner: &mut Runner, lab: &Lab, suite: Suite, deb: &Path) {
    let name = |case: &str| format!("{suite}: restore: {case}");
    let mut made = None;
    runner.case(&name("a box with an app's user"), || {
        let machine = installed(lab, suite, &BoxOptions::named("tricked"), deb)?;
        install(&machine, "python3-minimal nginx-light")?;
        machine.write_file("/root/attacker.py", ATTACKER, 0o755)?;
        machine.check("install -m 755 /root/attacker.py /usr/local/bin/attacker")?;
        machine.check(SETTING)?;
        made = Some(machine);
        Ok(())
    });
    let Some(machine) = made else { return };
    runner.case(&name("K1.2: pipes become links to a program of root's"), || {
        let planted: Vec<String> = (1..=4)
            .map(|number| format!("attacker plant /usr/local/bin/victim /srv/notes/data/f{number}"))
            .collect();
        race(&machine, &planted, "pitool backup restore notes --yes")
    });
    runner.case(&name("directories are exchanged with links and with each other"), || {
        machine.check("ln -sfn /root/kept /srv/notes/data/e.link; chown -h ada: /srv/notes/data/e.link")?;
        let attacks = [
            "attacker swap /srv/notes/data/d /srv/notes/data/e.link",
            "attacker swap /srv/notes/data/d/open1 /srv/notes/data/d/open2",
            "attacker plant /root/kept /srv/notes/data/d/open3",
            "attacker plant /etc/cron.d /srv/notes/data/e",
        ];
        race(&machine, &attacks.map(str::to_owned), "pitool backup restore notes --yes --exact")
    });
    runner.case(&name("the way to the set is exchanged with a link"), || {
        machine.check("ln -sfn /root/kept /srv/notes/way; chown -h ada: /srv/notes/way")?;
        let attack = "attacker swap /srv/notes/data /srv/notes/way".to_owned();
        race(&machine, &[attack], "pitool backup restore notes --yes")
    });
    runner.case(&name("a drill under the same attacks"), || {
        let attack = "attacker swap /srv/notes/data/d /srv/notes/data/e".to_owned();
        machine.check("cp -a /var/backups/pitool /root/archives")?;
        rounds(&machine, &[attack], "pitool backup run notes; pitool backup drill notes")?;
        // What was saved of a tree under attack can be any part of it, and that part comes back.
        machine.check("rm -rf /srv/notes/data; install -d -o ada -g ada /srv/notes/data")?;
        expect(&machine, "pitool backup restore notes --yes", 0)?;
        machine.check("rm -rf /var/backups/pitool; mv /root/archives /var/backups/pitool")?;
        comes_back(&machine)
    });
    runner.case(&name("K1.8: a prepared stick hangs nothing and stops nothing"), || stick(&machine));
    runner.case(&name("K3.9: what is not concerned goes on"), || concerned(&machine));
    runner.case(&name("K1.6: the owner of a target's directory reads nothing"), || target(&machine));
}

/// Runs a command over and over while attacks run as the user; nothing of root's may change, and without the attack all
/// of the set comes back.
fn race(machine: &Machine, attacks: &[String], command: &str) -> Result<()> {
    rounds(machine, attacks, command)?;
    comes_back(machine)
}

fn rounds(machine: &Machine, attacks: &[String], command: &str) -> Result<()> {
    let rounds = std::env::var("PITOOL_RACE_ROUNDS").ok().and_then(|rounds| rounds.parse().ok());
    let rounds: u32 = rounds.unwrap_or(20);
    let before = machine.check(UNTOUCHED)?.stdout;
    let attacks: Vec<String> = attacks
        .iter()
        .map(|attack| format!("PITOOL_ATTACK_SECONDS=600 setpriv --reuid ada --regid ada --clear-groups {attack} & pids=\"$pids $!\""))
        .collect();
    // However a round ends, the attack has had its chance: an odd object is a problem of that round.
    let script = format!(
        "cd /; pids=; {}\nfor round in $(seq {rounds}); do timeout 120 sh -c '{command}' >/root/race.log 2>&1; \
         test $? -lt 100 || {{ cat /root/race.log; kill $pids; exit 9; }}; done; kill $pids; wait; true",
        attacks.join("\n")
    );
    let output = machine.sh_within(&script, std::time::Duration::from_secs(u64::from(rounds) * 30 + 120))?;
    ensure!(output.status == 0, "a round did not end: {output}");
    let after = machine.check(UNTOUCHED)?.stdout;
    ensure!(before == after, "before:\n{before}\nafter:\n{after}");
    Ok(())
}

/// The set is restored to an empty directory, and nothing of ours stays behind.
fn comes_back(machine: &Machine) -> Result<()> {
    machine.check("rm -rf /srv/notes/data /srv/notes/way; install -d -o ada -g ada /srv/notes/data")?;
    expect(machine, "pitool backup restore notes --yes", 0)?;
    machine.check("test \"$(stat -c %a /srv/notes/data/d/file7)\" = 4755; test -z \"$(find /srv/notes -name '.*restore*')\"")?;
    Ok(())
}

/// A command that must end within seconds, whatever it says.
fn soon(machine: &Machine, command: &str) -> Result<Output> {
    let output = machine.sh(&format!("timeout 60 {command}"))?;
    ensure!(output.status != 124 && output.status < 128, "`{command}` did not end: {output}");
    Ok(output)
}

fn stick(machine: &Machine) -> Result<()> {
    machine.check(
        "systemctl start nginx; mkdir -p /mnt/stick/b; printf '[backup.disks.stick]\\npath = \"/mnt/stick/b\"\\nremovable = false\\n' \
         >> /etc/pitool/pitool.toml; sed -i 's|^paths = .*|&\\nservices = [\"nginx.service\"]|' /etc/pitool/pitool.toml; pitool backup run notes",
    )?;
    let traps = [
        ("mkfifo", "rm $a; mkfifo $a"),
        ("a link to /dev/zero", "rm $a; ln -s /dev/zero $a"),
        ("a manifest that is a pipe", "rm $m; mkfifo $m"),
        ("a manifest that is /dev/zero", "rm $m; ln -s /dev/zero $m"),
        (
            "a footer that claims all frames",
            "truncate -s -9 $a; printf '\\377\\377\\377\\377\\000\\261\\352\\222\\217' >> $a",
        ),
        (
            "the same, and long enough",
            "truncate -s 64G $a; printf '\\377\\377\\377\\377\\000\\261\\352\\222\\217' >> $a",
        ),
    ];
    for (trap, make) in traps {
        machine.check(&format!(
            "rm -rf /root/good; cp -a /mnt/stick/b /root/good; cd /mnt/stick/b; a=$(ls *.tar.zst | tail -1); m=$(ls *.manifest.zst | tail -1); {make}"
        ))?;
        for command in [
            "backup list --target stick",
            "backup verify --target stick",
            "backup restore notes --yes --target stick",
        ] {
            soon(machine, &format!("pitool {command}"))?;
            let active = machine.sh("systemctl is-active nginx")?;
            ensure!(active.stdout.trim() == "active", "{trap}: nginx after `{command}`: {active}");
        }
        machine.check("rm -rf /mnt/stick/b; cp -a /root/good /mnt/stick/b")?;
    }
    for (trap, make) in [("a pipe", "mkfifo"), ("/dev/zero", "ln -s /dev/zero")] {
        machine.check(&format!("cd /mnt/stick/b; rm .pitool-target; {make} .pitool-target"))?;
        let output = soon(machine, "pitool backup restore notes --yes --target stick")?;
        ensure!(output.status == 1 && output.stderr.contains("its marker"), "{trap}: {output}");
        let peak = machine.sh(
            "systemd-run --quiet --wait --pipe -p MemoryMax=200M pitool backup list --target stick; true",
        )?;
        ensure!(!peak.stderr.contains("oom"), "{trap}: {peak}");
        machine.check("rm -rf /mnt/stick/b; cp -a /root/good /mnt/stick/b")?;
    }
    // A restore that is killed leaves nothing stopped for long.
    machine.check("head -c 60M /dev/urandom > /srv/notes/data/large; chown ada: /srv/notes/data/large; pitool backup run notes")?;
    machine.check(
        "pitool backup restore notes --yes --no-copy & p=$!; for i in $(seq 200); do systemctl -q is-active nginx || { seen=1; break; }; sleep 0.05; done; \
         kill -KILL $p; [ \"$seen\" ] || exit 7; for i in $(seq 100); do systemctl -q is-active nginx && exit 0; sleep 0.2; done; exit 1",
    )?;
    // Nor does a backup.
    machine.check("sed -i 's|^services = .*|&\\nunits = [\"nginx.service\"]|' /etc/pitool/pitool.toml; touch /srv/notes/data/large")?;
    machine.check(
        "pitool backup run notes & p=$!; for i in $(seq 400); do systemctl -q is-active nginx || { seen=1; break; }; sleep 0.02; done; \
         kill -KILL $p; [ \"$seen\" ] || exit 7; for i in $(seq 100); do systemctl -q is-active nginx && exit 0; sleep 0.2; done; exit 1",
    )?;
    // Who starts it has the lock until it is done.
    machine.check(
        "for i in $(seq 100); do systemctl list-units --plain --no-legend 'pitool-backup-watch-*' | grep -q . || exit 0; sleep 0.1; done; exit 1",
    )?;
    machine.check("sed -i '/^units = /d' /etc/pitool/pitool.toml; pitool backup run notes")?;
    Ok(())
}

fn concerned(machine: &Machine) -> Result<()> {
    let started = "systemctl show -p ActiveEnterTimestampMonotonic nginx";
    machine.check("pitool backup run machine")?;
    let before = machine.check(started)?.stdout;
    // A path that was not saved is an error before anything stops.
    let output = expect(machine, "pitool backup restore notes /srv/notes/data/nowhere --yes", 3)?;
    ensure!(output.stderr.contains("has no /srv/notes/data/nowhere"), "{output}");
    // One file of the built-in set that nginx does not read.
    expect(machine, "pitool backup restore machine /etc/pitool/pitool.toml --yes", 0)?;
    let after = machine.check(started)?.stdout;
    ensure!(before == after, "nginx was stopped: {before} {after}");
    // Paths that the config does not have are named and refused.
    machine.check("sed -i 's|/srv/notes/data|/srv/other|' /etc/pitool/pitool.toml; mkdir /srv/other")?;
    let output = expect(machine, "pitool backup restore notes --yes", 3)?;
    ensure!(
        output.stderr.contains("/srv/notes/data") && output.stderr.contains("--unlisted-paths"),
        "{output}"
    );
    expect(machine, "pitool backup restore notes --yes --unlisted-paths", 0)?;
    machine.check("sed -i 's|/srv/other|/srv/notes/data|' /etc/pitool/pitool.toml")?;
    Ok(())
}

fn target(machine: &Machine) -> Result<()> {
    machine.check("chown ada: /mnt/stick /mnt/stick/b; echo more > /srv/notes/data/more")?;
    // What the next archive will be called is no secret: ada makes it first, and keeps it open.
    machine.check(
        r#"cd /mnt/stick/b; cat > /tmp/first.py <<'END'
import os, time
for name in os.listdir('.'):
    if name.startswith('.partial-'): os.unlink(name)
held = {}
end = time.time() + 40
while time.time() < end and not os.path.exists('/tmp/enough'):
    for directory in ('.', '.partial'):
        try:
            for name in os.listdir(directory):
                path = os.path.join(directory, name)
                if path not in held and not os.path.isdir(path):
                    try: held[path] = os.open(path, os.O_RDONLY)
                    except OSError: pass
        except OSError: pass
    try: os.mkdir('.partial', 0o777)
    except OSError: pass
print(sum(len(os.pread(fd, 100, 0)) for path, fd in held.items() if 'partial' in path or '.tar.zst' in path))
END
rm -f /tmp/enough
setpriv --reuid ada --regid ada --clear-groups python3 /tmp/first.py > /tmp/read & sleep 1
pitool backup run notes; touch /tmp/enough; wait; test "$(cat /tmp/read)" = 0"#,
    )?;
    let output = machine.sh("pitool backup list")?;
    let told = format!("{}{}", output.stdout, output.stderr);
    ensure!(told.contains("can delete or replace the archives in /mnt/stick/b"), "{output}");
    machine.check("chmod 644 /mnt/stick/b/*.tar.zst; pitool backup run notes; true")?;
    let output = machine.sh("pitool backup list")?;
    let told = format!("{}{}", output.stdout, output.stderr);
    ensure!(told.contains("other users of this machine can read"), "{output}");
    Ok(())
}
