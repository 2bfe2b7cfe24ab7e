//! Bad days: locks held, disks full, services that do not start, ports that move, people who interrupt.

use std::path::Path;
use std::time::Duration;

use anyhow::{Result, ensure};
use pitool_testkit::machine::{BoxOptions, Lab, Machine, Suite, ssh_key};
use pitool_testkit::suite::Runner;

use crate::{converged, expect, installed};

pub(crate) fn cases(runner: &mut Runner, lab: &Lab, suite: Suite, deb: &Path) {
    let name = |case: &str| format!("{suite}: {case}");
    let mut booted = None;
    runner.case(&name("a box for bad days"), || {
        booted = Some(installed(lab, suite, &BoxOptions::named("bad"), deb)?);
        Ok(())
    });
    let Some(machine) = booted else { return };

    runner.case(&name("bad configs: position, words, exit 3, nothing changed"), || configs(&machine));
    runner.case(&name("no domain for a certificate: one line, and nothing is done"), || {
        let output = expect(&machine, "pitool apply ssl", 0)?;
        let said =
            format!("{} {}", output.stdout, output.stderr).split_whitespace().collect::<Vec<_>>().join(" ");
        ensure!(said.contains("[ssl] in the config names no domain"), "{output}");
        machine.check("test ! -e /var/lib/pitool-acme && test ! -e /etc/nginx")?;
        expect(&machine, "pitool cert renew", 0)?;
        Ok(())
    });
    runner.case(&name("not root: one sentence"), || {
        let output = machine.sh("sudo -u pi pitool apply all")?;
        ensure!(output.status == 3 && output.stderr.lines().count() <= 3, "{output}");
        Ok(())
    });
    runner.case(&name("an unknown package is named before anything changes"), || {
        config(&machine, "[common]\npackages = [\"vim\", \"no-such-package\"]\n")?;
        let output = expect(&machine, "pitool apply common", 3)?;
        ensure!(output.stderr.contains("no-such-package"), "{output}");
        machine.check("test ! -e /var/lib/pitool/runs || test -z \"$(ls /var/lib/pitool/runs)\"")?;
        config(&machine, "")
    });
    runner.case(&name("the mirror does not answer: nothing changed"), || {
        machine.check("cp -a /etc/apt /root/apt.bak; find /etc/apt -name '*.list' -delete; find /etc/apt -name '*.sources' -delete")?;
        machine.write_file("/etc/apt/sources.list", "deb http://127.0.0.1:9/debian stable main\n", 0o644)?;
        let output = machine.sh("pitool apply common")?;
        machine.check("rm -rf /etc/apt && mv /root/apt.bak /etc/apt")?;
        ensure!(output.status == 1, "{output}");
        machine.check("test ! -e /var/lib/pitool/runs || test -z \"$(ls /var/lib/pitool/runs)\"")?;
        Ok(())
    });
    runner.case(&name("another apt holds its lock: it waits"), || {
        let holder = machine.spawn(["python3", "-c", HOLD_APT])?;
        std::thread::sleep(Duration::from_secs(1));
        let output = machine.sh("pitool apply security")?;
        holder.kill()?;
        ensure!(output.status == 0, "{output}");
        ensure!(output.duration > Duration::from_secs(5), "it did not wait: {output}");
        Ok(())
    });
    runner.case(&name("another program has port 80: it keeps it, and nginx is left out"), || {
        let holder = machine.spawn(["python3", "-m", "http.server", "80"])?;
        machine.check(
            "for try in $(seq 300); do ss -Hltn 'sport = :80' | grep -q . && exit 0; sleep 0.1; done; exit 1",
        )?;
        let output = expect(&machine, "pitool apply app", 0)?;
        holder.kill()?;
        ensure!(output.stderr.contains("because python3 has port 80"), "{output}");
        machine.check("! dpkg -s nginx 2>/dev/null")?;
        let plan = expect(&machine, "pitool plan app", 2)?;
        ensure!(plan.stdout.contains("nginx"), "once the port is free, nginx comes: {plan}");
        Ok(())
    });
    drop(machine);

    let mut booted = None;
    runner.case(&name("a configured box for bad days"), || {
        booted = Some(converged(lab, suite, "worse", deb)?);
        Ok(())
    });
    let Some(machine) = booted else { return };

    runner.case(&name("dpkg was interrupted earlier: finished first"), || {
        machine.check("apt-get -qq purge -y nload")?;
        machine.check(
            "apt-get -qq install -y --download-only tree && dpkg --unpack /var/cache/apt/archives/tree_*.deb",
        )?;
        ensure!(machine.check("dpkg -l tree")?.stdout.contains("iU"), "not half installed");
        expect(&machine, "pitool apply all", 0)?;
        ensure!(machine.check("dpkg -l tree")?.stdout.contains("ii"), "still half installed");
        expect(&machine, "pitool plan all", 0)?;
        Ok(())
    });
    runner.case(&name("dpkg was cut off before it called a package unpacked: installed again"), || {
        // The window is a few milliseconds wide; what it leaves is one word in the database.
        machine.check(
            "sed -i '/^Package: htop$/,/^$/s/^Status: install ok installed$/Status: install reinstreq unpacked/' /var/lib/dpkg/status",
        )?;
        ensure!(machine.check("dpkg -l htop")?.stdout.contains("iUR"), "not in between");
        let helpless = machine.sh("dpkg --configure -a || apt-get -y --fix-broken install")?;
        ensure!(helpless.stderr.contains("very bad inconsistent state"), "apt helps itself by now: {helpless}");
        ensure!(helpless.status != 0, "apt helps itself by now: {helpless}");
        expect(&machine, "pitool apply all", 0)?;
        ensure!(machine.check("dpkg -l htop")?.stdout.contains("ii"), "still in between");
        expect(&machine, "pitool plan all", 0)?;
        Ok(())
    });
    runner.case(&name("a service that does not start with its new config: the old one comes back"), || {
        // The drop-in makes the next start fail; the running service does not notice until it is restarted.
        machine.check("mkdir -p /etc/systemd/system/fail2ban.service.d")?;
        let block = "[Service]\nExecStartPre=/bin/sh -c '! grep -q \"^bantime *= *7200\" /etc/fail2ban/jail.d/*pitool*'\n";
        machine.write_file("/etc/systemd/system/fail2ban.service.d/block.conf", block, 0o644)?;
        machine.check("systemctl daemon-reload")?;
        let old = machine.check("cat /etc/fail2ban/jail.d/*pitool*")?.stdout;
        config(&machine, "[security.fail2ban]\nbantime = \"2h\"\n")?;
        let output = expect(&machine, "pitool apply security", 4)?;
        ensure!(output.stderr.contains("fail2ban"), "{output}");
        ensure!(machine.check("cat /etc/fail2ban/jail.d/*pitool*")?.stdout == old, "the old config is not back");
        // Its server answers only when it has read everything.
        machine.check(
            "systemctl is-active fail2ban && for try in $(seq 50); do fail2ban-client ping && exit 0; sleep 0.2; done; exit 1",
        )?;
        config(&machine, "")?;
        machine.check("rm -r /etc/systemd/system/fail2ban.service.d && systemctl daemon-reload")?;
        expect(&machine, "pitool plan all", 0)?;
        Ok(())
    });
    runner.case(&name("two runs at once: the second says who holds the lock"), || {
        // The first one waits for nginx, whose start waits for the test.
        let slow = "/run/systemd/system/nginx.service.d/slow.conf";
        let waits = "[Service]\nExecStartPre=/bin/sh -c 'until test -e /run/go-on; do sleep 0.1; done'\n";
        machine.write_file(slow, waits, 0o644)?;
        machine.check("systemctl daemon-reload && systemctl stop nginx")?;
        let first = machine.spawn(["pitool", "apply", "app"])?;
        machine.check(
            "for try in $(seq 300); do test $(systemctl is-active nginx) = activating && exit 0; sleep 0.1; done; exit 1",
        )?;
        let second = machine.sh("pitool apply all")?;
        machine.check("touch /run/go-on")?;
        let first = first.wait(Duration::from_secs(60))?;
        machine.check(&format!("rm {slow} && systemctl daemon-reload"))?;
        ensure!(first.status == 0, "{first}");
        ensure!(second.status == 6, "{second}");
        ensure!(second.stderr.contains("pitool apply app"), "it does not name the holder: {second}");
        machine.check("systemctl is-active nginx")?;
        expect(&machine, "pitool apply all", 0)?;
        Ok(())
    });
    runner
        .case(&name("SIGINT stops after the step and says how to go on; SIGKILL is caught up with"), || {
            interrupted(&machine)
        });
    runner.case(&name("the journal's disk is full: nothing changed"), || {
        machine.check("mkdir -p /root/keep && cp -a /var/lib/pitool/. /root/keep/ && mount -t tmpfs -o size=64k tmpfs /var/lib/pitool && cp /root/keep/managed.json /var/lib/pitool/ 2>/dev/null; systemctl stop nginx; head -c 100000 /dev/zero > /var/lib/pitool/fill; true")?;
        let output = machine.sh("pitool apply all")?;
        let nginx = machine.sh("systemctl is-active nginx")?.stdout;
        machine.check("umount /var/lib/pitool && rm -rf /root/keep")?;
        ensure!(output.status == 1, "{output}");
        ensure!(nginx.trim() == "inactive", "something changed without a journal");
        expect(&machine, "pitool apply all", 0)?;
        Ok(())
    });
    runner.case(&name("sshd moves to another port: the way in stays open"), || {
        port_moves(lab, &machine, suite)
    });
    runner.case(&name("no key, no password: passwords stay on, and it says so"), || keyless(lab, suite, deb));
}

fn config(machine: &Machine, text: &str) -> Result<()> {
    machine.write_file("/etc/pitool/pitool.toml", text, 0o644)
}

fn configs(machine: &Machine) -> Result<()> {
    let cases = [
        ("[common]\ntimezoen = \"Europe/Paris\"\n", "pitool.toml:2:1", "timezone"),
        ("[security.ssh]\nport = 70000\n", "pitool.toml:2:8", "70000"),
        ("[security.fail2ban]\nbantime = \"soon\"\n", "pitool.toml:2:11", "bantime"),
        ("[common]\ntimezone = \"Mars/Olympus\"\n", "pitool.toml:2:12", "Mars/Olympus"),
        ("[common]\npackages = 3\n", "pitool.toml:2:12", "packages"),
        (
            "[apps.a]\nupstream_port = 8080\n[apps.b]\nserver_name = [\"b.test\"]\nupstream_port = 8080\n",
            "pitool.toml",
            "8080",
        ),
        ("[common\n", "pitool.toml:1", ""),
    ];
    for (text, place, word) in cases {
        config(machine, text)?;
        let output = expect(machine, "pitool apply all", 3)?;
        ensure!(
            output.stderr.contains(place) && output.stderr.contains(word) && output.stderr.contains('^'),
            "{text}\n{output}"
        );
    }
    machine.write_file("/etc/pitool/pitool.toml", [0xff, 0xfe, b'a'], 0o644)?;
    expect(machine, "pitool apply all", 3)?;
    machine.check("rm /etc/pitool/pitool.toml && mkdir /etc/pitool/pitool.toml")?;
    let directory = machine.sh("pitool apply all")?;
    machine.check("rmdir /etc/pitool/pitool.toml")?;
    ensure!(directory.status == 3, "{directory}");
    expect(machine, "pitool config check", 0)?;
    machine.check("test ! -e /var/lib/pitool/runs")?;
    Ok(())
}

/// Holds dpkg's frontend lock for eight seconds, as another apt would.
const HOLD_APT: &str = "import fcntl,time\nf=open('/var/lib/dpkg/lock-frontend','w')\nfcntl.lockf(f,fcntl.LOCK_EX)\ntime.sleep(8)";

fn interrupted(machine: &Machine) -> Result<()> {
    for signal in ["INT", "TERM", "KILL"] {
        machine.check("apt-get -qq purge -y nginx nginx-common htop >/dev/null 2>&1; ufw --force disable >/dev/null; systemctl stop fail2ban; true")?;
        let runs = "grep -l '\"ready\"' /var/lib/pitool/runs/* | wc -l";
        let before = machine.check(runs)?.stdout;
        let mut run = machine.spawn(["pitool", "apply", "all"])?;
        // However busy this machine is: a moment after the snapshot is on the disk.
        while machine.check(runs)?.stdout == before {
            ensure!(run.running()?, "the run was over before it began");
            std::thread::sleep(Duration::from_millis(200));
        }
        std::thread::sleep(Duration::from_millis(500));
        ensure!(run.running()?, "the run was over before the signal");
        machine.check(&format!("pkill -{signal} -x pitool"))?;
        let output = run.wait(Duration::from_secs(120))?;
        ensure!(output.status != 0, "{signal}: {output}");
        if signal != "KILL" {
            ensure!(
                output.stderr.contains("pitool apply") && output.stderr.contains("pitool rollback"),
                "{signal}: {output}"
            );
        } else {
            machine.sh("while pgrep -x apt-get; do sleep 1; done")?;
        }
        let told = machine.sh("pitool plan all")?;
        ensure!(told.stderr.contains("pitool rollback"), "{signal}: the unfinished run is not told: {told}");
        expect(machine, "pitool apply all", 0)?;
        expect(machine, "pitool plan all", 0)?;
    }
    Ok(())
}

fn port_moves(lab: &Lab, machine: &Machine, suite: Suite) -> Result<()> {
    let outsider = Machine::up(lab, suite, &BoxOptions::named("mover"))?;
    let key = ssh_key(lab)?;
    machine.authorize("pi", &key.public)?;
    expect(machine, "pitool apply all", 0)?;
    let before = outsider.ssh(machine, "pi", 22, "echo in")?;
    ensure!(before.stdout.trim() == "in", "{before}");
    config(machine, "[security.ssh]\nport = 2222\n")?;
    expect(machine, "pitool apply all", 0)?;
    let moved = outsider.ssh(machine, "pi", 2222, "echo in")?;
    ensure!(moved.stdout.trim() == "in", "locked out: {moved}");
    ensure!(!outsider.can_connect(machine.ip(), 22)?, "the old port is still open");
    expect(machine, "pitool plan all", 0)?;
    expect(machine, "pitool rollback", 0)?;
    let back = outsider.ssh(machine, "pi", 22, "echo in")?;
    ensure!(back.stdout.trim() == "in", "locked out after rollback: {back}");
    config(machine, "")?;
    outsider.down()
}

fn keyless(lab: &Lab, suite: Suite, deb: &Path) -> Result<()> {
    let machine = installed(lab, suite, &BoxOptions::named("keyless"), deb)?;
    machine.check("echo pi:raspberry | chpasswd")?;
    let output = expect(&machine, "pitool apply security", 0)?;
    ensure!(
        (output.stdout.clone() + &output.stderr).contains("ssh-copy-id"),
        "it does not say what to do: {output}"
    );
    machine.check("/usr/sbin/sshd -T | grep -qx 'passwordauthentication yes'")?;
    machine.check("/usr/sbin/sshd -T | grep -qx 'permitrootlogin no'")?;
    expect(&machine, "pitool plan security", 0)?;
    let key = ssh_key(lab)?;
    machine.authorize("pi", &key.public)?;
    expect(&machine, "pitool apply security", 0)?;
    machine.check("/usr/sbin/sshd -T | grep -qx 'passwordauthentication no'")?;
    machine.down()
}
