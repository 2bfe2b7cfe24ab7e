//! `cargo xtask machine`: the package on a whole emulated ARM machine, with its own kernel, as a person uses it on a Pi.
//!
//! The disk is Debian trixie for arm64, made once (its programs run under qemu, so this takes half an hour) and kept.
//! Every run leaves the disk as it was. What it does over ssh is what README tells the owner of a Pi to do.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use pitool_testkit::machine::{DebianTree, Lab, SshKey, ssh_key};

use crate::arch::Arch;
use crate::deb;
use crate::tools::{cache_dir, command, find, read, run, target_dir};

/// What Raspberry Pi OS Lite has and pitool relies on, a kernel, and what boots it.
const PACKAGES: &[&str] = &[
    "apt",
    "ca-certificates",
    "cron",
    "dbus",
    "iproute2",
    "kmod",
    "locales",
    "openssh-server",
    "procps",
    "python3",
    "sudo",
    "systemd",
    "systemd-sysv",
    "systemd-resolved",
    "udev",
    "tzdata",
    "zstd",
    "linux-image-arm64",
    "initramfs-tools",
];

/// Only the modules of the emulated disk: packing them all under qemu takes ten minutes.
const INITRAMFS: &str = "--essential-hook=cd \"$1\"; mkdir -p etc/initramfs-tools/conf.d usr/share/initramfs-tools/modules.d; \
    printf 'MODULES=list\\nCOMPRESS=zstd\\nCOMPRESSLEVEL=1\\n' > etc/initramfs-tools/conf.d/machine; \
    printf 'virtio_pci\\nvirtio_blk\\next4\\n' > usr/share/initramfs-tools/modules.d/machine";

/// The first boot makes ssh's keys; the emulation is some ten times slower than a Pi 4.
const BOOT_LIMIT: Duration = Duration::from_secs(900);

/// Everything on the machine's first apply: some fifty packages to unpack and to configure.
const APPLY_LIMIT: Duration = Duration::from_secs(5400);

/// How often to knock at a machine that boots, for the same firewall's sake.
const KNOCK: Duration = Duration::from_secs(8);

#[derive(clap::Args)]
pub(crate) struct Args {
    /// The architecture of the machine: only arm64 is there
    #[arg(long, value_enum)]
    arch: Arch,
    /// Uses this package instead of building one
    #[arg(long, value_name = "FILE")]
    deb: Option<PathBuf>,
    /// Makes the disk and stops
    #[arg(long)]
    disk: bool,
}

pub(crate) fn task(args: &Args) -> Result<()> {
    ensure!(
        args.arch == Arch::Arm64,
        "only arm64 is emulated as a whole machine; armhf runs in `cargo xtask test`"
    );
    for (program, package) in
        [("qemu-system-aarch64", "qemu-system-arm"), ("mkfs.ext4", "e2fsprogs"), ("ssh", "openssh-client")]
    {
        ensure!(
            find(program).is_some(),
            "{program} is not installed: run packaging/setup machine ({package})"
        );
    }
    let lab = Lab::open()?;
    let key = ssh_key(&lab)?;
    let disk = Disk::make(&key)?;
    if args.disk {
        return Ok(());
    }
    let deb = match &args.deb {
        Some(deb) => deb.canonicalize().with_context(|| format!("there is no {}", deb.display()))?,
        None => deb::released(args.arch)?.package.deb,
    };

    println!("Debian trixie for arm64, {CORES} emulated cores, 2 GB:");
    let took = |what: &str, time: Duration| println!("== {what:<24}{:>9.2} s", time.as_secs_f64());
    let mut machine = Emulated::boot(&disk, &key)?;
    took("boot", machine.wait_running()?);
    machine.copy(&deb, "pitool.deb")?;
    let install = "sudo apt-get -qq update && sudo apt-get -qq install -y ./pitool.deb";
    took("install", machine.check(install, APPLY_LIMIT)?.1);
    took("plan on a fresh machine", machine.expect("sudo pitool plan all", 2)?);
    took("first apply", machine.check("sudo pitool --color never apply all", APPLY_LIMIT)?.1);
    took("no-change apply", machine.expect("sudo pitool apply all", 0)?);
    let resident = |what: &str, answer: &str| -> Result<()> {
        let kib: f64 = answer.trim().parse().context("no resident size")?;
        println!("== {what:<24}{:>9.1} MB", kib / 1024.0);
        Ok(())
    };
    // A program starts with the resident set of who forks, and its maximum never falls: GNU time's is small.
    machine.check("sudo apt-get -qq install -y time", APPLY_LIMIT)?;
    let no_change =
        "sudo time --quiet --format %M --output used.txt pitool apply all >/dev/null && cat used.txt";
    resident("no-change apply, resident", &machine.check(no_change, BOOT_LIMIT)?.0)?;
    let monitor = "sudo awk '/^VmRSS/ { print $2 }' \
                   /proc/$(systemctl show --property MainPID --value pitool-monitor)/status";
    resident("monitor, resident", &machine.check(monitor, BOOT_LIMIT)?.0)?;
    let before = machine.check(SERVICES, BOOT_LIMIT)?.0;
    took("reboot", machine.reboot()?);
    let after = machine.check(SERVICES, BOOT_LIMIT)?.0;
    ensure!(before == after, "after the reboot other services run:\n{before}\n---\n{after}");
    took("plan after the reboot", machine.expect("sudo pitool plan all", 0)?);
    machine.expect("sudo pitool apply all --verify", 0)?;
    println!("everything came back, and there is nothing to change");
    took("rollback", machine.check("sudo pitool --color never rollback", APPLY_LIMIT)?.1);
    machine.expect("sudo pitool plan all", 2)?;
    Ok(())
}

const CORES: &str = "2";

/// What has to come back after a boot.
const SERVICES: &str = "systemctl is-system-running; sudo ufw status | head -n 1; swapon --show=NAME --noheadings; \
    systemctl list-units --type=service --state=running --no-legend --plain \
    ssh.service fail2ban.service docker.service nginx.service cron.service unattended-upgrades.service | awk '{print $1}'";

/// The kept disk and what boots it.
struct Disk {
    image: PathBuf,
    kernel: PathBuf,
    initrd: PathBuf,
}

impl Disk {
    fn make(key: &SshKey) -> Result<Self> {
        let tree = DebianTree {
            name: "machine-arm64",
            release: "trixie",
            variant: "minbase",
            architectures: &["arm64"],
            packages: PACKAGES,
            options: &[INITRAMFS],
        }
        .make(&cache_dir())?;
        let boot = tree.join("boot");
        let newest = |prefix: &str| -> Result<PathBuf> {
            let mut files: Vec<_> = fs::read_dir(&boot)?.flatten().map(|file| file.path()).collect();
            files.sort();
            let named = |path: &PathBuf| {
                path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(prefix))
            };
            files.into_iter().rfind(named).with_context(|| format!("{} has no {prefix}", boot.display()))
        };
        let disk = Self {
            image: tree.with_extension("ext4"),
            kernel: newest("vmlinuz-")?,
            initrd: newest("initrd.img-")?,
        };
        if !disk.image.is_file() {
            furnish(&tree, key)?;
            let unfinished = disk.image.with_extension("tmp");
            run(command("truncate").args(["-s", "6G"]).arg(&unfinished))?;
            run(command("mkfs.ext4").args(["-q", "-F", "-L", "rootfs", "-d"]).args([&tree, &unfinished]))?;
            fs::rename(unfinished, &disk.image)?;
        }
        Ok(disk)
    }
}

/// What Raspberry Pi OS's own first boot leaves: a user with a key, a network, a name.
fn furnish(tree: &Path, key: &SshKey) -> Result<()> {
    let script = format!(
        "set -e\n\
         id pi >/dev/null 2>&1 || useradd --create-home --shell /bin/bash --groups sudo pi\n\
         echo 'pi ALL=(ALL) NOPASSWD: ALL' > /etc/sudoers.d/010_pi-nopasswd\n\
         install -d -m 700 -o pi -g pi /home/pi/.ssh\n\
         echo '{}' > /home/pi/.ssh/authorized_keys\n\
         chown pi: /home/pi/.ssh/authorized_keys\n\
         chmod 600 /home/pi/.ssh/authorized_keys\n\
         echo emulated > /etc/hostname\n\
         printf '127.0.0.1 localhost\\n127.0.1.1 emulated\\n' > /etc/hosts\n\
         printf '[Match]\\nName=e*\\n[Network]\\nDHCP=yes\\n' > /etc/systemd/network/80-wired.network\n\
         systemctl enable systemd-networkd systemd-resolved ssh >/dev/null 2>&1\n\
         ln -sf ../run/systemd/resolve/stub-resolv.conf /etc/resolv.conf\n\
         printf '/dev/vda / ext4 defaults,noatime 0 1\\n' > /etc/fstab\n\
         : > /etc/machine-id\n",
        key.public
    );
    run(Command::new("chroot").arg(tree).args(["/bin/sh", "-c", &script]))
}

/// A running machine, whose changes of the disk are kept in a nameless file of qemu's; off and gone when dropped.
struct Emulated<'a> {
    qemu: Child,
    port: u16,
    key: &'a SshKey,
    folder: PathBuf,
    started: Instant,
}

impl Drop for Emulated<'_> {
    fn drop(&mut self) {
        self.disconnect();
        let _ = self.qemu.kill();
        let _ = self.qemu.wait();
    }
}

impl<'a> Emulated<'a> {
    fn boot(disk: &Disk, key: &'a SshKey) -> Result<Self> {
        let folder = target_dir().join("machine");
        fs::create_dir_all(&folder)?;
        // A free port of the loopback; given back a moment before qemu takes it.
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        println!("booting; the console is in {}", folder.join("console.log").display());
        let qemu = command("qemu-system-aarch64")
            .args(["-M", "virt", "-cpu", "cortex-a72", "-smp", CORES, "-m", "2048", "-display", "none"])
            .args(["-monitor", "none", "-serial"])
            .arg(format!("file:{}", folder.join("console.log").display()))
            .arg("-kernel")
            .arg(&disk.kernel)
            .arg("-initrd")
            .arg(&disk.initrd)
            .args(["-append", "root=/dev/vda rw console=ttyAMA0 net.ifnames=0"])
            .arg("-drive")
            .arg(format!("file={},format=raw,if=virtio,snapshot=on", disk.image.display()))
            .args(["-netdev", &format!("user,id=n,hostfwd=tcp:127.0.0.1:{port}-:22")])
            // Nothing is started from the network, and the code for that is in a package of its own.
            .args(["-device", "virtio-net-pci,netdev=n,romfile=", "-device", "virtio-rng-pci"])
            .stdin(Stdio::null())
            .spawn()
            .context("starting qemu-system-aarch64")?;
        Ok(Self { qemu, port, key, folder, started: Instant::now() })
    }

    /// Waits until systemd says that the machine is up.
    fn wait_running(&mut self) -> Result<Duration> {
        while self.started.elapsed() < BOOT_LIMIT {
            if let Some(status) = self.qemu.try_wait()? {
                bail!("qemu ended ({status}): see {}", self.folder.join("console.log").display());
            }
            if self.connect()? {
                let answer = self.ssh("systemctl is-system-running --wait")?;
                let state = String::from_utf8_lossy(&answer.stdout).trim().to_owned();
                match state.as_str() {
                    "running" => return Ok(self.started.elapsed()),
                    "degraded" => {
                        let failed = self.ssh("systemctl --failed --no-legend")?;
                        bail!("the machine is degraded: {}", String::from_utf8_lossy(&failed.stdout));
                    }
                    _ => {}
                }
            }
            sleep(KNOCK);
        }
        bail!("no login within {} s: see {}", BOOT_LIMIT.as_secs(), self.folder.join("console.log").display())
    }

    fn reboot(&mut self) -> Result<Duration> {
        let boot = |machine: &Self| -> Result<Vec<u8>> {
            Ok(machine.ssh("cat /proc/sys/kernel/random/boot_id")?.stdout)
        };
        let earlier = boot(self)?;
        self.started = Instant::now();
        let _ = self.ssh("sudo systemctl reboot");
        self.disconnect();
        loop {
            ensure!(self.started.elapsed() < BOOT_LIMIT, "the machine does not come back");
            sleep(KNOCK);
            if self.connect()? {
                let now = boot(self)?;
                self.disconnect();
                if !now.is_empty() && now != earlier {
                    return self.wait_running();
                }
            }
        }
    }

    fn options(&self) -> Vec<String> {
        let mut options: Vec<String> =
            ["BatchMode=yes", "StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null"]
                .iter()
                .chain(&[
                    "LogLevel=ERROR",
                    "ConnectTimeout=20",
                    "ServerAliveInterval=30",
                    "ServerAliveCountMax=20",
                    "IdentitiesOnly=yes",
                ])
                .map(|option| format!("-o{option}"))
                .collect();
        // One connection for all: the firewall that pitool sets up lets nobody in who knocks six times in half a minute.
        options.push(format!("-oControlPath=/tmp/pitool-machine-{}", self.port));
        options.extend(["-i".to_owned(), self.key.private.display().to_string()]);
        options
    }

    /// Opens the one connection that everything goes over; false while nobody answers.
    fn connect(&self) -> Result<bool> {
        let port = self.port.to_string();
        let mut ssh = command("ssh");
        ssh.args(["-M", "-N", "-f"]).args(self.options()).args(["-p", &port, "pi@127.0.0.1"]);
        // It stays in the background, and would hold on to any pipe of ours.
        let status = ssh.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status()?;
        Ok(status.success())
    }

    fn disconnect(&self) {
        let _ = command("ssh").args(self.options()).args(["-O", "exit", "pi@127.0.0.1"]).output();
    }

    fn ssh(&self, script: &str) -> Result<Output> {
        let port = self.port.to_string();
        Ok(command("ssh").args(self.options()).args(["-p", &port, "pi@127.0.0.1", "--", script]).output()?)
    }

    fn copy(&self, file: &Path, name: &str) -> Result<()> {
        let port = self.port.to_string();
        let target = format!("pi@127.0.0.1:{name}");
        read(command("scp").args(self.options()).args(["-P", &port]).arg(file).arg(target))?;
        Ok(())
    }

    /// Runs a script that has to succeed, shows what it says at the end, and takes the time.
    fn check(&self, script: &str, limit: Duration) -> Result<(String, Duration)> {
        println!("$ {script}");
        let started = Instant::now();
        // On the machine's side: an ssh that is killed here would leave the command running there.
        let quoted = script.replace('\'', "'\\''");
        let output = self.ssh(&format!("timeout {} sh -c '{quoted}'", limit.as_secs()))?;
        let taken = started.elapsed();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let tail: Vec<_> = said.lines().rev().take(4).collect();
        tail.iter().rev().for_each(|line| println!("  {line}"));
        ensure!(
            output.status.success(),
            "`{script}` ended with {:?}:\n{said}\n{}",
            output.status.code(),
            String::from_utf8_lossy(&output.stderr)
        );
        Ok((said, taken))
    }

    /// Runs a command that has to end with this status, and takes the time.
    fn expect(&self, script: &str, status: i32) -> Result<Duration> {
        let started = Instant::now();
        let output = self.ssh(script)?;
        ensure!(
            output.status.code() == Some(status),
            "`{script}` ended with {:?} instead of {status}:\n{}{}",
            output.status.code(),
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(started.elapsed())
    }
}
