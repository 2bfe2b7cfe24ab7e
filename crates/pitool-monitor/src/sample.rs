//! One look at the machine, as plain data: what the checks judge.
//!
//! What could not be found out is an `Err` with the reason, so that no check takes silence for health.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::time::Duration;

use jiff::Timestamp;
use pitool_host::parse::proc_net_tcp::{self, Listener};
use pitool_host::parse::ufw_rules;
use pitool_host::{Command, Inspect, UNIT_DIRECTORIES};
use rustix::fs::{major, minor};
use serde::{Deserialize, Serialize};

use crate::docker::{self, Docker};
use crate::kernel::cpu::{self, Times};
use crate::kernel::disk::{self, Emmc, Ext4};
use crate::kernel::memory::Memory;
use crate::kernel::mounts::{self, Mount};
use crate::kernel::pi::Throttled;
use crate::kernel::{required, text, thermal};
use crate::records::{self, Backups, Certificate};
use crate::setup::{App, Setup};
use crate::system::{ClockState, System, Usage};
use crate::units::{self, Unit};

/// What was found out, or why not.
pub type Reading<T> = Result<T, String>;

/// Updates that apt would install.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Updates {
    /// All of them.
    pub pending: u32,
    /// Those from a security archive.
    pub security: u32,
}

/// How the machine differs from its config.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Drift {
    /// How many things differ.
    pub changes: u32,
    /// Since when, as far as somebody looked.
    pub since: Timestamp,
}

/// What the caller knows and this crate cannot: runs and plans belong to the engine.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Known {
    /// The run that was cut off, in words.
    pub interrupted: Option<Reading<Option<String>>>,
    /// The outcome of a plan: `None` inside where nothing differs.
    pub drift: Option<Reading<Option<Drift>>>,
    /// The updates, where somebody counted them.
    pub updates: Option<Reading<Updates>>,
}

/// An app, asked.
#[derive(Clone, Debug, PartialEq)]
pub struct AppAnswer {
    /// The app.
    pub app: App,
    /// What nginx answers for `/health` under its name: the status, and the beginning of the body.
    pub site: Reading<(u16, String)>,
    /// The status that its own program answers, where it has one.
    pub upstream: Option<Reading<u16>>,
}

/// One look.
#[derive(Clone, Debug)]
pub struct Sample {
    /// When.
    pub taken: Timestamp,
    /// Time that never goes back, for rates.
    pub monotonic: Duration,
    /// Processor time since boot.
    pub cpu: Reading<Times>,
    /// How many processors there are.
    pub cpus: usize,
    /// When the machine booted.
    pub booted: Option<Timestamp>,
    /// Load of one, five, fifteen minutes.
    pub load: Reading<[f64; 3]>,
    /// Memory.
    pub memory: Reading<Memory>,
    /// How often the kernel killed a program for want of memory since boot.
    pub oom_kills: Option<u64>,
    /// Disks that are mounted, with how full they are.
    pub disks: Reading<Vec<(Mount, Reading<Usage>)>>,
    /// What ext4 remembers.
    pub ext4: Vec<Ext4>,
    /// Wear of eMMC.
    pub emmc: Vec<Emmc>,
    /// Bytes written to whole disks since boot.
    pub written: BTreeMap<String, u64>,
    /// The processor's temperature; `None` without a sensor.
    pub temperature: Option<f64>,
    /// The firmware's throttle bits; `None` where there is no such firmware.
    pub throttled: Reading<Option<Throttled>>,
    /// Whether the Pi's voltage chip says that the supply is too low.
    pub low_voltage: Option<bool>,
    /// The clock.
    pub clock: Reading<ClockState>,
    /// systemd's units.
    pub units: Reading<Vec<Unit>>,
    /// Watched units that systemd does not have in memory, but that have a file.
    pub unit_files: Vec<String>,
    /// Watched units that are not active, and that no run has settled so far: their role was never applied.
    pub unsettled: Vec<String>,
    /// Docker.
    pub docker: Docker,
    /// Whether the kernel can limit the memory of containers.
    pub memory_limits: bool,
    /// Who listens.
    pub listeners: Reading<Vec<Listener>>,
    /// Ports that the firewall keeps open because they were in use when it came, with whether they are UDP's.
    pub kept: Vec<(u16, bool)>,
    /// The bare address's `/health`, where nginx should answer.
    pub bare: Option<Reading<(u16, String)>>,
    /// Apps.
    pub apps: Vec<AppAnswer>,
    /// Backups.
    pub backups: Reading<Option<Backups>>,
    /// Certificates.
    pub certificates: Reading<Option<BTreeMap<String, Certificate>>>,
    /// Why a reboot is pending.
    pub reboot: Option<String>,
    /// What the caller knows.
    pub known: Known,
}

/// Whether a pitool is changing the machine right now: somebody holds the lock of runs, as /proc/locks tells without touching it.
pub fn run_at_work(host: &dyn Inspect) -> bool {
    let Ok(file) = std::fs::metadata("/run/pitool/lock") else { return false };
    let (major, minor) = (major(file.dev()), minor(file.dev()));
    let inode = format!("{major:02x}:{minor:02x}:{}", file.ino());
    let locks = text(host, "/proc/locks").unwrap_or_default();
    locks.lines().any(|line| {
        let mut words = line.split_ascii_whitespace().skip(1);
        words.next() == Some("FLOCK") && words.nth(3).is_some_and(|place| place == inode)
    })
}

/// The kernel's ways to ask for mounts: pid 1's, because a service's own view is made read-only by its hardening.
const MOUNTS: [&str; 2] = ["/proc/1/mountinfo", "/proc/self/mountinfo"];

impl Sample {
    /// Looks at the machine.
    pub fn take(host: &dyn Inspect, system: &dyn System, setup: &Setup, known: Known) -> Self {
        let stat = required(host, "/proc/stat").map(|text| cpu::stat(&text));
        let zones = thermal::zones(host);
        let chips = thermal::chips(host);
        let units = units::ask(host);
        let vmstat = text(host, "/proc/vmstat").unwrap_or_default();
        let diskstats = text(host, "/proc/diskstats").unwrap_or_default();
        Self {
            taken: host.now(),
            monotonic: system.monotonic(),
            cpus: stat.as_ref().map_or(0, |stat| stat.each.len()),
            booted: stat
                .as_ref()
                .ok()
                .and_then(|stat| Timestamp::from_second(i64::try_from(stat.boot_time?).ok()?).ok()),
            cpu: stat.map(|stat| stat.all),
            load: required(host, "/proc/loadavg")
                .and_then(|text| cpu::load(&text).ok_or_else(|| "/proc/loadavg makes no sense".to_owned())),
            memory: required(host, "/proc/meminfo").map(|text| Memory::parse(&text)),
            oom_kills: cpu::pairs(&vmstat).find(|(name, _)| *name == "oom_kill").map(|(_, count)| count),
            disks: disks(host, system),
            ext4: disk::ext4(host),
            emmc: disk::emmc(host),
            written: disk::diskstats(&diskstats)
                .into_iter()
                .filter(|disk| !is_partition(host, &disk.name))
                .map(|disk| (disk.name, disk.written_bytes))
                .collect(),
            temperature: thermal::processor(&zones, &chips),
            throttled: throttled(host, system),
            low_voltage: chips.iter().find(|chip| chip.name == "rpi_volt").and_then(|chip| chip.low_voltage),
            clock: system.clock(),
            unit_files: unit_files(host, setup, units.as_deref().unwrap_or_default()),
            unsettled: unsettled(host, setup, units.as_deref().unwrap_or_default()),
            units,
            docker: docker::ask(host, system),
            memory_limits: docker::can_limit_memory(host),
            listeners: listeners(host),
            kept: kept(host),
            bare: bare(system, setup),
            apps: setup.expected.apps.iter().map(|app| ask_app(system, app)).collect(),
            backups: records::backups(host, &setup.expected),
            certificates: records::certificates(host, system, &setup.expected),
            reboot: reboot(host, setup),
            known,
        }
    }
}

/// Mounted disks with how full they are.
pub(crate) fn mounts(host: &dyn Inspect) -> Reading<Vec<Mount>> {
    let text = required(host, MOUNTS[0]).or_else(|_| required(host, MOUNTS[1]))?;
    Ok(mounts::parse(&text))
}

fn disks(host: &dyn Inspect, system: &dyn System) -> Reading<Vec<(Mount, Reading<Usage>)>> {
    let mut seen = Vec::new();
    let mut disks = Vec::new();
    for mount in mounts(host)?.into_iter().filter(Mount::is_disk) {
        // One file system in several places is one disk; bind mounts of single files come from containers.
        if seen.contains(&mount.numbers) {
            continue;
        }
        seen.push(mount.numbers.clone());
        let usage = system.usage(&mount.point);
        disks.push((mount, usage));
    }
    Ok(disks)
}

fn is_partition(host: &dyn Inspect, name: &str) -> bool {
    matches!(host.stat(&format!("/sys/class/block/{name}/partition")), Ok(Some(_)))
}

/// The firmware's bits: from its device, else from `vcgencmd`, where the device may not be opened.
fn throttled(host: &dyn Inspect, system: &dyn System) -> Reading<Option<Throttled>> {
    let why = match system.throttled() {
        Ok(answer) => return Ok(answer),
        Err(why) => why,
    };
    if !matches!(host.stat("/usr/bin/vcgencmd"), Ok(Some(_))) {
        return Err(why);
    }
    let output =
        host.ask(&Command::new("/usr/bin/vcgencmd").arg("get_throttled")).map_err(|_| why.clone())?;
    Throttled::parse(&output.stdout).map(Some).ok_or(why)
}

/// Asked only where something is not active: the index of what pitool looks after is large.
fn unsettled(host: &dyn Inspect, setup: &Setup, loaded: &[Unit]) -> Vec<String> {
    let active = |name: &String| loaded.iter().any(|unit| unit.unit == *name && unit.active == "active");
    let idle: Vec<&String> = setup.expected.units.iter().filter(|name| !active(name)).collect();
    if idle.is_empty() {
        return Vec::new();
    }
    let settled = records::settled_units(host);
    let unknown = |name: &&String| settled.as_ref().is_some_and(|settled| !settled.contains(*name));
    idle.into_iter().filter(unknown).cloned().collect()
}

fn unit_files(host: &dyn Inspect, setup: &Setup, loaded: &[Unit]) -> Vec<String> {
    let there = |unit: &&String| {
        UNIT_DIRECTORIES.iter().any(|place| matches!(host.stat(&format!("{place}/{unit}")), Ok(Some(_))))
    };
    let missing = setup.expected.units.iter().filter(|unit| !loaded.iter().any(|found| found.unit == **unit));
    missing.filter(there).cloned().collect()
}

fn listeners(host: &dyn Inspect) -> Reading<Vec<Listener>> {
    let mut found = proc_net_tcp::listeners(&required(host, "/proc/net/tcp")?, false);
    for (file, udp) in [("tcp6", false), ("udp", true), ("udp6", true)] {
        // Without IPv6 there are no such files.
        found.extend(proc_net_tcp::listeners(
            &text(host, &format!("/proc/net/{file}")).unwrap_or_default(),
            udp,
        ));
    }
    found.sort_unstable();
    // Several sockets may share a port (SO_REUSEPORT).
    found.dedup_by_key(|one| (one.port, one.udp, one.address));
    Ok(found)
}

fn kept(host: &dyn Inspect) -> Vec<(u16, bool)> {
    let rules = ufw_rules::parse(&text(host, "/etc/ufw/user.rules").unwrap_or_default());
    let kept = rules.into_iter().filter(|rule| rule.comment.starts_with(ufw_rules::KEPT));
    kept.filter_map(|rule| Some((rule.dport.parse().ok()?, rule.proto == "udp"))).collect()
}

fn health(system: &dyn System, host: &str) -> Reading<(u16, String)> {
    let answer = system.http(80, host, "/health")?;
    let body = String::from_utf8_lossy(&answer.body);
    Ok((answer.status, body.lines().next().unwrap_or_default().chars().take(80).collect()))
}

fn bare(system: &dyn System, setup: &Setup) -> Option<Reading<(u16, String)>> {
    setup.expected.web.then(|| health(system, "127.0.0.1"))
}

fn ask_app(system: &dyn System, app: &App) -> AppAnswer {
    let host = if app.host.is_empty() { "127.0.0.1" } else { &app.host };
    AppAnswer {
        site: health(system, host),
        upstream: app.upstream.map(|port| system.http(port, host, "/health").map(|answer| answer.status)),
        app: app.clone(),
    }
}

fn reboot(host: &dyn Inspect, setup: &Setup) -> Option<String> {
    let release = text(host, "/proc/sys/kernel/osrelease").unwrap_or_default();
    let release = release.trim();
    // A kernel that was replaced has lost its modules: nothing that needs one works until the reboot.
    let known = crate::kernel::names(host, "/usr/lib/modules");
    if setup.expected.container.is_empty()
        && !known.is_empty()
        && !known.iter().any(|known| known == release)
        && !release.is_empty()
    {
        return Some(format!("the modules of the running kernel {release} are gone"));
    }
    let marks = ["/run/reboot-required", "/var/run/reboot-required"];
    marks.iter().any(|mark| matches!(host.stat(mark), Ok(Some(_)))).then(|| {
        let packages = text(host, "/run/reboot-required.pkgs").unwrap_or_default();
        let mut packages: Vec<&str> = packages.lines().collect();
        packages.dedup();
        match packages.is_empty() {
            true => "an update asks for it".to_owned(),
            false => format!("for {}", packages.join(", ")),
        }
    })
}
