//! Slow truths about the machine: what a run cannot change, gathered once.
//!
//! Roles are pure functions of config and facts, so a fact must be the same before and after a run: the release,
//! the architecture, the board. What pitool itself settles (a port, a file) is never a fact. Two facts are about packages
//! that a run may install, nginx's version and Docker's source: both say before the run what it will install.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::parse::{
    accounts, apt_cache_policy, apt_sources, cmdline, cpuinfo, fstab, os_release, proc_meminfo, proc_net_tcp,
    proc_swaps,
};
use crate::{Command, Error, FileType, Inspect, Packages, Result};

/// Everything that roles may know about the machine.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Facts {
    /// `ID` of os-release(5): `debian`, `raspbian`, `ubuntu`.
    pub os: String,
    /// `VERSION_ID` as a number: 12, 13; 0 where there is none (Debian testing has none).
    pub release: u32,
    /// `VERSION_CODENAME`: `bookworm`, `trixie`.
    pub codename: String,
    /// `PRETTY_NAME`, for people.
    pub os_name: String,
    /// dpkg's native architecture: `arm64`, `armhf`, `amd64`. Never the kernel's (trap T4).
    pub arch: String,
    /// The kernel's machine name, `uname -m`: a 64-bit kernel under a 32-bit userland is usual on a Pi.
    pub kernel_arch: String,
    /// The kernel's release, `uname -r`.
    pub kernel: String,
    /// Whether /lib/modules has this kernel's modules: false after a kernel upgrade, until the reboot (trap T22).
    /// True where none can be missing: in a container, with a kernel that loads no modules, in another root.
    pub kernel_modules: bool,
    /// Whether the processor is ARMv6 (Pi 1, Pi Zero): Debian's armhf does not run there.
    pub armv6: bool,
    /// The board, from the device tree ("Raspberry Pi 4 Model B Rev 1.4"); empty elsewhere.
    pub model: String,
    /// Total memory in bytes.
    pub memory: u64,
    /// The kernel's page size in bytes: 16384 on a Pi 5's own kernel (trap T5).
    pub page_size: u64,
    /// Number of processors that are online.
    pub cpus: u32,
    /// Whether systemd is the service manager that runs now.
    pub systemd: bool,
    /// The container that we run in (`systemd-nspawn`, `docker`, `lxc`), empty on a machine of its own.
    pub container: String,
    /// Whether this is the running system, not another root.
    pub live: bool,
    /// The directory with cmdline.txt and config.txt, where the Pi's firmware reads them: `/boot/firmware`, or
    /// `/boot` on old images; `None` where there are none. Never the decoys that say DO NOT EDIT (trap T7).
    pub firmware: Option<String>,
    /// How this image makes its swap (trap T27).
    pub swap: SwapMechanism,
    /// The package that keeps the clock where it is not systemd-timesyncd: `chrony`, `ntpsec`, `openntpd`; empty
    /// where there is none. Debian lets only one of them be installed, so a run that meets one leaves it.
    pub time_daemon: String,
    /// The version of nginx where it is installed, without Debian's part; else the one that a run would install, where
    /// somebody asked for it ([`candidate`]); empty where that is not known.
    pub nginx: String,
    /// The program that has port 80 of a machine without nginx, such as `apache2` or `docker-proxy`; empty where none has.
    pub web_server: String,
    /// Sites of nginx that somebody else wrote and that answer for every name, by port: nginx takes one for each only.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub default_sites: BTreeMap<u16, String>,
    /// The log driver other than Docker's own that somebody chose in `/etc/docker/daemon.json`; else empty.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub docker_log_driver: String,
    /// The version of OpenSSL's library, likewise.
    pub openssl: String,
    /// Whether cloud-init is there and not switched off: it sets hostname and /etc/hosts at every boot (trap T9).
    pub cloud_init: bool,
    /// Whether apt has a source of the Raspberry Pi Foundation (archive.raspberrypi.com or .org).
    pub raspberrypi_archive: bool,
    /// Whether the journal's own default on this image is RAM only (drop-in 40-rpi-volatile-storage.conf, trap T28).
    pub volatile_journal: bool,
    /// Whether sshd is there, and somebody turned it off: it neither runs nor starts at boot nor is started for a caller.
    pub sshd_off: bool,
    /// Whether the kernel has no sockets of IPv6 (`ipv6.disable=1`): to listen on one is an error then.
    pub ipv6_disabled: bool,
    /// The machine's id, machine-id(5); empty when it is not set yet.
    pub machine_id: String,
    /// The board's serial number; empty elsewhere.
    pub serial: String,
    /// This boot's id, /proc/sys/kernel/random/boot_id.
    pub boot_id: String,
    /// Where the people of this machine live, by name: home directory and primary group. A user that pitool makes
    /// gets what a fact would say of it.
    #[serde(skip)]
    pub people: BTreeMap<String, Person>,
    /// Whose packages of Docker the machine has, or can have: [`DockerSource::of`], asked only when the role docker
    /// is.
    pub docker_source: DockerSource,
}

/// What is known of somebody who has an account.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Person {
    /// The home directory.
    pub home: String,
    /// The primary group's name, or its number where it has no name.
    pub group: String,
}

/// How an image makes its swap.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SwapMechanism {
    /// No tool of the image's own: a swap file and its unit are ours to make.
    #[default]
    None,
    /// Raspberry Pi OS trixie: rpi-swap(7) with drop-ins in /etc/rpi/swap.conf.d.
    RpiSwap,
    /// Raspberry Pi OS up to bookworm: /etc/dphys-swapfile.
    DphysSwapfile,
    /// Swap space that a person set up: an entry of /etc/fstab, or a unit or device that is not pitool's
    /// (`/swapfile` is pitool's). It stays as it is.
    Own,
}

/// Where Docker comes from.
///
/// The one fact that a run may settle: what [`of`](DockerSource::of) answers, the run installs, and from then on
/// dpkg gives the same answer without a question to the network. That keeps it the same before and after a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DockerSource {
    /// Nobody asked.
    #[default]
    Unknown,
    /// Docker's own packages are installed.
    CeInstalled,
    /// The distribution's packages are installed.
    DebianInstalled,
    /// Nothing is installed, and Docker's repository answers.
    CeAnswers,
    /// Nothing is installed, and Docker's repository does not answer.
    CeSilent,
}

/// Boot files that the firmware does not read say so in their first lines (raspberrypi-sys-mods).
const DECOY: &str = "DO NOT EDIT THIS FILE";

/// The vendor's drop-in that keeps the journal in memory.
const VOLATILE_JOURNAL: &str = "40-rpi-volatile-storage.conf";

/// Packages that keep the clock and conflict with systemd-timesyncd, by `Provides: time-daemon`.
const TIME_DAEMONS: &[&str] = &["chrony", "ntpsec", "openntpd", "ntp"];

/// The swap file that pitool makes where there is no other swap.
const SWAP_FILE: &str = "/swapfile";

/// Gathers the facts from files alone, so that it takes no process and a simulated machine can answer.
///
/// In another root nothing is known of kernel, processor and memory: those facts are empty or 0.
pub fn gather(inspect: &dyn Inspect) -> Result<Facts> {
    let live = inspect.live();
    let release = match text(inspect, "/etc/os-release")? {
        Some(release) => release,
        None => text(inspect, "/usr/lib/os-release")?.unwrap_or_default(),
    };
    let release = os_release::parse(&release);
    // Without dpkg it is another system, which `supported` refuses by name.
    let packages =
        if inspect.stat("/var/lib/dpkg/status")?.is_some() { Some(inspect.packages()?) } else { None };
    let installed =
        |name: &str| packages.as_deref().is_some_and(|packages: &Packages| packages.installed(name));
    let processor = cpuinfo::parse(&text(inspect, "/proc/cpuinfo")?.unwrap_or_default());
    let kernel = line(inspect, "/proc/sys/kernel/osrelease")?;
    let container = if live { container(inspect)? } else { String::new() };
    let firmware = firmware(inspect)?;
    Ok(Facts {
        release: leading_number(&release.version_id),
        os: release.id,
        codename: release.codename,
        os_name: release.pretty_name,
        arch: packages.as_deref().map(|packages| packages.native.clone()).unwrap_or_default(),
        kernel_arch: line(inspect, "/proc/sys/kernel/arch")?,
        kernel_modules: !live || !container.is_empty() || kernel_modules(inspect, &kernel)?,
        kernel,
        armv6: processor.armv6,
        model: first_nonempty(line(inspect, "/proc/device-tree/model")?, processor.model),
        memory: proc_meminfo::parse(&text(inspect, "/proc/meminfo")?.unwrap_or_default()).total,
        page_size: inspect.read("/proc/self/auxv")?.and_then(|auxv| page_size(auxv.bytes())).unwrap_or(0),
        cpus: processor.cpus,
        systemd: live && is_directory(inspect, "/run/systemd/system")?,
        container,
        live,
        swap: if installed("rpi-swap") {
            SwapMechanism::RpiSwap
        } else if installed("dphys-swapfile") {
            SwapMechanism::DphysSwapfile
        } else if own_swap(inspect)? {
            SwapMechanism::Own
        } else {
            SwapMechanism::None
        },
        time_daemon: TIME_DAEMONS.iter().find(|name| installed(name)).map_or("", |name| name).to_owned(),
        web_server: match live && !installed("nginx") {
            true => web_server(inspect)?,
            false => String::new(),
        },
        nginx: version(packages.as_deref(), &["nginx"]),
        // The name of the library's package: trixie's, then bookworm's.
        openssl: version(packages.as_deref(), &["libssl3t64", "libssl3"]),
        docker_source: DockerSource::Unknown,
        people: people(inspect)?,
        cloud_init: installed("cloud-init") && !cloud_init_disabled(inspect, firmware.as_deref())?,
        firmware,
        raspberrypi_archive: raspberrypi_archive(inspect)?,
        volatile_journal: volatile_journal(inspect)?,
        sshd_off: installed("openssh-server") && live && sshd_off(inspect)?,
        default_sites: default_sites(inspect)?,
        docker_log_driver: docker_log_driver(inspect)?,
        ipv6_disabled: live
            && inspect.stat("/proc/net/tcp")?.is_some()
            && inspect.stat("/proc/net/tcp6")?.is_none(),
        machine_id: Some(line(inspect, "/etc/machine-id")?)
            .filter(|id| id != "uninitialized")
            .unwrap_or_default(),
        serial: first_nonempty(line(inspect, "/proc/device-tree/serial-number")?, processor.serial),
        boot_id: line(inspect, "/proc/sys/kernel/random/boot_id")?,
    })
}

/// The upstream version of the first of these packages that is installed, `[epoch:]upstream[-debian]`.
fn version(packages: Option<&Packages>, names: &[&str]) -> String {
    let package = names
        .iter()
        .filter_map(|name| packages?.get(name))
        .find(|package| package.state == crate::PackageState::Installed);
    upstream(package.map(|package| package.version.as_str()).unwrap_or_default()).to_owned()
}

/// A version without its epoch and without Debian's part, deb-version(7).
fn upstream(version: &str) -> &str {
    let version = version.rsplit_once('-').map_or(version, |(upstream, _)| upstream);
    version.split_once(':').map_or(version, |(_, upstream)| upstream)
}

/// The version of a package that apt would install by its lists of the moment; empty where it knows none, and in another
/// root, whose programs may be another architecture's.
///
/// # Errors
/// apt-cache cannot be run.
pub fn candidate(inspect: &dyn Inspect, name: &str) -> Result<String> {
    if !inspect.live() {
        return Ok(String::new());
    }
    let output = inspect.ask(&Command::new("apt-cache").args(["policy", name]))?;
    let candidates = apt_cache_policy::candidates(&output.stdout);
    Ok(candidates.get(name).map(|version| upstream(version).to_owned()).unwrap_or_default())
}

/// Who listens on port 80; nginx itself, half installed by a run that was cut off, does not count.
fn web_server(inspect: &dyn Inspect) -> Result<String> {
    let mut sockets = Vec::new();
    for file in ["/proc/net/tcp", "/proc/net/tcp6"] {
        let text = text(inspect, file)?.unwrap_or_default();
        let http = proc_net_tcp::listeners(&text, false).into_iter().filter(|listener| listener.port == 80);
        sockets.extend(http.map(|listener| format!("socket:[{}]", listener.inode)));
    }
    if sockets.is_empty() {
        return Ok(String::new());
    }
    // What cannot be read is another user's, or has ended meanwhile.
    for process in inspect.list("/proc")?.unwrap_or_default() {
        if !process.starts_with(|c: char| c.is_ascii_digit()) {
            continue;
        }
        let directory = format!("/proc/{process}/fd");
        let open = inspect.list(&directory).ok().flatten().unwrap_or_default();
        let listens = open.iter().any(|fd| {
            let link = inspect.stat(&format!("{directory}/{fd}")).ok().flatten().map(|stat| stat.file_type);
            matches!(link, Some(FileType::Link(target)) if sockets.contains(&target))
        });
        if listens {
            let name = line(inspect, &format!("/proc/{process}/comm")).unwrap_or_default();
            return Ok(if name == "nginx" { String::new() } else { name });
        }
    }
    Ok("another program".to_owned())
}

/// Those whom a config may name: root, and who is not the system's (adduser's FIRST_UID).
fn people(inspect: &dyn Inspect) -> Result<BTreeMap<String, Person>> {
    let (passwd, group) = (text(inspect, "/etc/passwd")?, text(inspect, "/etc/group")?);
    // Not the shadow file: nobody asks for passwords here, and only root may read it.
    let accounts = accounts::parse(&passwd.unwrap_or_default(), &group.unwrap_or_default(), "");
    let people = accounts.users.iter().filter(|user| user.uid == 0 || (1000..65534).contains(&user.uid));
    let people = people.map(|user| {
        let group = accounts.groups.iter().find(|group| group.gid == user.gid);
        let group = group.map_or_else(|| user.gid.to_string(), |group| group.name.clone());
        (user.name.clone(), Person { home: user.home.clone(), group })
    });
    Ok(people.collect())
}

/// Refuses a machine that pitool is not made for, with a sentence for people.
pub fn supported(facts: &Facts) -> std::result::Result<(), String> {
    let name = first_nonempty(facts.os_name.clone(), facts.os.clone());
    if !matches!(facts.os.as_str(), "debian" | "raspbian") {
        return Err(format!(
            "This is {name} (ID={}), and pitool sets up Debian and Raspberry Pi OS only: other systems differ in ways \
             that would break it without a word.",
            facts.os
        ));
    }
    if facts.release != 0 && facts.release < 12 {
        return Err(format!(
            "This is {name}, and pitool needs Debian 12 (bookworm) or newer: upgrade the system first."
        ));
    }
    if facts.armv6 {
        let board = if facts.model.is_empty() { "this machine" } else { &facts.model };
        return Err(format!(
            "The processor of {board} is an ARMv6, and pitool needs ARMv7 or newer: use a Raspberry Pi Zero 2, 2, 3, 4 \
             or 5."
        ));
    }
    if !matches!(facts.arch.as_str(), "arm64" | "armhf" | "amd64") {
        let arch = if facts.arch.is_empty() { "unknown" } else { &facts.arch };
        return Err(format!(
            "The architecture of {name} is {arch}, and pitool knows arm64, armhf and amd64 only."
        ));
    }
    if facts.live && !facts.systemd {
        return Err("systemd is not running here, and pitool works through it: boot the machine with systemd, or hand \
                    pitool the root directory of a machine with --root."
            .to_owned());
    }
    Ok(())
}

fn text(inspect: &dyn Inspect, path: &str) -> Result<Option<String>> {
    Ok(inspect.read(path)?.map(|content| String::from_utf8_lossy(content.bytes()).into_owned()))
}

/// A file of one line, without its end; device tree properties end with NUL.
fn line(inspect: &dyn Inspect, path: &str) -> Result<String> {
    Ok(text(inspect, path)?
        .unwrap_or_default()
        .trim_matches(|c: char| c == '\0' || c.is_whitespace())
        .to_owned())
}

fn first_nonempty(one: String, other: String) -> String {
    if one.is_empty() { other } else { one }
}

fn leading_number(version: &str) -> u32 {
    version.split('.').next().and_then(|number| number.parse().ok()).unwrap_or(0)
}

fn is_directory(inspect: &dyn Inspect, path: &str) -> Result<bool> {
    Ok(inspect.stat(path)?.is_some_and(|stat| stat.file_type == FileType::Directory))
}

fn kernel_modules(inspect: &dyn Inspect, kernel: &str) -> Result<bool> {
    Ok(inspect.stat("/proc/modules")?.is_none() || is_directory(inspect, &format!("/lib/modules/{kernel}"))?)
}

/// The page size from the auxiliary vector, getauxval(3): pairs of machine words, `AT_PAGESZ` is 6. The words are
/// those of the program, not of the kernel: 4 bytes wide in a 32-bit userland.
fn page_size(auxv: &[u8]) -> Option<u64> {
    const AT_PAGESZ: u64 = 6;
    let wide = |word: &[u8]| word.try_into().map(u64::from_ne_bytes).ok();
    let narrow = |word: &[u8]| word.try_into().map(u32::from_ne_bytes).map(u64::from).ok();
    let find = |width: usize, read: &dyn Fn(&[u8]) -> Option<u64>| {
        auxv.chunks_exact(2 * width).find_map(|pair| {
            let (key, value) = pair.split_at(width);
            read(value).filter(|size| read(key) == Some(AT_PAGESZ) && size.is_power_of_two() && *size >= 4096)
        })
    };
    find(8, &wide).or_else(|| find(4, &narrow))
}

/// The container manager that systemd noticed, else what the manager told PID 1 (systemd's CONTAINER_INTERFACE), else
/// the mark of one that tells nobody.
fn container(inspect: &dyn Inspect) -> Result<String> {
    let noticed = line(inspect, "/run/systemd/container")?;
    if !noticed.is_empty() {
        return Ok(noticed);
    }
    // Only root may read it; who is not root learns less.
    let environment = match text(inspect, "/proc/1/environ") {
        Err(Error::Path { source, .. }) if source.kind() == std::io::ErrorKind::PermissionDenied => None,
        other => other?,
    };
    let environment = environment.unwrap_or_default();
    if let Some(told) = environment.split('\0').find_map(|variable| variable.strip_prefix("container=")) {
        return Ok(told.to_owned());
    }
    for (mark, manager) in [("/.dockerenv", "docker"), ("/run/.containerenv", "podman")] {
        if inspect.stat(mark)?.is_some() {
            return Ok(manager.to_owned());
        }
    }
    Ok(String::new())
}

fn firmware(inspect: &dyn Inspect) -> Result<Option<String>> {
    for directory in ["/boot/firmware", "/boot"] {
        for file in ["config.txt", "cmdline.txt"] {
            if text(inspect, &format!("{directory}/{file}"))?.is_some_and(|text| !text.contains(DECOY)) {
                return Ok(Some(directory.to_owned()));
            }
        }
    }
    Ok(None)
}

/// The two switches of cloud-init's documentation ("How to disable cloud-init") that outlive a boot.
fn cloud_init_disabled(inspect: &dyn Inspect, firmware: Option<&str>) -> Result<bool> {
    if inspect.stat("/etc/cloud/cloud-init.disabled")?.is_some() {
        return Ok(true);
    }
    let path = match firmware {
        Some(directory) if !inspect.live() => format!("{directory}/cmdline.txt"),
        _ => "/proc/cmdline".to_owned(),
    };
    Ok(cmdline::parse(&text(inspect, &path)?.unwrap_or_default()).has("cloud-init=disabled"))
}

/// Swap space that is in use, or comes with the next boot, and is not the file that pitool makes.
fn own_swap(inspect: &dyn Inspect) -> Result<bool> {
    let fstab = text(inspect, "/etc/fstab")?.unwrap_or_default();
    if fstab::parse(&fstab).iter().any(|mount| mount.kind == "swap" && mount.source != SWAP_FILE) {
        return Ok(true);
    }
    let units = inspect.list("/etc/systemd/system")?.unwrap_or_default();
    if units.iter().any(|name| name.ends_with(".swap") && name != "swapfile.swap") {
        return Ok(true);
    }
    if !inspect.live() {
        return Ok(false);
    }
    let swaps = text(inspect, "/proc/swaps")?.unwrap_or_default();
    Ok(proc_swaps::parse(&swaps).iter().any(|swap| swap.path != SWAP_FILE))
}

fn raspberrypi_archive(inspect: &dyn Inspect) -> Result<bool> {
    let host =
        |uri: &String| uri.split_once("://").and_then(|(_, rest)| rest.split('/').next()).map(str::to_owned);
    let is_archive = |uri: &String| {
        matches!(host(uri).as_deref(), Some("archive.raspberrypi.com" | "archive.raspberrypi.org"))
    };
    Ok(apt_sources::read(inspect)?
        .iter()
        .any(|(_, source)| source.enabled && source.uris.iter().any(is_archive)))
}

/// systemd's own links say it: what is enabled, and what runs (`/run/systemd/units`).
fn sshd_off(inspect: &dyn Inspect) -> Result<bool> {
    for path in [
        "/etc/systemd/system/multi-user.target.wants/ssh.service",
        "/etc/systemd/system/sockets.target.wants/ssh.socket",
        "/run/systemd/units/invocation:ssh.service",
        "/run/systemd/units/invocation:ssh.socket",
    ] {
        if inspect.stat(path)?.is_some() {
            return Ok(false);
        }
    }
    // Where systemd says nothing of any unit, it says nothing of this one.
    Ok(inspect.stat("/run/systemd/units")?.is_some())
}

/// A driver beside a limit that it does not know is nobody's choice: the daemon does not start with it (Docker's manual,
/// "Configure logging drivers").
fn docker_log_driver(inspect: &dyn Inspect) -> Result<String> {
    let Some(content) = inspect.read("/etc/docker/daemon.json")? else { return Ok(String::new()) };
    // What is no JSON, the daemon complains of.
    let daemon: serde_json::Value = serde_json::from_slice(content.bytes()).unwrap_or_default();
    let driver = daemon["log-driver"].as_str().unwrap_or_default();
    let limited = daemon["log-opts"].get("max-size").is_some();
    let chosen = driver == "local" || (driver != "json-file" && !limited);
    Ok(if chosen { driver.to_owned() } else { String::new() })
}

/// `listen … default_server` in what nginx includes, but for Debian's own site and ours.
fn default_sites(inspect: &dyn Inspect) -> Result<BTreeMap<u16, String>> {
    let mut sites = BTreeMap::new();
    for dir in ["/etc/nginx/sites-enabled", "/etc/nginx/conf.d"] {
        for name in inspect.list(dir)?.unwrap_or_default() {
            let path = format!("{dir}/{name}");
            let included = dir.ends_with("sites-enabled") || name.ends_with(".conf");
            if !included || path == "/etc/nginx/sites-enabled/default" {
                continue;
            }
            // A directory or a link that leads nowhere is nginx's to complain of.
            let Ok(Some(content)) = inspect.read(&path) else { continue };
            let text = String::from_utf8_lossy(content.bytes()).into_owned();
            if text.starts_with("# Managed by pitool") {
                continue;
            }
            let bare: Vec<&str> =
                text.lines().map(|line| line.split('#').next().unwrap_or_default()).collect();
            let bare = bare.join("\n");
            for directive in bare.split([';', '{', '}']) {
                let mut words = directive.split_whitespace();
                if words.next() != Some("listen") {
                    continue;
                }
                let address = words.next().unwrap_or_default();
                if words.any(|word| matches!(word, "default_server" | "default")) {
                    let port = address.rsplit(':').next().and_then(|port| port.parse().ok());
                    sites.entry(port.unwrap_or(80)).or_insert_with(|| path.clone());
                }
            }
        }
    }
    Ok(sites)
}

/// A file of this name in a directory of more weight replaces the vendor's, systemd.unit(5).
fn volatile_journal(inspect: &dyn Inspect) -> Result<bool> {
    for directory in ["/etc", "/run", "/usr/local/lib", "/usr/lib"] {
        let path = format!("{directory}/systemd/journald.conf.d/{VOLATILE_JOURNAL}");
        let Some(stat) = inspect.stat(&path)? else { continue };
        if stat.file_type == FileType::Link("/dev/null".to_owned()) {
            return Ok(false);
        }
        let text = text(inspect, &path)?.unwrap_or_default();
        return Ok(text.lines().any(|line| line.trim() == "Storage=volatile"));
    }
    Ok(false)
}

#[cfg(test)]
mod tests;
