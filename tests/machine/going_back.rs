//! Going back on whole machines: after a signal, beside what a person did, and what is said about it.

use std::path::Path;
use std::time::Duration;

use anyhow::{Result, ensure};
use pitool_testkit::machine::{BoxOptions, Lab, Machine, Suite};
use pitool_testkit::suite::Runner;

use crate::{expect, install, installed};

pub(crate) fn cases(runner: &mut Runner, lab: &Lab, suite: Suite, deb: &Path) {
    let name = |case: &str| format!("{suite}: going back: {case}");
    let mut booted = None;
    runner.case(&name("a box"), || {
        booted = Some(installed(lab, suite, &BoxOptions::named("goback"), deb)?);
        Ok(())
    });
    let Some(machine) = booted else { return };
    runner.case(&name("a step that fails after SIGTERM is taken back"), || terminated(&machine));
    runner.case(&name("a run that is going on is not called cut off"), || going_on(&machine));
    runner.case(&name("a failed unit of a run that was taken back is forgotten"), || failed_unit(&machine));
    runner.case(&name("a rollback that did not reach its end is finished by the next one"), || {
        finished(&machine)
    });
    runner.case(&name("a restart that takes its time is waited for"), || slow(&machine));
    runner.case(&name("a configuration that was there before its package is not purged"), || {
        restored(&machine)
    });
    runner.case(&name("a site that nginx would refuse does not come back"), || refused(&machine));
    runner.case(&name("the box goes"), || machine.down());
}

/// Has apt fail after it has worked, once and after a while, when `/root/fail` is there.
const FAILING: &str = "DPkg::Post-Invoke { \"if test -e /root/fail; then rm /root/fail; touch /root/reached; sleep 6; exit 1; fi\"; };\n";

fn fail_next_apt(machine: &Machine) -> Result<()> {
    machine.write_file("/etc/apt/apt.conf.d/99-fail", FAILING, 0o644)?;
    machine.check("rm -f /root/reached; touch /root/fail")?;
    Ok(())
}

const REACHED: &str = "for try in $(seq 600); do test -e /root/reached && exit 0; sleep 0.1; done; exit 1";

fn config(machine: &Machine, text: &str) -> Result<()> {
    machine.write_file("/etc/pitool/pitool.toml", text, 0o644)
}

fn terminated(machine: &Machine) -> Result<()> {
    config(machine, "[common]\npackages = [\"tree\"]\n")?;
    fail_next_apt(machine)?;
    let run = machine.spawn(["pitool", "apply", "common"])?;
    machine.check(REACHED)?;
    machine.check("pkill -TERM -x pitool")?;
    let output = run.wait(Duration::from_secs(120))?;
    ensure!(output.status == 4, "it should fail and be taken back: {output}");
    ensure!(output.stderr.contains("Stopping after this step"), "nobody said that it was heard: {output}");
    ensure!(output.stderr.contains("the machine is as it was before this run"), "{output}");
    machine.check("! dpkg -s tree >/dev/null 2>&1 && test -z \"$(dpkg --audit)\"")?;
    Ok(())
}

fn going_on(machine: &Machine) -> Result<()> {
    fail_next_apt(machine)?;
    let run = machine.spawn(["pitool", "apply", "common"])?;
    machine.check(REACHED)?;
    for command in ["pitool history", "pitool plan common"] {
        let told = machine.sh(command)?;
        ensure!(told.stderr.contains("(pitool apply common) is going on: process "), "{command}: {told}");
        ensure!(!told.stderr.contains("was cut off"), "{command}: {told}");
    }
    let second = expect(machine, "pitool apply common", 6)?;
    ensure!(second.stderr.contains("`pitool apply common`, process "), "{second}");
    let output = run.wait(Duration::from_secs(120))?;
    ensure!(output.status == 4, "{output}");
    expect(machine, "pitool apply common", 0)?;
    Ok(())
}

fn failed_unit(machine: &Machine) -> Result<()> {
    let directory = "/etc/systemd/system/pitool-monitor.service.d";
    machine.check(&format!("mkdir -p {directory}"))?;
    machine.write_file(&format!("{directory}/block.conf"), "[Service]\nExecStartPre=/bin/false\n", 0o644)?;
    machine.check("systemctl daemon-reload")?;
    expect(machine, "pitool apply monitoring", 4)?;
    let failed = machine.check("systemctl list-units --all --state=failed --plain --no-legend")?.stdout;
    ensure!(!failed.contains("pitool-monitor"), "left behind: {failed}");
    machine.check(&format!("rm -r {directory} && systemctl daemon-reload"))?;
    Ok(())
}

fn finished(machine: &Machine) -> Result<()> {
    let (file, mine) = ("/etc/systemd/journald.conf.d/60-pitool.conf", "/etc/pitool/monitor.toml");
    expect(machine, "pitool apply monitoring", 0)?;
    // What something is mounted on can be neither replaced nor removed.
    machine.check(&format!("mount --bind {file} {file}"))?;
    let output = expect(machine, "pitool rollback", 5)?;
    ensure!(output.stderr.contains(file), "{output}");
    machine.check(&format!("umount {file}; test ! -e {mine}"))?;
    machine.write_file(mine, "# mine\n", 0o644)?;
    let output = expect(machine, "pitool rollback", 0)?;
    ensure!(output.stderr.contains(&format!("left: file[{mine}]")), "{output}");
    machine.check(&format!("test ! -e {file} && grep -q mine {mine} && rm {mine}"))?;
    Ok(())
}

fn slow(machine: &Machine) -> Result<()> {
    expect(machine, "pitool apply security", 0)?;
    let directory = "/etc/systemd/system/fail2ban.service.d";
    // Longer than any limit of pitool's own.
    let seconds = 130;
    let slow = format!("[Service]\nTimeoutStopSec=200\nExecStop=/bin/sleep {seconds}\n");
    machine.check(&format!("mkdir -p {directory}"))?;
    machine.write_file(&format!("{directory}/slow.conf"), slow, 0o644)?;
    machine.check("systemctl daemon-reload")?;
    config(machine, "[security.fail2ban]\nbantime = \"3h\"\n")?;
    let output = expect(machine, "pitool apply security", 0)?;
    ensure!(output.duration > Duration::from_secs(seconds), "{output}");
    // Four starts in a row are more than systemd allows in ten seconds where a unit says so.
    let quick = "[Unit]\nStartLimitIntervalSec=600\nStartLimitBurst=2\n";
    machine.write_file(&format!("{directory}/slow.conf"), quick, 0o644)?;
    machine.check("systemctl daemon-reload")?;
    for bantime in ["4h", "5h", "6h", "7h"] {
        config(machine, &format!("[security.fail2ban]\nbantime = \"{bantime}\"\n"))?;
        expect(machine, "pitool apply security", 0)?;
    }
    machine.check(&format!("rm -r {directory} && systemctl daemon-reload"))?;
    config(machine, "")
}

fn restored(machine: &Machine) -> Result<()> {
    machine.check("apt-get -qq purge -y nginx nginx-common >/dev/null 2>&1; rm -rf /etc/nginx; mkdir -p /etc/nginx/sites-enabled")?;
    let text = "# mine\nuser www-data;\nevents {}\nhttp { include /etc/nginx/sites-enabled/*; }\n";
    machine.write_file("/etc/nginx/nginx.conf", text, 0o644)?;
    fail_next_apt(machine)?;
    let output = expect(machine, "pitool apply app", 4)?;
    machine.check("grep -q mine /etc/nginx/nginx.conf && ! systemctl -q is-active nginx")?;
    ensure!(output.stderr.contains("left: packages[dpkg]"), "{output}");
    ensure!(!output.stderr.contains("the machine is as it was"), "{output}");
    machine.check("apt-get -qq purge -y nginx nginx-common >/dev/null 2>&1; rm -rf /etc/nginx")?;
    Ok(())
}

fn refused(machine: &Machine) -> Result<()> {
    install(machine, "nginx")?;
    machine.check("systemctl -q is-active nginx && test -e /etc/nginx/sites-enabled/default")?;
    expect(machine, "pitool apply app", 0)?;
    machine.check("test ! -e /etc/nginx/sites-enabled/default")?;
    // Nobody includes it meanwhile.
    machine.write_file("/etc/nginx/sites-available/default", "no_such_directive on;\n", 0o644)?;
    machine.check("nginx -t && systemctl reload nginx")?;
    let output = expect(machine, "pitool rollback", 0)?;
    ensure!(output.stderr.contains("left: link[/etc/nginx/sites-enabled/default]"), "{output}");
    ensure!(output.stderr.contains("no_such_directive"), "{output}");
    machine.check(
        "systemctl -q is-active nginx && nginx -t && systemctl restart nginx && systemctl -q is-active nginx",
    )?;
    Ok(())
}
