//! One machine's life: install, apply, nothing to do, drift, reboot, rollback.

use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use pitool_testkit::machine::{BoxOptions, Lab, Machine, Probe, Suite, Tree, diff, snapshot, ssh_key};
use pitool_testkit::suite::Runner;

use crate::{expect, fresh};

/// Where a person's and the system's settings are; what a rollback must bring back to the byte.
const SETTINGS: &[&str] = &["/etc", "/boot", "/home", "/opt", "/root", "/srv", "/usr/local", "/var/spool"];

/// What a machine was before pitool, as files and by what its daemons say.
pub(crate) struct Before {
    tree: Tree,
    packages: String,
    answers: String,
}

impl Before {
    pub(crate) fn of(machine: &Machine) -> Result<Self> {
        Ok(Self {
            tree: snapshot(machine, SETTINGS)?,
            packages: packages(machine)?,
            answers: answers(machine)?,
        })
    }
}

fn packages(machine: &Machine) -> Result<String> {
    Ok(machine
        .check("dpkg-query -W -f '${binary:Package} ${db:Status-Abbrev} ${Version}\\n'; apt-mark showmanual")?
        .stdout)
}

/// What the daemons and the kernel say, in a form that two moments can be compared by. systemd-timedated and its like run
/// when somebody asks them and end after half a minute: whether they run says nothing of the machine.
fn answers(machine: &Machine) -> Result<String> {
    let questions = "/usr/sbin/sshd -T | sort; \
        systemctl list-unit-files --no-legend --no-pager --type=service,timer,socket | awk '{print $1, $2}' | sort; \
        systemctl list-units --no-legend --no-pager --plain --type=service --state=running | awk '{print $1}' | \
            grep -vxE 'systemd-(timedated|hostnamed|localed)[.]service' | sort; \
        sysctl -n vm.swappiness vm.vfs_cache_pressure net.ipv4.tcp_keepalive_time; \
        readlink -f /etc/localtime; cat /proc/swaps | wc -l; getent passwd | sort; getent group | sort";
    Ok(machine.check(questions)?.stdout)
}

pub(crate) fn cases(runner: &mut Runner, lab: &Lab, suite: Suite, deb: &Path) {
    let name = |case: &str| format!("{suite}: {case}");
    let mut machine = None;
    let mut outsider = None;
    let mut before = None;
    runner.case(&name("a fresh box and one outside it"), || {
        let target = fresh(lab, suite, &BoxOptions::named("pi"), deb)?;
        let outside = Machine::up(lab, suite, &BoxOptions::named("outside"))?;
        let pair = ssh_key(lab)?;
        target.authorize("pi", &pair.public)?;
        ensure!(
            outside.ssh(&target, "pi", 22, "echo in")?.stdout.trim() == "in",
            "the way in is there to begin with"
        );
        machine = Some(target);
        outsider = Some(outside);
        Ok(())
    });
    let (Some(mut machine), Some(outsider)) = (machine, outsider) else { return };

    runner.case(&name("installing changes nothing but its own files"), || {
        machine.check("apt-get -qq update")?;
        let tree = snapshot(&machine, &["/etc", "/var/lib/systemd", "/home", "/opt", "/root"])?;
        machine.check("apt-get -qq install -y /root/pitool.deb")?;
        let after = snapshot(&machine, &["/etc", "/var/lib/systemd", "/home", "/opt", "/root"])?;
        let foreign: Vec<String> =
            diff(&tree, &after).into_iter().filter(|line| !line.starts_with("/etc/pitool")).collect();
        ensure!(foreign.is_empty(), "{foreign:#?}");
        before = Some(Before::of(&machine)?);
        Ok(())
    });
    let Some(before) = before else { return };

    runner.case(&name("a plan on a fresh machine"), || {
        let planned = machine.measured(["pitool", "plan", "all"])?;
        ensure!(planned.output.status == 2, "{}", planned.output);
        ensure!(planned.trace.read_only(), "planning wrote: {:#?}", planned.trace);
        let json = expect(&machine, "pitool plan all --json", 2)?.stdout;
        ensure!(json.starts_with('{') && json.contains("\"version\": 1"), "{json}");
        // Nobody but root may look into the journal, but anybody may ask what would change.
        let unprivileged = machine.sh("sudo -u pi pitool plan all")?;
        match unprivileged.status {
            2 => ensure!(unprivileged.stdout.contains("\nPlan: "), "{unprivileged}"),
            // What only root may look at is said.
            1 => ensure!(
                unprivileged.stderr.contains("error: only root may look at ")
                    && unprivileged.stderr.contains("`sudo pitool plan all`"),
                "{unprivileged}"
            ),
            _ => bail!("{unprivileged}"),
        }
        Ok(())
    });

    runner.case(&name("apply all"), || {
        let output = expect(&machine, "pitool apply all", 0)?;
        println!("      first run {:.0} s", output.duration.as_secs_f64());
        Ok(())
    });

    runner.case(&name("again: nothing to do, nothing written"), || nothing_to_do(&machine));
    runner.case(&name("every promise is in force"), || {
        let output = expect(&machine, "pitool apply all --verify", 0)?;
        ensure!(!output.stdout.contains("not in force"), "{output}");
        Ok(())
    });
    runner.case(&name("the way in is as open as before, the rest is not"), || way_in(&machine, &outsider));
    runner.case(&name("unattended-upgrades would install what is pending"), || {
        let output = machine.check("unattended-upgrade --dry-run --debug 2>&1")?.stdout;
        let origins =
            output.lines().find(|line| line.contains("Allowed origins are")).context("no origins")?;
        ensure!(origins.contains("Debian-Security") || origins.contains("security"), "{origins}");
        Ok(())
    });
    runner.case(&name("a hand edit is shown as drift and put right"), || drift(&machine));
    runner.case(&name("a reboot brings everything back"), || {
        machine.reboot()?;
        expect(&machine, "pitool plan all", 0)?;
        expect(&machine, "pitool apply all --verify", 0)?;
        way_in(&machine, &outsider)
    });
    runner.case(&name("rollback restores what the box was"), || {
        let output = expect(&machine, "pitool rollback 1", 0)?;
        println!("      rollback {:.0} s", output.duration.as_secs_f64());
        restored(&machine, &before)?;
        ensure!(outsider.ssh(&machine, "pi", 22, "echo in")?.stdout.trim() == "in", "locked out");
        Ok(())
    });
    runner.case(&name("a rollback can be rolled back"), || {
        let runs = expect(&machine, "pitool history", 0)?;
        let last = machine.check("ls /var/lib/pitool/runs | tail -1 | sed 's/^0*//;s/.jsonl//'")?.stdout;
        expect(&machine, &format!("pitool rollback {}", last.trim()), 0).with_context(|| runs.to_string())?;
        expect(&machine, "pitool plan all", 0)?;
        expect(&machine, "pitool apply all --verify", 0)?;
        Ok(())
    });
    runner.case(&name("remove keeps the machine as it is, purge takes config and state"), || {
        machine.check("apt-get -qq remove -y pitool")?;
        machine.check("test -d /var/lib/pitool/runs && systemctl is-active fail2ban nginx ufw")?;
        machine.check("apt-get -qq install -y /root/pitool.deb")?;
        expect(&machine, "pitool plan all", 0)?;
        let purged = machine.check("apt-get -qq purge -y pitool")?;
        ensure!(
            (purged.stdout.clone() + &purged.stderr).contains("the machine stays configured"),
            "purge says what it leaves: {purged}"
        );
        machine.check("test ! -e /var/lib/pitool && test ! -e /etc/pitool && systemctl is-active nginx")?;
        Ok(())
    });
}

fn nothing_to_do(machine: &Machine) -> Result<()> {
    expect(machine, "pitool apply all", 0)?;
    expect(machine, "pitool plan all", 0)?;
    let again = machine.measured(["pitool", "apply", "all"])?;
    ensure!(again.output.status == 0, "{}", again.output);
    ensure!(again.trace.read_only() && again.trace.written_bytes() == 0, "it wrote: {:#?}", again.trace);
    ensure!(again.trace.children() <= 6, "{} processes: {:#?}", again.trace.children(), again.trace.programs);
    ensure!(again.usage.max_rss_kib < 15 * 1024, "{} KiB", again.usage.max_rss_kib);
    Ok(())
}

/// Asked from outside: ssh by key works and in no other way, the web answers, a port that nobody allowed does not.
fn way_in(machine: &Machine, outsider: &Machine) -> Result<()> {
    let login = outsider.ssh(machine, "pi", 22, "sudo -n true; echo in")?;
    ensure!(login.stdout.trim() == "in", "locked out: {login}");
    let root = outsider.ssh(machine, "root", 22, "echo in")?;
    ensure!(root.stdout.trim() != "in", "root came in");
    // Without a key sshd says which ways there are: no password.
    let keyless = format!(
        "ssh -oBatchMode=yes -oPubkeyAuthentication=no -oStrictHostKeyChecking=no -oUserKnownHostsFile=/dev/null pi@{} true",
        machine.ip()
    );
    let keyless = expect(outsider, &keyless, 255)?;
    ensure!(keyless.stderr.contains("Permission denied (publickey)."), "{keyless}");
    let health = outsider.check(&format!("curl -s --max-time 5 http://{}/health", machine.ip()))?;
    ensure!(health.stdout.trim() == "healthy", "{health}");
    let listener = machine.spawn(["python3", "-m", "http.server", "9999"])?;
    std::thread::sleep(std::time::Duration::from_secs(1));
    let probe = outsider.probe(machine.ip(), 9999)?;
    listener.kill()?;
    ensure!(matches!(probe, Probe::Silent), "a port that nobody allowed answers: {probe:?}");
    Ok(())
}

fn drift(machine: &Machine) -> Result<()> {
    let file = machine.check("ls /etc/fail2ban/jail.d/*pitool*")?.stdout.trim().to_owned();
    machine.check(&format!("echo x >> {file}"))?;
    let plan = expect(machine, "pitool plan all", 2)?;
    ensure!(plan.stdout.contains("-x") && plan.stdout.contains(&file), "{plan}");
    ensure!(plan.stdout.to_lowercase().contains("by hand") || plan.stdout.contains("drift"), "{plan}");
    expect(machine, "pitool apply all", 0)?;
    ensure!(!machine.read_text(&file)?.lines().any(|line| line == "x"), "the edit is still there");
    expect(machine, "pitool plan all", 0)?;
    // A service that somebody stopped, a rule that somebody deleted, a value that somebody set.
    machine.check("systemctl stop nginx && sysctl -qw vm.swappiness=77 && ufw --force disable")?;
    expect(machine, "pitool plan all", 2)?;
    expect(machine, "pitool apply all", 0)?;
    machine.check("systemctl is-active nginx && test $(sysctl -n vm.swappiness) = 10 && ufw status | grep -q 'Status: active'")?;
    Ok(())
}

/// What packages leave behind when they are purged, whoever purges them: not ours to clean up.
const LEFT_BY_PACKAGES: &[&str] = &[
    // Accounts that postinst scripts create and postrm scripts keep, and the backups of the account files.
    "/etc/passwd",
    "/etc/group",
    "/etc/shadow",
    "/etc/gshadow",
    "/etc/subuid",
    "/etc/subgid",
    "/etc/.pwd.lock",
    // An empty file that unattended-upgrade makes when a person tries it, as the case above does.
    "/etc/apt/sources.list: new",
    // containerd makes it while it runs, and its package does not own it.
    "/etc/cni",
    // Docker 20.10 makes its identity while it runs; a directory that is not empty stays, and says so.
    "/etc/docker: new",
    "/etc/docker/key.json: new",
    // Caches that are made anew.
    "/etc/ld.so.cache",
    "/etc/ssl/certs",
    "/etc/mailcap",
    "/etc/systemd/system/multi-user.target.wants",
];

/// Fails unless the machine is what it was before.
pub(crate) fn restored(machine: &Machine, before: &Before) -> Result<()> {
    let after = Before::of(machine)?;
    let foreign = |line: &String| !LEFT_BY_PACKAGES.iter().any(|path| line.starts_with(path));
    let files: Vec<String> = diff(&before.tree, &after.tree).into_iter().filter(foreign).collect();
    ensure!(files.is_empty(), "files: {files:#?}");
    let lines = |a: &str, b: &str| -> Vec<String> {
        let set = |text: &str| text.lines().map(str::to_owned).collect::<std::collections::BTreeSet<_>>();
        let (a, b) = (set(a), set(b));
        a.symmetric_difference(&b).cloned().collect()
    };
    let mut packages = lines(&before.packages, &after.packages);
    // An upgrade of pitool itself is apt's doing.
    packages.retain(|line| !line.starts_with("pitool "));
    ensure!(packages.is_empty(), "packages: {packages:#?}");
    // Users and groups of purged packages stay, as Debian's own policy has it.
    let answers: Vec<String> =
        lines(&before.answers, &after.answers).into_iter().filter(|line| !line.contains(":x:")).collect();
    ensure!(answers.is_empty(), "the daemons say: {answers:#?}");
    Ok(())
}

/// A machine that somebody set up before: what they have goes on.
pub(crate) fn lived_in(runner: &mut Runner, lab: &Lab, suite: Suite, deb: &Path) {
    runner.case(&format!("{suite}: what somebody set up before goes on"), || {
        let machine = fresh(lab, suite, &BoxOptions::named("lived-in"), deb)?;
        machine.check("apt-get -qq update")?;
        machine.check(
            "apt-get -qq install -y --no-install-recommends docker.io apparmor busybox-static nginx openssh-server \
             $(apt-cache show docker-cli >/dev/null 2>&1 && echo docker-cli) /root/pitool.deb",
        )?;
        // A container that nothing would start again, logs that go elsewhere, a site for every name, and no way in by ssh.
        machine.write_file(
            "/etc/docker/daemon.json",
            r#"{"log-driver": "syslog", "log-opts": {"syslog-address": "udp://127.0.0.1:514"}}"#,
            0o644,
        )?;
        machine.check(
            "systemctl restart docker && tar -C / -c bin/busybox | docker import - tiny && \
             docker run -d --name kept --restart no tiny /bin/busybox sleep 100000",
        )?;
        machine.check(
            "cd /etc/nginx && rm sites-enabled/default && \
             printf 'server { listen 80 default_server; return 200 \"my blog\"; }\\n' > sites-enabled/blog && nginx -t && systemctl reload nginx",
        )?;
        machine.check("systemctl disable --now ssh.service; ! systemctl is-active ssh.socket")?;
        let container = "docker inspect --format '{{.State.Running}} {{.State.Pid}}' kept";
        let running = machine.check(container)?.stdout;
        ensure!(running.starts_with("true "), "{running}");

        expect(&machine, "pitool apply all", 0)?;
        let after = machine.check(container)?.stdout;
        ensure!(after == running, "the container was stopped: {running} → {after}");
        machine.check("docker info --format '{{.LiveRestoreEnabled}} {{.LoggingDriver}}' | grep -qx 'true syslog'")?;
        let blog = machine.check("curl --silent http://127.0.0.1/")?.stdout;
        ensure!(blog == "my blog", "{blog}");
        machine.check("! systemctl is-active ssh.service && ! systemctl is-enabled ssh.service")?;
        nothing_to_do(&machine)?;
        let health = machine.sh("pitool health --json")?.stdout;
        let health: String = health.split_whitespace().collect();
        let told = |words: &str| health.contains(words);
        ensure!(told("\"subject\":\"nginx\"") && told("\"check\":\"web\",\"why\""), "{health}");
        ensure!(!told("\"subject\":\"ssh\""), "nobody promised it: {health}");
        machine.down()
    });
}
