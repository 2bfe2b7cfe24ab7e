//! Backups on a whole machine: saved by their timer, opened by tar and zstd alone, restored bit for bit, drilled, copied
//! to a disk, another machine and a bucket, and never deleted by a clock that nobody confirms.

mod attack;
mod targets;

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use pitool_testkit::machine::{BoxOptions, Lab, Machine, Suite};
use pitool_testkit::suite::Runner;

use crate::{converged, expect};

/// Files of every sort: hard and symbolic links, holes, owners, setuid, attributes, ACLs, a name that is not UTF-8, a
/// pipe, nanoseconds, and a database with a write-ahead log.
const DATA: &str = r#"set -e
mkdir -p /opt/grist/data/docs /etc/pitool /etc/nginx
cd /opt/grist/data
for i in $(seq 120); do head -c $((i * 97)) /dev/urandom > docs/f$i; done
truncate -s 50M docs/sparse; echo end >> docs/sparse
ln docs/f1 docs/hard; ln -s f2 docs/soft; mkfifo docs/pipe
chmod 4755 docs/f3; chown 1000:1000 docs/f4; setfattr -n user.comment -v hello docs/f5; setfacl -m u:1000:r docs/f6
chmod 2770 docs; touch -d '2001-02-03 04:05:06.789' docs/f7; touch "$(printf 'docs/odd\377name')"
sqlite3 home.grist 'pragma journal_mode=wal; create table t(a); insert into t select value from generate_series(1,2000);'
echo 'server { listen 127.0.0.1:8099; }' > /etc/nginx/backup-test.conf"#;

/// Everything that a restore must bring back, as text: kinds, modes, owners, sizes, times, links, contents, attributes.
/// The database is asked, because its write-ahead log is folded into the copy.
const FINGERPRINT: &str = r#"cd /
for d in /opt/grist/data /etc/nginx /etc/pitool; do
  find $d ! -type d ! -name 'home.grist*' -printf '%p|%y|%m|%U|%G|%s|%T@|%n|%l\n' | LC_ALL=C sort
  find $d -type d -printf '%p|%m|%U|%G|%T@\n' | grep -v '^/opt/grist/data|' | LC_ALL=C sort
  find $d -type f ! -name 'home.grist*' -print0 | LC_ALL=C sort -z | xargs -0 -r sha256sum
  find $d -print0 | LC_ALL=C sort -z | xargs -0 getfattr -h -d -m - 2>/dev/null
done
sqlite3 /opt/grist/data/home.grist 'select count(*), sum(a) from t; pragma integrity_check'"#;

pub(crate) fn cases(runner: &mut Runner, lab: &Lab, suite: Suite, deb: &Path) {
    attack::cases(runner, lab, suite, deb);
    let name = |case: &str| format!("{suite}: backup: {case}");
    let mut made = None;
    runner.case(&name("a box with data, and one beside it"), || {
        let machine = converged(lab, suite, "saved", deb)?;
        install(&machine, "acl attr sqlite3 nginx rsync age busybox-static")?;
        let docker = if suite == Suite::Trixie { "docker.io docker-cli" } else { "docker.io" };
        install(&machine, docker)?;
        machine.check(DATA)?;
        let nas = Machine::up(lab, suite, &BoxOptions::named("nas"))?;
        made = Some((machine, nas));
        Ok(())
    });
    let Some((machine, nas)) = made else { return };

    runner.case(&name("apply sets the timers, twice is once"), || {
        machine.check("systemctl disable --now pitool-backup-machine.timer pitool-drill.timer")?;
        expect(&machine, "pitool apply backup", 0)?;
        machine.check("systemctl is-active pitool-backup-machine.timer pitool-drill.timer")?;
        machine.check("systemctl is-enabled pitool-backup-machine.timer pitool-drill.timer")?;
        let again = machine.measured(["pitool", "apply", "backup"])?;
        ensure!(again.output.status == 0, "{}", again.output);
        ensure!(again.trace.read_only() && again.trace.written_bytes() == 0, "{:#?}", again.trace);
        let modes = machine
            .check("stat -c '%a %U' /var/backups/pitool /var/lib/pitool/backup 2>/dev/null || true")?;
        ensure!(modes.stdout.starts_with("700 root"), "{modes}");
        Ok(())
    });
    runner.case(&name("the timer's service saves, tar and zstd open it"), || saved(&machine));
    runner.case(&name("everything comes back bit for bit"), || restored(&machine));
    runner.case(&name("one file out of it, to another place"), || {
        expect(&machine, "pitool backup restore machine /opt/grist/data/docs/f9 --to /tmp/one", 0)?;
        machine.check("cmp /tmp/one/opt/grist/data/docs/f9 /opt/grist/data/docs/f9")?;
        machine.check("test $(find /tmp/one -type f | wc -l) = 1")?;
        // Without a terminal nobody can be asked.
        expect(&machine, "pitool backup restore machine < /dev/null", 3)?;
        Ok(())
    });
    runner.case(&name("a drill passes, and fails after one byte is changed"), || drilled(&machine));
    runner.case(&name("what goes away is missed, and kept"), || {
        machine.check("mv /opt/grist/data /opt/grist/away")?;
        let output = expect(&machine, "pitool backup run", 1)?;
        ensure!(says(&output.stderr, "/opt/grist/data was saved before"), "{output}");
        machine.check("mv /opt/grist/away /opt/grist/data")?;
        expect(&machine, "pitool backup run", 0)?;
        Ok(())
    });
    runner.case(&name("nothing is deleted by a clock that nobody confirms"), || clock(&machine));
    runner.case(&name("a disk that is not mounted is refused"), || targets::disk(&machine));
    runner.case(&name("another machine over SSH, and back from there"), || targets::ssh(&machine, &nas));
    runner.case(&name("a bucket of an S3 server, and back from there"), || targets::s3(lab, &machine));
    runner.case(&name("only the owner of the key opens an encrypted archive"), || encrypted(&machine));
    runner.case(&name("services rest while their files are restored"), || services(&machine));
    runner.case(&name("a container that rests is back after a power cut"), || containers(machine));
}

/// Whether a text has these words, wherever its lines break.
fn says(text: &str, words: &str) -> bool {
    text.split_whitespace().collect::<Vec<_>>().join(" ").contains(words)
}

/// Installs packages. Boxes share their downloads and so the lock on them.
fn install(machine: &Machine, packages: &str) -> Result<()> {
    let command = format!(
        "for try in $(seq 60); do apt-get -qq install -y {packages} && exit 0; sleep 2; done; exit 1"
    );
    machine.check(&command).map(drop)
}

/// Writes the config of the machine.
fn config(machine: &Machine, text: &str) -> Result<()> {
    machine.write_file("/etc/pitool/pitool.toml", text, 0o644)
}

fn fingerprint(machine: &Machine) -> Result<String> {
    Ok(machine.check(FINGERPRINT)?.stdout)
}

/// The newest file of archives here.
const NEWEST: &str = "$(ls -t /var/backups/pitool/machine-*.tar.zst | head -1)";

fn saved(machine: &Machine) -> Result<()> {
    machine.check("systemctl start pitool-backup@machine.service")?;
    let list = expect(machine, "pitool backup list", 0)?;
    ensure!(list.stdout.contains("-000001") && list.stdout.contains("next     20"), "{list}");
    let files = machine.check(&format!("zstd -dc {NEWEST} | tar t"))?.stdout;
    ensure!(
        files.contains("opt/grist/data/docs/f1\n") && files.contains("etc/nginx/backup-test.conf"),
        "{files}"
    );
    // Without pitool: unpacked by tar, owners and attributes included.
    machine.check(&format!(
        "mkdir -p /tmp/by-hand && zstd -dc {NEWEST} | tar x --xattrs --xattrs-include='*' --acls -C /tmp/by-hand \
         && diff -r --no-dereference -x pipe -x 'home.grist*' /opt/grist/data/docs /tmp/by-hand/opt/grist/data/docs \
         && getfattr -n user.comment /tmp/by-hand/opt/grist/data/docs/f5"
    ))?;
    machine.check("stat -c %a /var/backups/pitool/machine-* | sort -u | grep -qx 600")?;
    let json = expect(machine, "pitool backup list --json", 0)?.stdout;
    ensure!(json.contains("\"last_success\": \"20") && json.contains("\"verified\""), "{json}");
    Ok(())
}

fn restored(machine: &Machine) -> Result<()> {
    let before = fingerprint(machine)?;
    expect(machine, "pitool backup run", 0)?;
    machine.check("rm -rf /opt/grist/data /etc/nginx/backup-test.conf; echo hand > /etc/pitool/left")?;
    let output = expect(machine, "pitool backup restore machine --yes --exact", 0)?;
    ensure!(says(&output.stdout, "What was there before is in before-restore-"), "{output}");
    let after = fingerprint(machine)?;
    ensure!(before == after, "{}", difference(&before, &after));
    // And what was replaced is not lost.
    expect(machine, "pitool backup restore before-restore /etc/pitool/left --to /tmp/before", 0)?;
    machine.check("grep -qx hand /tmp/before/etc/pitool/left")?;
    Ok(())
}

fn difference(before: &str, after: &str) -> String {
    let lines = |text: &str| text.lines().map(str::to_owned).collect::<std::collections::BTreeSet<_>>();
    let (before, after) = (lines(before), lines(after));
    let mut differing: Vec<String> = before.difference(&after).map(|line| format!("- {line}")).collect();
    differing.extend(after.difference(&before).map(|line| format!("+ {line}")));
    differing.truncate(40);
    differing.join("\n")
}

fn drilled(machine: &Machine) -> Result<()> {
    expect(machine, "pitool backup run", 0)?;
    machine.check("systemctl start pitool-drill.service")?;
    let output = expect(machine, "pitool backup drill", 0)?;
    ensure!(says(&output.stdout, "every hash is right, 1 database opened"), "{output}");
    machine.check(
        "N=$(pitool backup list --json | python3 -c 'import json,sys; a=json.load(sys.stdin)[\"sets\"][0][\"archives\"][0]; \
         print(a[\"unchanged_since\"] or a[\"name\"])'); F=/var/backups/pitool/$N.tar.zst; cp -p $F /root/good; \
         printf '\\377' | dd of=$F bs=1 seek=$(($(stat -c %s $F) / 2)) conv=notrunc status=none; \
         cmp -s $F /root/good && exit 1; echo $F > /root/which",
    )?;
    let output = expect(machine, "pitool backup drill", 1)?;
    ensure!(
        says(&output.stdout, "failed its drill") && says(&output.stderr, "is not as it was written"),
        "{output}"
    );
    let output = expect(machine, "pitool backup verify", 1)?;
    ensure!(says(&output.stdout, "damaged"), "{output}");
    machine.check("systemctl start pitool-drill.service && exit 1; cp -p /root/good $(cat /root/which)")?;
    expect(machine, "pitool backup verify --full", 0)?;
    expect(machine, "pitool backup drill", 0)?;
    Ok(())
}

/// A timedatectl that says what the test wants; the kernel's own answer is that of the machine below the box.
fn synchronized(machine: &Machine, yes: bool) -> Result<()> {
    let word = if yes { "yes" } else { "no" };
    machine.check(&format!(
        "test -e /usr/bin/timedatectl.real || cp /usr/bin/timedatectl /usr/bin/timedatectl.real; \
         printf '#!/bin/sh\\necho NTPSynchronized={word}\\n' > /usr/bin/timedatectl; chmod 755 /usr/bin/timedatectl"
    ))?;
    Ok(())
}

fn clock(machine: &Machine) -> Result<()> {
    // One that nothing wants any more, by its date, and known to be whole.
    config(machine, "[backup.retention]\ndaily = 1\nweekly = 0\nmonthly = 0\nminimum = 1\n")?;
    machine.check("for i in 1 2 3; do echo $i > /opt/grist/data/docs/f1; pitool backup run -q; done")?;
    synchronized(machine, false)?;
    let count = "ls /var/backups/pitool/machine-*.manifest.zst | wc -l";
    let before = machine.check(count)?.stdout;
    let output = expect(machine, "pitool backup prune --dry-run", 0)?;
    ensure!(says(&output.stdout, "nothing goes while the clock is not synchronized"), "{output}");
    expect(machine, "pitool backup prune --yes", 0)?;
    ensure!(machine.check(count)?.stdout == before, "something was deleted");
    synchronized(machine, true)?;
    let output = expect(machine, "pitool backup prune --dry-run", 0)?;
    ensure!(says(&output.stdout, "goes ") && says(&output.stdout, "no rule wants it"), "{output}");
    ensure!(machine.check(count)?.stdout == before, "a dry run deleted something");
    expect(machine, "pitool backup prune < /dev/null", 3)?;
    expect(machine, "pitool backup prune --yes", 0)?;
    let left: usize = machine.check(count)?.stdout.trim().parse()?;
    ensure!((1..=2).contains(&left), "{left} archives are left");
    expect(machine, "pitool backup verify --all", 0)?;
    machine.check("rm /etc/pitool/pitool.toml")?;
    Ok(())
}

fn encrypted(machine: &Machine) -> Result<()> {
    machine.check("age-keygen -o /root/key.txt 2>/dev/null && chmod 600 /root/key.txt")?;
    let recipient = machine.check("age-keygen -y /root/key.txt")?.stdout;
    config(machine, &format!("[backup]\nrecipients = [\"{}\"]\n", recipient.trim()))?;
    expect(machine, "pitool backup run", 0)?;
    let newest = "$(ls -t /var/backups/pitool/machine-*.tar.zst.age | head -1)";
    machine.check(&format!("age -d -i /root/key.txt {newest} | zstd -d | tar t | grep -q docs/f1"))?;
    // Sealed: this machine cannot open what it made.
    let output = expect(machine, "pitool backup drill", 1)?;
    ensure!(says(&output.stderr, "encrypted"), "{output}");
    machine.check("echo 'identity_file = \"/root/key.txt\"' >> /etc/pitool/pitool.toml")?;
    expect(machine, "pitool backup drill", 0)?;
    expect(machine, "pitool backup restore machine /opt/grist/data/docs/f9 --to /tmp/opened", 0)?;
    machine.check(
        "cmp /tmp/opened/opt/grist/data/docs/f9 /opt/grist/data/docs/f9; rm /etc/pitool/pitool.toml",
    )?;
    Ok(())
}

fn services(machine: &Machine) -> Result<()> {
    machine.check("systemctl start nginx && rm -f /etc/nginx/backup-test.conf && pitool backup run")?;
    let started = "systemctl show -p ActiveEnterTimestampMonotonic --value nginx";
    let before = machine.check(started)?.stdout;
    machine.check("echo broken >> /etc/nginx/nginx.conf")?;
    expect(machine, "pitool backup restore machine --yes", 0)?;
    machine.check("systemctl is-active nginx && nginx -t")?;
    ensure!(machine.check(started)?.stdout != before, "nginx was not stopped meanwhile");
    machine.check("test ! -e /var/lib/pitool/backup/resting.json")?;
    Ok(())
}

fn containers(mut machine: Machine) -> Result<()> {
    let remount = "for c in /sys/fs/cgroup /sys/fs/cgroup/*; do mountpoint -q $c && mount -o remount,bind,rw $c; done; true";
    machine.check(remount)?;
    machine.check("systemctl restart docker")?;
    machine.check(
        "mkdir -p /tmp/image/bin && cp /bin/busybox /tmp/image/bin/ && ln -sf busybox /tmp/image/bin/sh && \
         tar -C /tmp/image -c . | docker import - tiny && docker volume create notes && \
         docker run -d --name app --restart unless-stopped -v notes:/data tiny \
         /bin/busybox sh -c 'echo kept > /data/note; trap exit TERM; while :; do /bin/busybox sleep 1; done'",
    )?;
    let set =
        "[backup.sets.notes]\nvolumes = [\"notes\"]\ncontainers = \"stopped\"\nbefore = [\"/root/hook\"]\n";
    config(&machine, set)?;
    machine.check("printf '#!/bin/sh\\nexit 0\\n' > /root/hook; chmod 755 /root/hook")?;
    expect(&machine, "pitool apply backup", 0)?;
    expect(&machine, "pitool backup run notes", 0)?;
    machine.check("docker inspect -f '{{.State.Running}}' app | grep -qx true")?;
    machine
        .check("zstd -dc $(ls -t /var/backups/pitool/notes-*.tar.zst | head -1) | tar t | grep -q note")?;
    // A hook that fails fails the backup, and nothing is stopped for it.
    machine.check("printf '#!/bin/sh\\necho no >&2; exit 7\\n' > /root/hook")?;
    let output = expect(&machine, "pitool backup run notes", 1)?;
    ensure!(
        says(&output.stderr, "its command `before` failed") && says(&output.stderr, "status 7"),
        "{output}"
    );
    machine.check("printf '#!/bin/sh\\nexit 0\\n' > /root/hook")?;
    // The power goes while it is stopped: what makes the archive large also makes time for it.
    machine.check(
        "head -c 400000000 /dev/urandom > $(docker volume inspect -f '{{.Mountpoint}}' notes)/large",
    )?;
    let _cut = machine.spawn(["pitool", "backup", "run", "notes"])?;
    let began = Instant::now();
    while machine.sh("docker inspect -f '{{.State.Running}}' app")?.stdout.trim() != "false" {
        ensure!(began.elapsed() < Duration::from_secs(60), "the container was never stopped");
    }
    machine.check("test -s /var/lib/pitool/backup/resting.json")?;
    machine.power_cut()?;
    machine.start()?;
    machine.check(remount)?;
    machine.check("systemctl restart docker; systemctl restart pitool-backup-recover.service")?;
    machine.check("docker inspect -f '{{.State.Running}}' app | grep -qx true; test ! -e /var/lib/pitool/backup/resting.json")?;
    expect(&machine, "pitool backup run notes", 0)?;
    machine.check("ls /var/backups/pitool/*.partial 2>/dev/null && exit 1; true")?;
    // Restored over the running container.
    machine.check("docker exec app /bin/busybox rm /data/note")?;
    expect(&machine, "pitool backup restore notes --yes", 0)?;
    machine.check("docker exec app /bin/busybox grep -qx kept /data/note")?;
    Ok(())
}
