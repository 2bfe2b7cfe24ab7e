//! A box: booting it, running commands in it, cutting its power, taking it down.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, SeekFrom};
use std::net::Ipv4Addr;
use std::os::fd::AsFd;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use nix::sys::signal::SigSet;

use super::base::Suite;
use super::cgroup;
use super::disk;
use super::files::Root;
use super::lab::{Lab, Record};
use super::mirror::{apt_settings, resolver};
use super::network::Network;
use super::process::{self, Process, wait_until};
use super::talk::{say, tail};
use super::template::Template;

/// A boot takes five seconds on the slowest machine seen; a box that needs two minutes is broken.
const BOOT: Duration = Duration::from_secs(120);
const SHUTDOWN: Duration = Duration::from_secs(90);
/// Long enough for apt with a slow mirror; a test that hangs has to end some time.
const COMMAND: Duration = Duration::from_secs(600);

/// What commands in a box see, and nothing of the host's environment.
const ENVIRONMENT: &[(&str, &str)] = &[
    ("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"),
    ("HOME", "/root"),
    ("USER", "root"),
    ("LOGNAME", "root"),
    ("SHELL", "/bin/bash"),
    ("TERM", "dumb"),
    ("LANG", "C.UTF-8"),
];

/// How a box is to be.
#[derive(Clone, Debug)]
pub struct BoxOptions {
    /// The host name, and the name of the box on the lab's bench.
    pub name: String,
    /// Shares downloaded packages with other boxes of the suite.
    ///
    /// Puts `/etc/apt/apt.conf.d/00lab` with `APT::Keep-Downloaded-Packages` into the box, an artefact of the
    /// test bed, and what other boxes downloaded into `/var/cache/apt/archives`.
    pub shared_apt_cache: bool,
    /// Makes the box look like a Raspberry Pi, as far as files can.
    pub raspberry_pi: Option<RaspberryPi>,
    /// Limits the memory of the whole box; `/proc/meminfo` goes on to show the host's.
    pub memory_mib: Option<u32>,
    /// Leaves the box running when the value goes out of scope, for a look at it by hand.
    pub keep: bool,
}

impl BoxOptions {
    /// Describes a plain box: shared package cache, no Raspberry Pi, no memory limit.
    pub fn named(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            shared_apt_cache: true,
            raspberry_pi: None,
            memory_mib: None,
            keep: false,
        }
    }
}

/// What files of a Raspberry Pi's system a box has.
///
/// `/proc/device-tree/model` cannot be faked: the box has the host's procfs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RaspberryPi {
    /// The board, such as `Raspberry Pi 4 Model B Rev 1.4`; appears in `/sys/firmware/devicetree/base/model`.
    pub model: String,
    /// The `ID` of os-release; the 64-bit system says `debian`, the 32-bit one `raspbian`.
    pub id: String,
    /// The `NAME` of os-release, from which `PRETTY_NAME` is made.
    pub distribution: String,
}

impl RaspberryPi {
    /// Describes the 64-bit Raspberry Pi OS, which calls itself Debian.
    pub fn debian(model: &str) -> Self {
        Self { model: model.into(), id: "debian".into(), distribution: "Debian GNU/Linux".into() }
    }

    /// Describes the 32-bit Raspberry Pi OS, which calls itself Raspbian.
    pub fn raspbian(model: &str) -> Self {
        Self { model: model.into(), id: "raspbian".into(), distribution: "Raspbian GNU/Linux".into() }
    }
}

/// What a command in a box did.
#[derive(Clone, Debug)]
pub struct Output {
    /// The command, for messages.
    pub command: String,
    /// The exit code, or 128 plus the signal's number, as a shell counts.
    pub status: i32,
    /// Standard output, bytes that are no UTF-8 replaced.
    pub stdout: String,
    /// Standard error, bytes that are no UTF-8 replaced.
    pub stderr: String,
    /// Wall time.
    pub duration: Duration,
}

impl Output {
    /// Tells whether the command exited with 0.
    pub fn ok(&self) -> bool {
        self.status == 0
    }

    /// Turns a status other than 0 into an error that shows the command, its status and its output.
    pub fn checked(self) -> Result<Self> {
        if self.ok() { Ok(self) } else { bail!("{self}") }
    }
}

impl fmt::Display for Output {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(formatter, "$ {}", self.command)?;
        write!(formatter, "status {} after {:.1} s", self.status, self.duration.as_secs_f64())?;
        for (name, text) in [("stdout", &self.stdout), ("stderr", &self.stderr)] {
            if !text.trim().is_empty() {
                write!(formatter, "\n{name}:\n{}", tail(text, 60))?;
            }
        }
        Ok(())
    }
}

/// What an attempt to connect met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Probe {
    /// Somebody answered.
    Open,
    /// The machine answered that nobody listens, or that it will not say.
    Refused,
    /// Nothing came back, as behind a firewall that drops.
    Silent,
}

/// A box; dropping it takes it down and removes it, unless it is to be kept.
#[derive(Debug)]
pub struct Machine {
    lab: Lab,
    record: Record,
    /// systemd-nspawn, if this process started it; an attached box has none.
    child: Option<Child>,
    init: Option<Process>,
    keep: bool,
}

impl Machine {
    /// Boots a fresh box and waits until its systemd is done starting.
    pub fn up(lab: &Lab, suite: Suite, options: &BoxOptions) -> Result<Self> {
        ensure!(valid_name(&options.name), "{:?} is no host name", options.name);
        lab.base(suite)?;
        let mut machine = Self::allocate(lab, suite, options)?;
        // From here on dropping the machine clears up whatever there is of it.
        lab.copy_base(suite, &machine.dir())?;
        let root = Root::open(&machine.dir())?;
        let name = &options.name;
        root.write("/etc/hostname", format!("{name}\n").as_bytes(), 0o644)?;
        root.write("/etc/hosts", format!("127.0.0.1\tlocalhost\n127.0.1.1\t{name}\n").as_bytes(), 0o644)?;
        machine.furnish(suite, options)?;
        machine.start()?;
        Ok(machine)
    }

    /// Boots a copy of a template: with a machine id, host keys and a name of its own, and all else as it was.
    pub fn copy_of(lab: &Lab, template: &Template, options: &BoxOptions) -> Result<Self> {
        ensure!(valid_name(&options.name), "{:?} is no host name", options.name);
        let mut machine = Self::allocate(lab, template.suite, options)?;
        template.copy(lab, &machine.dir(), &options.name, &machine.folder())?;
        machine.furnish(template.suite, options)?;
        machine.start()?;
        Ok(machine)
    }

    fn allocate(lab: &Lab, suite: Suite, options: &BoxOptions) -> Result<Self> {
        disk::enough_room(&lab.state())?;
        let _lock = lab.lock()?;
        let taken: Vec<u8> = lab.records()?.iter().map(|record| record.network).collect();
        let network = Network::free(&taken)?;
        let archives = options.shared_apt_cache.then(|| lab.downloads(suite)).transpose()?;
        let keep = options.keep || std::env::var_os("PITOOL_KEEP").is_some();
        let record = Record {
            id: format!("{}-{}", options.name, network.number()),
            name: options.name.clone(),
            network: network.number(),
            owner: Some(Process::own()?),
            archives,
            memory_mib: options.memory_mib,
            suite: suite.to_string(),
        };
        let folder = record.folder(lab);
        if folder.exists() {
            fs::remove_dir_all(&folder).with_context(|| format!("removing {}", folder.display()))?;
        }
        fs::create_dir(&folder).with_context(|| format!("creating {}", folder.display()))?;
        record.write(lab)?;
        let machine = Self { lab: lab.clone(), record, child: None, init: None, keep };
        network.create()?;
        Ok(machine)
    }

    /// Finds a kept box by its name, for use by hand.
    pub fn attach(lab: &Lab, name: &str) -> Result<Self> {
        let records = lab.records()?;
        let found = records.into_iter().find(|record| record.owner.is_none() && record.name == name);
        let record = found.with_context(|| format!("no kept box is called {name:?}"))?;
        let mut machine = Self { lab: lab.clone(), record, child: None, init: None, keep: true };
        machine.init = machine.find_init();
        Ok(machine)
    }

    /// Lists the kept boxes: name, suite and address.
    pub fn kept(lab: &Lab) -> Result<Vec<(String, String, Ipv4Addr)>> {
        let kept = lab.records()?.into_iter().filter(|record| record.owner.is_none());
        Ok(kept.map(|r| (r.name, r.suite, Network::numbered(r.network).address())).collect())
    }

    fn furnish(&self, suite: Suite, options: &BoxOptions) -> Result<()> {
        let root = Root::open(&self.dir())?;
        root.remove("/etc/resolv.conf")?;
        root.write("/etc/resolv.conf", resolver().as_bytes(), 0o644)?;

        let mut apt = apt_settings(Some(&self.network().gateway().to_string()));
        if let Some(archives) = &self.record.archives {
            self.lab.lend(archives, &self.dir())?;
            apt.push("APT::Keep-Downloaded-Packages \"true\";".into());
        }
        if !apt.is_empty() {
            let text = format!(
                "// An artefact of the test bed; no real machine has this file.\n{}\n",
                apt.join("\n")
            );
            root.write("/etc/apt/apt.conf.d/00lab", text.as_bytes(), 0o644)?;
        }
        if let Some(pi) = &options.raspberry_pi {
            raspberry_pi(&root, suite, pi)?;
            let base = self.folder().join("firmware/devicetree/base");
            fs::create_dir_all(&base)?;
            fs::write(base.join("model"), format!("{}\0", pi.model))?;
        }
        Ok(())
    }

    /// Names the box.
    pub fn name(&self) -> &str {
        &self.record.name
    }

    /// Gives the address of the box, which this host and every other box reach.
    pub fn ip(&self) -> Ipv4Addr {
        self.network().address()
    }

    /// Gives the address of this host as the box sees it: servers of a test can be bound to it.
    pub fn gateway(&self) -> Ipv4Addr {
        self.network().gateway()
    }

    /// Names the box's root directory on this host; a running box's tmpfs mounts are not in it.
    pub fn dir(&self) -> PathBuf {
        self.folder().join("root")
    }

    /// Gives this host's pid of the box's init, if it runs.
    pub fn pid(&self) -> Option<i32> {
        self.init.filter(|init| init.alive()).map(|init| init.pid)
    }

    /// Tells whether the box runs.
    pub fn running(&self) -> bool {
        self.pid().is_some()
    }

    /// Names the file with what the box printed on its console, over all its boots.
    pub fn console(&self) -> PathBuf {
        self.folder().join("console.log")
    }

    pub(crate) fn lab(&self) -> &Lab {
        &self.lab
    }

    pub(crate) fn archives(&self) -> Option<&Path> {
        self.record.archives.as_deref()
    }

    fn folder(&self) -> PathBuf {
        self.record.folder(&self.lab)
    }

    fn network(&self) -> Network {
        Network::numbered(self.record.network)
    }

    /// Leaves the box running after this value is gone; no sweep removes it, only [`Machine::down`].
    pub fn keep(mut self) -> Result<()> {
        self.keep = true;
        self.record.owner = None;
        self.record.write(&self.lab)
    }

    /// Boots the box that is off, from the files as they are.
    pub fn start(&mut self) -> Result<()> {
        ensure!(!self.running(), "the box {} is running", self.name());
        self.child = Some(self.nspawn()?);
        let booted = self.wait_for_boot();
        if let Err(error) = booted {
            let console = fs::read_to_string(self.console()).unwrap_or_default();
            let log = self.folder();
            return Err(error)
                .with_context(|| format!("the console of {} said:\n{}", log.display(), tail(&console, 40)));
        }
        // Docker manages groups of its own; nspawn mounts the hierarchies read-only for good reasons that a
        // throw-away box does not share.
        self.sh("for c in /sys/fs/cgroup /sys/fs/cgroup/*; do \
                 mountpoint -q $c && mount -o remount,bind,rw $c; done; true")?;
        Ok(())
    }

    fn nspawn(&self) -> Result<Child> {
        let console = OpenOptions::new().create(true).append(true).open(self.console())?;
        let id = &self.record.id;
        let mut arguments: Vec<OsString> = vec![
            format!("--directory={}", self.dir().display()).into(),
            format!("--machine={id}").into(),
            format!("--hostname={}", self.name()).into(),
            format!("--network-namespace-path={}", self.network().namespace().display()).into(),
            "--register=no".into(),
            "--keep-unit".into(),
            "--capability=all".into(),
            // What Docker's runc needs of the calls that nspawn refuses.
            "--system-call-filter=add_key keyctl bpf".into(),
            "--resolv-conf=off".into(),
            "--timezone=off".into(),
            "--link-journal=no".into(),
            "--quiet".into(),
        ];
        let firmware = self.folder().join("firmware");
        if firmware.exists() {
            arguments.push(format!("--bind-ro={}:/sys/firmware", firmware.display()).into());
        }
        arguments.push("--boot".into());

        let cgroup = self.record.cgroup();
        let mut command;
        if cgroup::host_has_systemd() {
            command = Command::new("systemd-run");
            command.args(["--scope", "--quiet", "--collect", "--property=Delegate=yes"]);
            command.arg(format!("--unit={cgroup}"));
            if let Some(mib) = self.record.memory_mib {
                command.arg(format!("--property=MemoryMax={mib}M"));
            }
            command.arg("--").arg("systemd-nspawn");
        } else {
            let groups = cgroup::create(&cgroup, self.record.memory_mib)?;
            let list: Vec<String> = groups.iter().map(|group| group.display().to_string()).collect();
            command = Command::new("/bin/sh");
            command.arg("-c").arg(
                "for group in $LAB_GROUPS; do echo $$ > \"$group/cgroup.procs\" || exit 9; done; \
                 unset LAB_GROUPS; exec systemd-nspawn \"$@\"",
            );
            command.arg("sh").env("LAB_GROUPS", list.join(" "));
        }
        command.args(arguments).env("SYSTEMD_NSPAWN_API_VFS_WRITABLE", "1");
        command.stdin(Stdio::null()).stdout(console.try_clone()?).stderr(console);
        // Own group: Ctrl-C on the terminal reaches the test, which then takes the box down properly.
        command.process_group(0).spawn().context("starting systemd-nspawn")
    }

    fn wait_for_boot(&mut self) -> Result<()> {
        let deadline = Instant::now() + BOOT;
        let mut state = String::from("no init yet");
        while Instant::now() < deadline {
            if let Some(child) = &mut self.child {
                if let Some(status) = child.try_wait()? {
                    bail!("systemd-nspawn ended early ({status})");
                }
            }
            self.init = self.find_init();
            if self.init.is_some() {
                // Blocks in the box until systemd is done, which saves asking over and over.
                let left = deadline.saturating_duration_since(Instant::now());
                let output = self.run_within(["systemctl", "is-system-running", "--wait"], left);
                if let Ok(output) = output {
                    state = output.stdout.trim().to_owned();
                    if state == "running" || state == "degraded" {
                        return Ok(());
                    }
                }
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        bail!("the box {} did not boot within {} s: {state}", self.name(), BOOT.as_secs())
    }

    /// Finds the box's init: the child of nspawn that is PID 1 of a namespace and has become systemd.
    fn find_init(&self) -> Option<Process> {
        let nspawns = process::nspawns_of(&self.dir());
        nspawns.into_iter().flat_map(|nspawn| process::children(nspawn.pid)).find(|child| {
            let read = |file| fs::read_to_string(format!("/proc/{}/{file}", child.pid)).unwrap_or_default();
            let status = read("status");
            let first = status.lines().any(|line| line.starts_with("NSpid:") && line.ends_with("\t1"));
            first && read("comm").trim() == "systemd"
        })
    }

    /// Ends every process of the box at once, as when the plug is pulled, and checks that they are gone.
    ///
    /// Unlike after a real power cut, what the box wrote and did not sync is still there: it sits in the page
    /// cache of this host, which lives on. So this finds what a program leaves half done, not what it forgot
    /// to sync.
    pub fn power_cut(&mut self) -> Result<()> {
        let namespace = self.pid().and_then(process::pid_namespace);
        let mut nspawns = process::nspawns_of(&self.dir());
        if let Some(init) = self.init.take() {
            init.kill();
        }
        // With its init all of the box is dead. nspawn, outside, gets a moment to notice: whoever dies before its
        // child leaves a zombie to the host.
        wait_until(Duration::from_secs(3), || {
            if let Some(child) = &mut self.child {
                let _ = child.try_wait();
            }
            !nspawns.iter().any(|nspawn| nspawn.alive())
        });
        nspawns.iter().for_each(|nspawn| nspawn.kill());
        if let Some(mut child) = self.child.take() {
            child.wait().context("waiting for systemd-nspawn")?;
        }
        let network = self.network();
        let gone = wait_until(Duration::from_secs(20), || {
            nspawns.retain(|nspawn| nspawn.alive());
            let inside = namespace.as_deref().map(process::in_pid_namespace).unwrap_or_default();
            let mut left = network.processes();
            left.extend(inside);
            left.iter().for_each(|process| process.kill());
            nspawns.is_empty() && left.is_empty()
        });
        ensure!(gone, "processes of the box {} outlived the power cut", self.name());
        Ok(())
    }

    /// Shuts the box down in good order and boots it again.
    pub fn reboot(&mut self) -> Result<()> {
        self.shut_down()?;
        self.start()
    }

    /// Shuts the box down in good order; [`Machine::start`] boots it again.
    pub fn shut_down(&mut self) -> Result<()> {
        // The answer may be lost with the machine that gives it.
        let _ = self.run_within(["systemctl", "poweroff"], Duration::from_secs(30));
        self.wait_off(SHUTDOWN)
    }

    /// Waits until the box is off, after something in it asked for a shutdown or a reboot.
    pub fn wait_off(&mut self, limit: Duration) -> Result<()> {
        let directory = self.dir();
        let (init, child) = (self.init, &mut self.child);
        let off = wait_until(limit, || {
            let ended = child.as_mut().is_none_or(|child| matches!(child.try_wait(), Ok(Some(_))));
            ended && !init.is_some_and(Process::alive) && process::nspawns_of(&directory).is_empty()
        });
        ensure!(off, "the box {} is still on after {} s", self.name(), limit.as_secs());
        // Clears up commands that were still running in there.
        self.power_cut()
    }

    /// Takes the box down and removes all there is of it on this host.
    pub fn down(mut self) -> Result<()> {
        self.keep = true;
        self.remove()
    }

    fn remove(&mut self) -> Result<()> {
        self.power_cut()?;
        let _lock = self.lab.lock()?;
        self.record.remove(&self.lab)
    }

    /// Runs a shell command in the box as root.
    pub fn sh(&self, command: &str) -> Result<Output> {
        self.sh_within(command, COMMAND)
    }

    /// Runs a shell command that must succeed.
    pub fn check(&self, command: &str) -> Result<Output> {
        self.sh(command)?.checked()
    }

    /// Runs a shell command, with an own limit of time.
    pub fn sh_within(&self, command: &str, limit: Duration) -> Result<Output> {
        let mut output = self.run_within(["bash", "-c", command], limit)?;
        command.clone_into(&mut output.command);
        Ok(output)
    }

    /// Runs a program in the box as root, without a shell.
    pub fn run<S: AsRef<OsStr>>(&self, argv: impl IntoIterator<Item = S>) -> Result<Output> {
        self.run_within(argv, COMMAND)
    }

    /// Runs a program, with an own limit of time.
    pub fn run_within<S: AsRef<OsStr>>(
        &self,
        argv: impl IntoIterator<Item = S>,
        limit: Duration,
    ) -> Result<Output> {
        let background = self.spawn(argv)?;
        background.wait(limit)
    }

    /// Starts a program in the box and goes on; it ends with the box at the latest.
    pub fn spawn<S: AsRef<OsStr>>(&self, argv: impl IntoIterator<Item = S>) -> Result<Background> {
        let mut command = self.enter()?;
        let argv: Vec<OsString> = argv.into_iter().map(|word| word.as_ref().to_owned()).collect();
        command.args(&argv);
        let name = argv.iter().map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ");
        Background::start(&self.folder(), name, command)
    }

    /// Prepares a command whose further arguments are run inside the box.
    pub(crate) fn enter(&self) -> Result<Command> {
        let mut command = Command::new("nsenter");
        command.args(self.entry()?);
        clean_environment(&mut command);
        Ok(command)
    }

    pub(crate) fn entry(&self) -> Result<[String; 4]> {
        let pid = self.pid().with_context(|| format!("the box {} is not running", self.name()))?;
        Ok(["--target".into(), pid.to_string(), "--all".into(), "--".into()])
    }

    pub(crate) fn scratch(&self) -> PathBuf {
        self.folder()
    }

    fn root(&self) -> Result<Root> {
        match self.pid() {
            Some(pid) => Root::open(Path::new(&format!("/proc/{pid}/root"))),
            None => Root::open(&self.dir()),
        }
    }

    /// Writes a file of the box, its folders included; no link in the box leads out of it.
    pub fn write_file(&self, path: &str, contents: impl AsRef<[u8]>, mode: u32) -> Result<()> {
        self.root()?.write(path, contents.as_ref(), mode)
    }

    /// Reads a file of the box.
    pub fn read_file(&self, path: &str) -> Result<Vec<u8>> {
        self.root()?.read(path)
    }

    /// Reads a text file of the box.
    pub fn read_text(&self, path: &str) -> Result<String> {
        String::from_utf8(self.read_file(path)?).with_context(|| format!("{path} in the box is no UTF-8"))
    }

    /// Copies a file of this host into the box.
    pub fn copy_in(&self, host: &Path, path: &str, mode: u32) -> Result<()> {
        let contents = fs::read(host).with_context(|| format!("reading {}", host.display()))?;
        self.write_file(path, contents, mode)
    }

    /// Tells whether this box can open a TCP connection to an address.
    pub fn can_connect(&self, ip: Ipv4Addr, port: u16) -> Result<bool> {
        Ok(self.probe(ip, port)? == Probe::Open)
    }

    /// Tries a TCP connection from this box for three seconds.
    pub fn probe(&self, ip: Ipv4Addr, port: u16) -> Result<Probe> {
        let script = format!(
            "import socket\ns = socket.socket()\ns.settimeout(3)\n\
             try:\n s.connect(('{ip}', {port})); print('open')\n\
             except TimeoutError: print('silent')\nexcept OSError: print('refused')"
        );
        let output = self.run(["python3", "-c", &script])?.checked()?;
        match output.stdout.trim() {
            "open" => Ok(Probe::Open),
            "refused" => Ok(Probe::Refused),
            "silent" => Ok(Probe::Silent),
            other => bail!("the probe said {other:?}"),
        }
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        if self.keep {
            return;
        }
        if let Err(error) = self.remove() {
            say(&format!("the box {} is not quite gone: {error:#}", self.record.id));
        }
    }
}

/// A program that runs in a box while the test goes on.
#[derive(Debug)]
pub struct Background {
    command: String,
    child: Child,
    stdout: File,
    stderr: File,
    started: Instant,
    ended: Option<ExitStatus>,
}

impl Background {
    /// Starts a command whose output goes to nameless files: unlike a pipe they neither fill up nor wait for
    /// a daemon that the command left behind.
    pub(crate) fn start(folder: &Path, name: String, mut command: Command) -> Result<Self> {
        let (stdout, stderr) = (nameless(folder)?, nameless(folder)?);
        command.stdin(Stdio::null()).stdout(stdout.try_clone()?).stderr(stderr.try_clone()?);
        // Own group, as for the box itself.
        let started = Instant::now();
        // A child inherits the signal mask, and the runner blocks those that would end it: what runs in a box must
        // hear them.
        let mask = SigSet::thread_get_mask()?;
        SigSet::empty().thread_set_mask()?;
        let spawned = command.process_group(0).spawn();
        mask.thread_set_mask()?;
        let child = spawned.with_context(|| format!("starting {command:?}"))?;
        Ok(Self { command: name, child, stdout, stderr, started, ended: None })
    }

    /// Tells whether the program still runs.
    pub fn running(&mut self) -> Result<bool> {
        if self.ended.is_none() {
            self.ended = self.child.try_wait()?;
        }
        Ok(self.ended.is_none())
    }

    /// Gives this host's pid of the program in the box, once it is there.
    pub fn pid(&self) -> Option<i32> {
        self.program().map(|program| program.pid)
    }

    /// Finds the program below the wrappers that put it into the box and measure it.
    fn program(&self) -> Option<Process> {
        let mut process = Process::find(i32::try_from(self.child.id()).ok()?)?;
        loop {
            let name = fs::read_to_string(format!("/proc/{}/comm", process.pid)).ok()?;
            if !["nsenter", "strace", "time"].contains(&name.trim()) {
                return Some(process);
            }
            process = *process::children(process.pid).first()?;
        }
    }

    /// Kills the program in the box with SIGKILL; what it started itself goes on.
    pub fn kill(mut self) -> Result<Output> {
        self.end()?;
        self.wait(Duration::from_secs(10))
    }

    fn end(&mut self) -> Result<()> {
        // A program just spawned may still be on its way into the box, out of reach from its wrapper.
        let mut killed = false;
        wait_until(Duration::from_secs(5), || {
            if let Some(program) = self.program() {
                program.kill();
                killed = true;
            }
            killed || !matches!(self.child.try_wait(), Ok(None))
        });
        if !killed {
            self.child.kill()?;
        }
        Ok(())
    }

    /// Waits for the end; a program that takes longer is killed and is an error.
    pub fn wait(mut self, limit: Duration) -> Result<Output> {
        let deadline = Instant::now() + limit;
        let mut pause = Duration::from_millis(1);
        while self.running()? {
            if Instant::now() >= deadline {
                self.end()?;
                wait_until(Duration::from_secs(5), || !matches!(self.running(), Ok(true)));
                let output = self.output(ExitStatus::from_raw(9))?;
                bail!("killed after {} s:\n{output}", limit.as_secs());
            }
            std::thread::sleep(pause);
            pause = (pause * 2).min(Duration::from_millis(20));
        }
        let status = self.ended.context("no status")?;
        self.output(status)
    }

    fn output(&mut self, status: ExitStatus) -> Result<Output> {
        let duration = self.started.elapsed();
        Ok(Output {
            command: self.command.clone(),
            status: status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(-1),
            stdout: text_of(&mut self.stdout)?,
            stderr: text_of(&mut self.stderr)?,
            duration,
        })
    }
}

fn text_of(file: &mut File) -> Result<String> {
    // Through an own position: a daemon that still holds the file must not find its end moved.
    let path = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&file.as_fd()));
    let mut own = File::open(path)?;
    own.seek(SeekFrom::Start(0))?;
    let mut bytes = Vec::new();
    own.read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn nameless(folder: &Path) -> Result<File> {
    use std::os::unix::fs::OpenOptionsExt;
    let flags = nix::fcntl::OFlag::O_TMPFILE | nix::fcntl::OFlag::O_APPEND;
    let file = OpenOptions::new().read(true).write(true).custom_flags(flags.bits()).open(folder);
    file.with_context(|| format!("a nameless file in {}", folder.display()))
}

pub(crate) fn clean_environment(command: &mut Command) {
    command.env_clear().envs(ENVIRONMENT.iter().copied());
}

fn valid_name(name: &str) -> bool {
    let fits = (1..=40).contains(&name.len()) && name.starts_with(|c: char| c.is_ascii_lowercase());
    fits && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
}

fn raspberry_pi(root: &Root, suite: Suite, pi: &RaspberryPi) -> Result<()> {
    let RaspberryPi { id, distribution, .. } = pi;
    let (codename, version) = (suite.codename(), suite.version());
    let line = "console=serial0,115200 console=tty1 root=PARTUUID=4b3a1c5d-02 rootfstype=ext4 \
                fsck.repair=yes rootwait\n";
    root.write("/boot/firmware/cmdline.txt", line.as_bytes(), 0o755)?;
    let config = "# For more options and information see\n# http://rptl.io/configtxt\n\ndtparam=audio=on\n\
                  camera_auto_detect=1\ndisplay_auto_detect=1\nauto_initramfs=1\narm_64bit=1\n\n\
                  [cm4]\notg_mode=1\n\n[all]\n";
    root.write("/boot/firmware/config.txt", config.as_bytes(), 0o755)?;
    let mut release = format!(
        "PRETTY_NAME=\"{distribution} {version} ({codename})\"\nNAME=\"{distribution}\"\n\
         VERSION_ID=\"{version}\"\nVERSION=\"{version} ({codename})\"\nVERSION_CODENAME={codename}\nID={id}\n"
    );
    if id != "debian" {
        release += "ID_LIKE=debian\n";
    }
    root.write("/usr/lib/os-release", release.as_bytes(), 0o644)?;
    root.write("/etc/rpi-issue", b"Raspberry Pi reference 2025-05-13\n", 0o644)?;
    root.write("/etc/sudoers.d/010_pi-nopasswd", b"pi ALL=(ALL) NOPASSWD: ALL\n", 0o440)
}
