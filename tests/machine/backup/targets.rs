//! Backups at other places: a disk, another machine, a bucket.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use pitool_testkit::machine::{Lab, Machine};

use super::{config, difference, fingerprint, says};
use crate::expect;

pub(super) fn disk(machine: &Machine) -> Result<()> {
    config(machine, "[backup.disks.usb]\npath = \"/mnt/usb/backups\"\n")?;
    machine.check("mkdir -p /mnt/usb")?;
    // Never mounted: it would be on the card.
    let output = expect(machine, "pitool backup run", 1)?;
    ensure!(says(&output.stderr, "usb") && says(&output.stderr, "not mounted"), "{output}");
    machine.check("test ! -e /mnt/usb/backups")?;
    machine.check("mount -t tmpfs -o size=64m tmpfs /mnt/usb")?;
    expect(machine, "pitool backup run", 0)?;
    machine.check("ls /mnt/usb/backups/machine-*.manifest.zst /mnt/usb/backups/.pitool-target")?;
    expect(machine, "pitool backup verify --target usb --full", 0)?;
    // Another disk in its place.
    machine.check("umount /mnt/usb; mount -t tmpfs -o size=64m tmpfs /mnt/usb")?;
    let output = expect(machine, "pitool backup run", 1)?;
    ensure!(says(&output.stderr, "not the target that it was"), "{output}");
    machine.check("test ! -e /mnt/usb/backups")?;
    expect(machine, "pitool backup run --adopt", 0)?;
    machine.check("umount /mnt/usb; rm /etc/pitool/pitool.toml")?;
    expect(machine, "pitool backup run", 0)?;
    Ok(())
}

pub(super) fn ssh(machine: &Machine, nas: &Machine) -> Result<()> {
    machine
        .check("test -e /root/.ssh/id_ed25519 || ssh-keygen -q -t ed25519 -N '' -f /root/.ssh/id_ed25519")?;
    let key = machine.read_text("/root/.ssh/id_ed25519.pub")?;
    let (key, ip) = (key.trim(), nas.ip());
    let target = format!("[backup.ssh.nas]\nhost = \"{ip}\"\nuser = \"pi\"\npath = \"from-pi\"\n");
    config(machine, &target)?;
    let output = expect(machine, "pitool backup run", 1)?;
    ensure!(says(&output.stderr, "its key is not known here"), "{output}");
    machine.check(&format!("ssh-keyscan -t ed25519 {ip} >> /root/.ssh/known_hosts 2>/dev/null"))?;
    let output = expect(machine, "pitool backup run", 1)?;
    ensure!(says(&output.stderr, "authorized_keys"), "{output}");
    nas.authorize("pi", key)?;
    let output = expect(machine, "pitool backup run", 0)?;
    ensure!(says(&output.stdout, "nas: 1 archive copied"), "{output}");
    nas.check("ls /home/pi/from-pi/.pitool-target /home/pi/from-pi/machine-*.tar.zst /home/pi/from-pi/*.manifest.zst")?;
    nas.check("stat -c %a /home/pi/from-pi/*.tar.zst | grep -qx 600")?;
    expect(machine, "pitool backup verify --target nas --full", 0)?;
    // A new machine: nothing here but the config and the key.
    let before = fingerprint(machine)?;
    machine.check(
        "mkdir /root/old; mv /var/backups/pitool /root/old/; mv /var/lib/pitool/backup /root/old/state",
    )?;
    machine.check("rm -rf /opt/grist/data")?;
    expect(machine, "pitool backup list --target nas", 0)?;
    expect(machine, "pitool backup restore machine --target nas --yes", 0)?;
    let after = fingerprint(machine)?;
    ensure!(before == after, "{}", difference(&before, &after));
    // It goes on counting where the old one stopped, and deletes nothing of what it finds.
    let there = nas.check("ls /home/pi/from-pi/*.manifest.zst | wc -l")?.stdout;
    machine.check("echo new > /opt/grist/data/docs/f8")?;
    expect(machine, "pitool backup run", 0)?;
    let now = nas.check("ls /home/pi/from-pi/*.manifest.zst | wc -l")?.stdout;
    ensure!(now.trim().parse::<u32>()? == there.trim().parse::<u32>()? + 1, "{there} and then {now}");
    let numbers =
        nas.check("ls /home/pi/from-pi/*.manifest.zst | sed 's/.*-0*//;s/[.].*//' | sort -n | uniq -d")?;
    ensure!(numbers.stdout.trim().is_empty(), "a number was used twice: {numbers}");
    // Deleting, by rsync alone.
    let rules = "[backup.ssh.nas.retention]\ndaily = 1\nweekly = 0\nmonthly = 0\nminimum = 1\n";
    config(machine, &format!("{target}{rules}"))?;
    nas.check("touch /home/pi/from-pi/somebody-elses")?;
    expect(machine, "pitool backup prune --target nas --yes", 0)?;
    let left = nas.check("ls -A /home/pi/from-pi")?.stdout;
    ensure!(left.lines().filter(|line| line.ends_with(".manifest.zst")).count() <= 2, "{left}");
    ensure!(left.contains("somebody-elses") && left.contains(".pitool-target"), "{left}");
    machine.check("rm /etc/pitool/pitool.toml")?;
    Ok(())
}

/// An S3 server beside the box, stopped with this value.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _gone = self.0.kill();
        let _reaped = self.0.wait();
    }
}

/// moto, from PyPI: a server program that speaks S3. It is this host's, on the network of the box: a firewall of the
/// host cannot stand between them.
fn server(lab: &Lab, machine: &Machine, port: u16) -> Result<Server> {
    let home = lab.cache().join("moto");
    let python = home.join("bin/python");
    if !home.join("bin/moto_server").exists() {
        let run = |program: &Path, args: &[&str]| -> Result<()> {
            let status = Command::new(program).args(args).stdout(Stdio::null()).status()?;
            ensure!(status.success(), "{} {} ended with {status}", program.display(), args.join(" "));
            Ok(())
        };
        let path = home.display().to_string();
        run(Path::new("python3"), &["-m", "venv", &path]).context("the S3 server needs python3-venv")?;
        run(&python, &["-m", "pip", "install", "--quiet", "moto[server]==5.2.1"])?;
    }
    let pid = machine.pid().context("the box does not run")?.to_string();
    let child = Command::new("nsenter")
        .args(["--target", &pid, "--net", "--"])
        .arg(home.join("bin/moto_server"))
        .args(["-H", "127.0.0.1", "-p", &port.to_string()])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    Ok(Server(child))
}

pub(super) fn s3(lab: &Lab, machine: &Machine) -> Result<()> {
    let port = 5990;
    let _server = server(lab, machine, port)?;
    let url = format!("http://127.0.0.1:{port}");
    let began = Instant::now();
    while !machine.sh(&format!("curl -sf -X PUT {url}/pi-backups"))?.status.eq(&0) {
        ensure!(began.elapsed() < Duration::from_secs(60), "the S3 server does not answer");
        std::thread::sleep(Duration::from_secs(1));
    }
    let place = format!("bucket = \"pi-backups\"\nendpoint = \"{url}\"\nprefix = \"kitchen\"\n");
    config(machine, &format!("[backup.s3.offsite]\n{place}"))?;
    let output = expect(machine, "pitool backup run", 1)?;
    ensure!(says(&output.stderr, "/etc/pitool/s3-offsite.key"), "{output}");
    machine.write_file("/etc/pitool/s3-offsite.key", "id\nsecret\n", 0o600)?;
    expect(machine, "pitool backup run", 0)?;
    // Large enough for parts, and cut off in the middle: the second run sends only what is missing.
    machine.check("head -c 90000000 /dev/urandom > /opt/grist/data/docs/large")?;
    let cut = machine.spawn(["pitool", "backup", "run"])?;
    let parts = format!("curl -s '{url}/pi-backups?uploads' | grep -o '<UploadId>[^<]*' | cut -d'>' -f2");
    // Within the box, where it sees two of the six parts before the last is sent.
    machine.check(&format!(
        "for try in $(seq 3000); do upload=$({parts}); \
         key=$(curl -s '{url}/pi-backups?uploads' | grep -o '<Key>[^<]*' | cut -d'>' -f2); \
         if [ -n \"$upload\" ]; then sent=$(curl -s \"{url}/pi-backups/$key?uploadId=$upload\" | grep -o '<PartNumber>' | wc -l); \
         if [ $sent -ge 2 ]; then kill -9 $(pidof pitool) && exit 0; fi; fi; sleep 0.02; done; exit 1"
    ))?;
    cut.kill()?;
    let upload = machine.check(&parts)?.stdout;
    ensure!(!upload.trim().is_empty(), "it was over before it was cut off");
    expect(machine, "pitool backup run", 0)?;
    ensure!(
        machine.sh(&parts)?.stdout.trim().is_empty(),
        "the upload was begun anew, and the old one is left"
    );
    let before = fingerprint(machine)?;
    machine.check("mv /var/backups/pitool /root/old/by-s3; rm -rf /opt/grist/data")?;
    expect(machine, "pitool backup restore machine --target offsite --yes", 0)?;
    let after = fingerprint(machine)?;
    ensure!(before == after, "{}", difference(&before, &after));
    machine.check("rm /opt/grist/data/docs/large /etc/pitool/pitool.toml; pitool backup run")?;
    Ok(())
}
