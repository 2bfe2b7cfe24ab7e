//! Proves the machine boxes themselves: `PITOOL_MACHINE=1 cargo test -p pitool-testkit --test lab` as root.

#![expect(clippy::disallowed_methods, reason = "a test arranges its own surroundings")]

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use pitool_testkit::machine::{
    BoxOptions, Kind, Lab, Machine, Probe, RaspberryPi, Suite, diff, snapshot, ssh_key,
};
use pitool_testkit::suite::Runner;

/// The argument by which this program plays another one that has a box.
const BYSTANDER: &str = "--bystander";

fn main() -> ExitCode {
    let mut runner = Runner::new();
    let Some(lab) = runner.lab() else { return runner.finish() };
    if std::env::args().any(|argument| argument == BYSTANDER) {
        return bystand(&lab).map_or(ExitCode::FAILURE, |()| ExitCode::SUCCESS);
    }
    for suite in Suite::ALL {
        if runner.wants(&[suite.codename()]) {
            suite_cases(&mut runner, &lab, suite);
        }
    }
    runner.case("a killed run is swept up", || killed_run(&lab));
    runner.case("an interrupted run clears up", || interrupted_run(&lab));
    runner.finish()
}

fn suite_cases(runner: &mut Runner, lab: &Lab, suite: Suite) {
    let name = |case: &str| format!("{suite}: {case}");
    let mut booted = None;
    runner.case(&name("boots"), || {
        let mut options = BoxOptions::named("target");
        options.raspberry_pi = Some(RaspberryPi::debian("Raspberry Pi 4 Model B Rev 1.4"));
        options.memory_mib = Some(2048);
        booted = Some(Machine::up(lab, suite, &options)?);
        Ok(())
    });
    let Some(mut target) = booted else { return };

    runner.case(&name("commands"), || commands(&target, suite));
    runner.case(&name("looks like a Pi"), || raspberry(&target, suite));
    runner.case(&name("files"), || files(&target));
    runner.case(&name("measuring"), || measuring(&target));
    runner.case(&name("apt through the host"), || packages(&target));
    runner.case(&name("a second box is outside"), || {
        let outsider = Machine::up(lab, suite, &BoxOptions::named("outsider"))?;
        second_box(lab, &target, &outsider)?;
        gone(lab, outsider)
    });
    runner.case(&name("power cut"), || power_cut(&mut target));
    runner.case(&name("reboot"), || reboot(&mut target));
    runner.case(&name("down leaves nothing"), || gone(lab, target));
}

fn commands(target: &Machine, suite: Suite) -> Result<()> {
    let output = target.sh("echo out; echo err >&2; exit 7")?;
    ensure!(output.status == 7 && output.stdout == "out\n" && output.stderr == "err\n", "{output}");
    let error = target.check("echo why >&2; exit 3").err().context("a failure passed")?.to_string();
    ensure!(error.contains("exit 3") && error.contains("status 3") && error.contains("why"), "{error}");
    ensure!(target.run(["echo", "$HOME", "a b"])?.stdout == "$HOME a b\n");
    ensure!(target.sh("kill -9 $$")?.status == 137);
    ensure!(
        target
            .check("echo $(hostname) $(whoami) $PWD $HOME; env | wc -l")?
            .stdout
            .starts_with("target root / /root")
    );
    ensure!(
        target.check("cat /proc/1/comm; . /etc/os-release; echo $VERSION_CODENAME")?.stdout
            == format!("systemd\n{suite}\n")
    );
    ensure!(
        target.check("systemctl is-system-running")?.stdout.trim() == "running",
        "not running, but degraded"
    );
    ensure!(target.check("id -nG pi")?.stdout.contains("sudo"));
    ensure!(target.check("wc -c < /etc/machine-id")?.stdout.trim() == "33");
    // A daemon that keeps the output open does not keep the caller.
    let output = target.check("sleep 300 & echo started")?;
    ensure!(output.stdout == "started\n" && output.duration < Duration::from_secs(5), "{output}");
    ensure!(target.sh_within("sleep 300", Duration::from_secs(1)).is_err());
    let mut background = target.spawn(["sleep", "301"])?;
    ensure!(background.running()?);
    ensure!(background.kill()?.status == 137);
    ensure!(target.sh("pgrep -f 'sleep 301'")?.status == 1, "a killed command lives on");
    Ok(())
}

fn raspberry(target: &Machine, suite: Suite) -> Result<()> {
    ensure!(target.read_text("/boot/firmware/cmdline.txt")?.lines().count() == 1);
    ensure!(target.read_text("/etc/os-release")?.contains(&format!("({suite})")));
    let model = target.read_text("/sys/firmware/devicetree/base/model")?;
    ensure!(model == "Raspberry Pi 4 Model B Rev 1.4\0", "{model:?}");
    // The memory limit of the box, as systemd in it would enforce it.
    let limit = "cat /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/memory.max 2>/dev/null";
    ensure!(target.sh(limit)?.stdout.contains("2147483648"), "{}", target.sh(limit)?);
    target.check("sudo -u pi sudo -n true")?;
    Ok(())
}

fn files(target: &Machine) -> Result<()> {
    let before = snapshot(target, &["/etc", "/srv", "/nowhere"])?;
    ensure!(matches!(before.get(Path::new("/etc/hosts")).context("no hosts")?.kind, Kind::File(_)));
    target.write_file("/etc/lab/deep/file", "text\n", 0o640)?;
    ensure!(target.check("stat -c '%a %U' /etc/lab/deep/file")?.stdout == "640 root\n");
    ensure!(target.read_text("/etc/lab/deep/file")? == "text\n");
    target.write_file("/run/lab", "in a tmpfs", 0o600)?;
    ensure!(target.check("cat /run/lab")?.stdout == "in a tmpfs");
    target.copy_in(Path::new("/bin/true"), "/usr/local/bin/mine", 0o755)?;
    target.check("/usr/local/bin/mine && ln -s /etc/lab-of-host /etc/lab/link && chmod 600 /etc/hosts")?;
    target.write_file("/etc/lab/link", "inside", 0o644)?;
    ensure!(!Path::new("/etc/lab-of-host").exists(), "a link led out of the box");
    let after = snapshot(target, &["/etc", "/srv"])?;
    let expected = [
        "/etc/hosts: mode 0644 → 0600",
        "/etc/lab: new",
        "/etc/lab/deep: new",
        "/etc/lab/deep/file: new",
        "/etc/lab/link: new",
        "/etc/lab-of-host: new",
    ];
    ensure!(diff(&before, &after) == expected, "{:#?}", diff(&before, &after));
    target.check("rm -r /etc/lab /etc/lab-of-host && chmod 644 /etc/hosts")?;
    let back = diff(&before, &snapshot(target, &["/etc", "/srv"])?);
    ensure!(back.is_empty(), "{back:#?}");
    ensure!(snapshot(target, &["/var/run/x"]).is_err(), "a link to the host was followed");
    Ok(())
}

fn measuring(target: &Machine) -> Result<()> {
    let quiet = target.measured(["cat", "/etc/hosts"])?;
    ensure!(quiet.output.ok() && quiet.output.stdout.contains("localhost"), "{}", quiet.output);
    ensure!(quiet.trace.read_only() && quiet.trace.children() == 0, "{:#?}", quiet.trace);

    let script = "head -c 1000 /dev/zero > /tmp/a; cat /tmp/a > /tmp/b; mv /tmp/b /tmp/c; rm /tmp/a; echo x >/dev/null";
    let busy = target.measured(["sh", "-c", script])?;
    ensure!(busy.output.ok(), "{}", busy.output);
    ensure!(busy.trace.written_bytes() == 2000 && busy.trace.children() == 4, "{:#?}", busy.trace);
    ensure!(busy.trace.opened.iter().eq(["/tmp/a", "/tmp/b"]), "{:#?}", busy.trace);
    ensure!(busy.trace.changes.len() == 2, "{:#?}", busy.trace);

    let (output, small) = target.timed(["true"])?;
    ensure!(output.ok() && small.max_rss_kib < 8 * 1024, "{small:?}");
    let (_, large) =
        target.timed(["python3", "-c", "x = bytearray(50_000_000)\nfor i in range(10**7): pass"])?;
    ensure!(
        (50_000..100_000).contains(&large.max_rss_kib) && large.user > Duration::from_millis(10),
        "{large:?}"
    );
    ensure!(target.timed(["sh", "-c", "exit 5"])?.0.status == 5);
    Ok(())
}

fn packages(target: &Machine) -> Result<()> {
    target.check("apt-get update -q")?;
    target.check("apt-get install -yq --no-install-recommends hello && hello")?;
    ensure!(
        target.check("ls /var/cache/apt/archives")?.stdout.contains("hello_"),
        "not kept for the next box"
    );
    Ok(())
}

fn second_box(lab: &Lab, target: &Machine, outsider: &Machine) -> Result<()> {
    target.check("systemctl enable --now ssh")?;
    ensure!(outsider.can_connect(target.ip(), 22)?);
    ensure!(outsider.probe(target.ip(), 23)? == Probe::Refused);
    let key = ssh_key(lab)?;
    ensure!(outsider.ssh(target, "pi", 22, "true")?.status == 255, "no key, yet in");
    for user in ["pi", "root"] {
        target.authorize(user, &key.public)?;
        let output = outsider.ssh(target, user, 22, "whoami; echo $SSH_CLIENT")?.checked()?;
        let client = format!("{user}\n{} ", outsider.ip());
        ensure!(output.stdout.starts_with(&client), "the source address is not the outsider's: {output}");
    }
    Ok(())
}

fn power_cut(target: &mut Machine) -> Result<()> {
    target.write_file("/root/kept", "still here", 0o644)?;
    let background = target.spawn(["sleep", "300"])?;
    let id = target
        .check("cat /proc/sys/kernel/random/boot_id; systemctl show -p UserspaceTimestampMonotonic")?
        .stdout;
    let init = target.pid().context("no init")?;
    target.power_cut()?;
    ensure!(!target.running() && target.sh("true").is_err());
    ensure!(!PathBuf::from(format!("/proc/{init}")).exists(), "the init is still there");
    ensure!(background.wait(Duration::from_secs(5))?.status != 0);
    ensure!(target.read_text("/root/kept")? == "still here", "files can be read while the box is off");
    target.start()?;
    ensure!(target.check("cat /root/kept")?.stdout == "still here");
    let now =
        target.check("cat /proc/sys/kernel/random/boot_id; systemctl show -p UserspaceTimestampMonotonic")?;
    ensure!(now.stdout != id, "the same boot");
    target.check("systemctl is-active ssh")?;
    Ok(())
}

fn reboot(target: &mut Machine) -> Result<()> {
    target.reboot()?;
    ensure!(target.check("cat /root/kept")?.stdout == "still here");
    // A reboot that something in the box asks for.
    target.sh("systemctl reboot")?;
    target.wait_off(Duration::from_secs(60))?;
    target.start()?;
    target.check("true")?;
    Ok(())
}

/// Has another process boot a box and die without a word, and removes what it left.
fn killed_run(lab: &Lab) -> Result<()> {
    let mut other = boot_elsewhere()?;
    other.process.kill()?;
    other.process.wait()?;
    ensure!(Path::new(&format!("/proc/{}", other.init)).exists(), "the box died with its owner");
    let swept = lab.sweep()?;
    ensure!(swept == [other.id.as_str()], "{swept:?}");
    nothing_left(lab, &other.id, other.network)
}

/// Has another process boot a box and interrupts it.
fn interrupted_run(lab: &Lab) -> Result<()> {
    let mut other = boot_elsewhere()?;
    ensure!(lab.sweep()?.is_empty(), "a living owner's box was swept away");
    command("kill", &["-INT", &other.process.id().to_string()])?;
    ensure!(other.process.wait()?.code() == Some(130));
    nothing_left(lab, &other.id, other.network)
}

struct Elsewhere {
    process: Child,
    id: String,
    network: u8,
    init: i32,
}

fn boot_elsewhere() -> Result<Elsewhere> {
    let mut process = Command::new(std::env::current_exe()?).arg(BYSTANDER).stdout(Stdio::piped()).spawn()?;
    let mut line = String::new();
    BufReader::new(process.stdout.take().context("no stdout")?).read_line(&mut line)?;
    let words: Vec<&str> = line.split_whitespace().collect();
    let [network, init] = words[..] else { bail!("the other process said {line:?}") };
    Ok(Elsewhere {
        id: format!("bystander-{network}"),
        network: network.parse()?,
        init: init.parse()?,
        process,
    })
}

/// The other process of [`boot_elsewhere`].
#[expect(clippy::print_stdout, reason = "the way it talks to the first process")]
fn bystand(lab: &Lab) -> Result<()> {
    let machine = Machine::up(lab, Suite::Trixie, &BoxOptions::named("bystander"))?;
    println!("{} {}", machine.ip().octets()[2], machine.pid().context("no init")?);
    std::thread::sleep(Duration::from_secs(60));
    Ok(())
}

fn gone(lab: &Lab, machine: Machine) -> Result<()> {
    let network = machine.ip().octets()[2];
    let id = format!("{}-{network}", machine.name());
    let init = machine.pid().context("no init")?;
    machine.down()?;
    ensure!(!PathBuf::from(format!("/proc/{init}")).exists(), "the init is still there");
    nothing_left(lab, &id, network)
}

fn nothing_left(lab: &Lab, id: &str, network: u8) -> Result<()> {
    let name = format!("plab{network}");
    ensure!(!lab.state().join(id).exists(), "its folder is left");
    for (what, listing) in [
        ("network namespace", command("ip", &["netns"])?),
        ("interface", command("ip", &["link"])?),
        ("rule", command("iptables-save", &[])?),
        ("mount", std::fs::read_to_string("/proc/self/mountinfo")?),
        ("process", command("ps", &["-eo", "args"])?),
    ] {
        let subnet = format!("10.91.{network}.");
        let left =
            listing.lines().find(|line| line.contains(&name) || line.contains(id) || line.contains(&subnet));
        ensure!(left.is_none(), "a {what} is left: {left:?}");
    }
    let groups =
        command("find", &["/sys/fs/cgroup", "-maxdepth", "3", "-name", &format!("plab-{network}*")])?;
    ensure!(groups.is_empty(), "control groups are left: {groups}");
    let run = command("find", &["/run/systemd/nspawn", "-name", &format!("*{id}*")])?;
    ensure!(run.is_empty(), "files under /run are left: {run}");
    Ok(())
}

fn command(program: &str, arguments: &[&str]) -> Result<String> {
    let output =
        Command::new(program).args(arguments).output().with_context(|| format!("starting {program}"))?;
    ensure!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
