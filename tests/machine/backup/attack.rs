//! An app's user who tries to have root's backup do what he may not. `PITOOL_RACE_ROUNDS` says how many backups each
//! race goes on for (20).

use std::path::Path;

use anyhow::{Result, ensure};
use pitool_testkit::machine::{BoxOptions, Lab, Machine, Suite};
use pitool_testkit::suite::Runner;

use crate::{expect, installed};

/// The script that exchanges names, run as the app's user.
const ATTACKER: &[u8] = include_bytes!("../attacker.py");

/// A set of an app's data, and the user whose directory that is.
const APP: &str = "set -e
useradd --create-home appuser
install -d -o appuser -g appuser /opt/app /opt/app/data
install -d /etc/pitool /etc/update-motd.d
printf '[backup.sets.app]\npaths = [\"/opt/app/data\"]\n' > /etc/pitool/pitool.toml";

/// Twenty databases with write-ahead logs and a name that update-motd would run, and a link beside their directory.
const DATABASES: &str = "set -e
cd /opt/app/data; mkdir d
for i in $(seq 20); do
  f=d/99x$(printf %04d $i)
  sqlite3 $f 'pragma journal_mode = wal; create table t (a); insert into t values (1)' > /dev/null
  chmod 777 $f
done
ln -s /etc/update-motd.d e";

/// Files and a database that change places with links to what only root may read, and with a pipe.
const LINKS: &str = "set -e
cd /opt/app/data
for i in $(seq 8); do echo mine > f$i; ln -s /etc/shadow f$i.link; done
sqlite3 db 'create table t (a); insert into t values (1)'; chmod 777 db; mkfifo db.pipe; ln -s /root/secret.db db.link";

fn rounds() -> u32 {
    std::env::var("PITOOL_RACE_ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(20)
}

/// Runs the backup of the set while the app's user exchanges pairs of names in his directory.
fn race(machine: &Machine, pairs: &[(&str, &str)], after_each: &str) -> Result<()> {
    let rounds = rounds();
    let attackers: Vec<String> = pairs
        .iter()
        .map(|(a, b)| {
            format!(
                "setpriv --reuid appuser --regid appuser --clear-groups env PITOOL_ATTACK_SECONDS=3600 \
                 python3 /root/shared/attacker.py swap /opt/app/data/{a} /opt/app/data/{b} > /tmp/swapped.{a} & \
                 jobs=\"$jobs $!\"\n"
            )
        })
        .collect();
    let script = format!(
        "rm -f /tmp/swapped.*; jobs=\n{}sleep 1\nfor round in $(seq {rounds}); do\n  code=0; timeout 300 pitool backup run app > /tmp/run.out 2>&1 || code=$?\n  \
         if test $code = 124; then kill $jobs; echo \"round $round did not end\"; exit 1; fi\n  \
         {after_each}\ndone\nkill $jobs; wait; cat /tmp/swapped.*",
        attackers.concat()
    );
    let output = machine.check(&script)?;
    let swapped: Vec<u64> = output.stdout.lines().filter_map(|line| line.trim().parse().ok()).collect();
    ensure!(swapped.len() == pairs.len() && swapped.iter().all(|times| *times > 1000), "{output}");
    Ok(())
}

pub(super) fn cases(runner: &mut Runner, lab: &Lab, suite: Suite, deb: &Path) {
    let name = |case: &str| format!("{suite}: backup attacked: {case}");
    let mut made = None;
    runner.case(&name("a box with an app's user"), || {
        let machine = installed(lab, suite, &BoxOptions::named("attacked"), deb)?;
        super::install(&machine, "sqlite3 python3")?;
        machine.check(APP)?;
        machine.check("install -d -m 755 /root/shared; chmod 711 /root")?;
        let script = std::env::temp_dir().join("pitool-attacker.py");
        std::fs::write(&script, ATTACKER)?;
        machine.copy_in(&script, "/root/shared/attacker.py", 0o755)?;
        expect(&machine, "pitool apply backup", 0)?;
        made = Some(machine);
        Ok(())
    });
    let Some(machine) = made else { return };
    runner.case(&name("an app's user does not become root by a database (K1.1)"), || {
        as_user(&machine, DATABASES)?;
        let before = machine.check("ls -A /etc/update-motd.d")?.stdout;
        race(
            &machine,
            &[("d", "e")],
            "if ls /etc/update-motd.d/99x* 2>/dev/null; then kill $jobs; exit 1; fi",
        )?;
        let after = machine.check("ls -A /etc/update-motd.d")?.stdout;
        ensure!(before == after, "{before} and then {after}");
        machine.check("rm -rf /opt/app/data/*")?;
        Ok(())
    });
    runner.case(&name("links, pipes and files change places, and nothing of root's is saved (K1.5)"), || {
        as_user(&machine, LINKS)?;
        machine.check("sqlite3 /root/secret.db \"create table t (a); insert into t values ('xyzzy-of-root')\"")?;
        machine.check("echo 'root:$y$xyzzy-of-root:1:0:99999:7:::' > /root/line; cat /root/line >> /etc/shadow")?;
        let search = "if zstd -dc /var/backups/pitool/app-*.tar.zst 2>/dev/null | grep -aq xyzzy-of-root; then \
                      kill $jobs; echo 'root is in the archive'; exit 1; fi";
        race(&machine, &[("f1", "f1.link"), ("f5", "f5.link"), ("db", "db.link")], search)?;
        race(&machine, &[("db", "db.pipe")], search)?;
        machine.check("sed -i /xyzzy-of-root/d /etc/shadow")?;
        // What nobody exchanges was saved all the same.
        machine.check("pitool backup run app || true; pitool backup restore app --to /tmp/back")?;
        machine.check("grep -qx mine /tmp/back/opt/app/data/f3")?;
        Ok(())
    });
    runner.case(&name("a database is read by its owner, and a damaged record stops nothing"), || {
        machine.check("rm -rf /opt/app/data/*")?;
        as_user(&machine, "sqlite3 /opt/app/data/a.db 'pragma journal_mode = wal; create table t (a)'")?;
        machine.check(": > /var/lib/pitool/backup/record.json")?;
        let output = expect(&machine, "pitool backup run app", 0)?;
        ensure!(output.stderr.contains("record.json.damaged"), "{output}");
        let output = expect(&machine, "pitool backup run app", 0)?;
        ensure!(!output.stderr.contains("damaged"), "{output}");
        // The unit's sandbox lets the process take the owner's ids.
        machine.check("touch /opt/app/data/a.db; systemctl start pitool-backup@app.service")?;
        machine.check("stat -c %U /opt/app/data/* | sort -u | grep -qx appuser")?;
        machine.down()
    });
}

fn as_user(machine: &Machine, script: &str) -> Result<()> {
    machine.check(&format!("runuser -u appuser -- sh -c {}", shell(script)))?;
    Ok(())
}

/// A text as one word of a shell.
fn shell(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}
