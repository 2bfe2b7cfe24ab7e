//! Role common, which replaces the Ansible role `common`: packages, time zone, language, name, swap, kernel
//! values, people, and the boot settings of a Raspberry Pi.
//!
//! Where it differs on purpose:
//! - Nothing is upgraded unless `upgrade` says so; the old role ran a dist-upgrade each time. Security updates are
//!   the work of unattended-upgrades.
//! - Packages that are gone or empty on Debian 13 (software-properties-common, apt-transport-https) are not in the
//!   default list, nor is a compiler.
//! - Swap comes from the machine's own mechanism where it has one (trap T27); the old role gave `dd` four commands.
//! - Kernel values are in a file of their own in sysctl.d, because nobody reads /etc/sysctl.conf on Debian 13
//!   (trap T26), and in force at once.
//! - LANG is set, not only generated. The host name survives cloud-init (trap T9).
//! - New: users with keys, clock, memory cgroup (traps T1, T2, T7), watchdog (trap T8).

use askama::Template;
use pitool_config::Settings;
use pitool_config::settings::{Common, Upgrade as Upgrades};
use pitool_config::values::{HostName, Locale as Language, Swap, TimeZone};
use pitool_engine::Resource;
use pitool_host::parse::{glob, sysctl_d};
use pitool_host::{Facts, SwapMechanism};
use pitool_resources::{
    Directory, Edit, File, Hostname, Link, Locale, Package, Part, SwapFile, Sysctl, Unit, Upgrade,
};

use crate::Wishes;
use crate::accounts::{account, keys, sudoers};
use crate::proofs::{
    ClockSynchronized, KernelValue, KernelValueAtBoot, LocaleUsable, MemoryCgroup, SwapSpace, TimeZoneSet,
    UnitRunning, WatchdogArmed,
};
use crate::templates::text;

/// Where our kernel values are: after the distribution's files (10, 50), before a person's own 99.
const SYSCTL_FILE: &str = "/etc/sysctl.d/60-pitool.conf";

/// The swap file on a machine without a mechanism of its own; its unit must be called after it
/// (systemd.swap(5)).
const SWAP_FILE: &str = "/swapfile";

/// How long a hung machine has before the watchdog resets it. The Pi's hardware counts to 16 s at most.
const WATCHDOG_SECONDS: u32 = 15;

/// What the role wants.
pub fn wishes(settings: &Settings, facts: &Facts) -> Wishes {
    let common = &settings.common;
    let mut wishes = Wishes::default();
    packages(common, &mut wishes);
    if let Some(zone) = &common.timezone {
        timezone(zone, facts, &mut wishes);
    }
    if let Some(language) = &common.locale {
        locale(language, &mut wishes);
    }
    if let Some(name) = &common.hostname {
        hostname(name, facts, &mut wishes);
    }
    swap(common.swap, facts, &mut wishes);
    sysctl(common, &mut wishes);
    if common.packages.iter().any(|package| package.as_str() == "cron") {
        wishes.want(Unit::new("cron.service"));
        wishes.prove(UnitRunning { name: "cron.service".into() });
    }
    if common.time_sync {
        time_sync(facts, &mut wishes);
    }
    users(settings, facts, &mut wishes);
    boot(common, facts, &mut wishes);
    wishes
}

fn packages(common: &Common, wishes: &mut Wishes) {
    for package in &common.packages {
        wishes.want(Package::new(package.as_str()));
    }
    match common.upgrade {
        Upgrades::None => {}
        Upgrades::Safe => wishes.want(Upgrade::safe()),
        Upgrades::Full => wishes.want(Upgrade::full()),
    }
}

fn timezone(zone: &TimeZone, facts: &Facts, wishes: &mut Wishes) {
    wishes.want(Package::new("tzdata"));
    wishes.want(Link::new("/etc/localtime", format!("/usr/share/zoneinfo/{zone}")));
    // The link alone counts for systemd and libc. Debian 12 and before also have the name in a file, which their
    // tzdata keeps and some programs read; Debian 13 has done away with it.
    if (1..=12).contains(&facts.release) {
        wishes.want(File::new("/etc/timezone", format!("{zone}\n")));
    }
    wishes.prove(TimeZoneSet { name: zone.to_string() });
}

fn locale(language: &Language, wishes: &mut Wishes) {
    // C.UTF-8 is part of libc; locale-gen does not even know it.
    if language.as_str() != "C.UTF-8" {
        wishes.want(Package::new("locales"));
        wishes.want(Locale::new(language.as_str()));
    }
    let line = Edit::Line { prefix: "LANG=".into(), line: format!("LANG={language}") };
    // Debian 13 has a link here, to /etc/locale.conf; the part follows it.
    wishes.want(Part::new("/etc/default/locale", line));
    wishes.prove(LocaleUsable { name: language.to_string() });
}

fn hostname(name: &HostName, facts: &Facts, wishes: &mut Wishes) {
    if facts.cloud_init {
        let config = include_str!("../templates/common/99-pitool-hostname.cfg");
        wishes.want(File::new("/etc/cloud/cloud.cfg.d/99-pitool-hostname.cfg", config));
        wishes.note(
            "cloud-init is told to keep the host name; if its user-data says `manage_etc_hosts: true`, it still \
             writes /etc/hosts at every boot: remove that line from the user-data on the boot partition",
        );
    }
    wishes.want(Hostname::new(name.as_str()));
    let names = match name.as_str().split_once('.') {
        Some((short, _)) => format!("{name} {short}"),
        None => name.to_string(),
    };
    let line = Edit::Line { prefix: "127.0.1.1".into(), line: format!("127.0.1.1\t{names}") };
    wishes.want(Part::new("/etc/hosts", line));
    wishes.prove(KernelValue { key: "kernel.hostname".into(), value: name.to_string() });
}

#[derive(Template)]
#[template(path = "common/60-pitool-swap.conf", escape = "none")]
struct RpiSwapConf {
    /// Size in MiB; `None` for no swap at all.
    size: Option<u64>,
}

fn swap(swap: Swap, facts: &Facts, wishes: &mut Wishes) {
    if !facts.container.is_empty() {
        wishes.note("swap is left alone: in a container it belongs to the machine outside");
        return;
    }
    let size = match swap {
        Swap::Size(size) => Some(size.bytes() >> 20),
        Swap::Auto | Swap::None => None,
    };
    match (facts.swap, swap) {
        (SwapMechanism::RpiSwap | SwapMechanism::DphysSwapfile, Swap::Auto) => {}
        (SwapMechanism::RpiSwap, _) => {
            wishes.want(Directory::new("/etc/rpi/swap.conf.d"));
            wishes.want(File::new("/etc/rpi/swap.conf.d/60-pitool.conf", text(&RpiSwapConf { size })));
            wishes.note("rpi-swap sets up swap at boot: a new size comes into force with the next reboot");
        }
        (SwapMechanism::DphysSwapfile, Swap::None) => {
            wishes.want(Unit::stopped("dphys-swapfile.service"));
        }
        (SwapMechanism::DphysSwapfile, Swap::Size(_)) => {
            let size = size.unwrap_or_default();
            let line = |key: &str| {
                Part::new(
                    "/etc/dphys-swapfile",
                    Edit::Line { prefix: format!("{key}="), line: format!("{key}={size}") },
                )
            };
            // The second one is a limit, 2048 by default, that would cut the first one short.
            let parts = [line("CONF_SWAPSIZE"), line("CONF_MAXSWAP")];
            let unit = Unit::new("dphys-swapfile.service").reads(parts.iter().map(Resource::id));
            parts.into_iter().for_each(|part| wishes.want(part));
            wishes.want(unit);
        }
        (SwapMechanism::None, Swap::None) => {}
        (SwapMechanism::None, Swap::Auto | Swap::Size(_)) => {
            let bytes = size.unwrap_or_else(|| swap_for(facts.memory)) << 20;
            wishes.want(SwapFile::new(SWAP_FILE, bytes));
            let file = File::new(
                "/etc/systemd/system/swapfile.swap",
                include_str!("../templates/common/swapfile.swap"),
            );
            let unit = Unit::new("swapfile.swap").reads([file.id()]);
            wishes.want(file);
            wishes.want(unit);
        }
        (SwapMechanism::Own, Swap::Auto) => {}
        (SwapMechanism::Own, _) => {
            wishes.note("swap is left alone: this machine has swap space that somebody set up by hand");
        }
    }
    let promised = match (facts.swap, swap) {
        (SwapMechanism::Own, _) => return,
        (SwapMechanism::None, Swap::Auto) => Some(swap_for(facts.memory) << 20),
        (_, Swap::Auto) => None,
        (_, Swap::None) => Some(0),
        (_, Swap::Size(_)) => size.map(|mebibytes| mebibytes << 20),
    };
    wishes.prove(SwapSpace { size: promised, at_boot: facts.swap == SwapMechanism::RpiSwap });
}

/// How much swap a machine with so much memory gets, in MiB: as much again, between 512 MiB and 2 GiB.
///
/// The kernel's idea of the memory moves by some MiB from version to version; rounding it up keeps such a move from
/// making the swap file anew.
fn swap_for(memory: u64) -> u64 {
    (memory >> 20).div_ceil(256).saturating_mul(256).clamp(512, 2048)
}

#[derive(Template)]
#[template(path = "common/60-pitool-sysctl.conf", escape = "none")]
struct SysctlConf {
    values: Vec<(String, String)>,
}

fn sysctl(common: &Common, wishes: &mut Wishes) {
    if common.sysctl.is_empty() {
        return;
    }
    let values: Vec<(String, String)> =
        common.sysctl.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect();
    wishes.want(File::new(SYSCTL_FILE, text(&SysctlConf { values: values.clone() })));
    let (patterns, values): (Vec<_>, Vec<_>) = values.into_iter().partition(|(key, _)| glob::is_pattern(key));
    for (key, value) in values {
        // A key with both separators has a spelling of its own for the path below /proc/sys.
        let path = if key.contains('/') { sysctl_d::normal_key(&key) } else { key.clone() };
        wishes.want(Sysctl::new(path, value.clone()));
        wishes.prove(KernelValue { key: key.clone(), value: value.clone() });
        wishes.prove(KernelValueAtBoot { key, value });
    }
    if !patterns.is_empty() {
        let keys: Vec<String> = patterns.into_iter().map(|(key, _)| key).collect();
        wishes
            .note(format!("{} stands for many kernel values: in force with the next boot", keys.join(", ")));
    }
}

fn time_sync(facts: &Facts, wishes: &mut Wishes) {
    if !facts.container.is_empty() {
        wishes.note("the clock is left alone: in a container it belongs to the machine outside");
        return;
    }
    if facts.time_daemon.is_empty() {
        wishes.want(Package::new("systemd-timesyncd"));
        wishes.want(Unit::new("systemd-timesyncd.service"));
    } else {
        wishes.note(format!("{} keeps the clock on this machine and goes on doing so", facts.time_daemon));
    }
    wishes.prove(ClockSynchronized);
}

fn users(settings: &Settings, facts: &Facts, wishes: &mut Wishes) {
    for (name, person) in &settings.common.users {
        wishes.want(account(name, settings));
        if let Some((directory, keys)) = keys(name, person, facts) {
            wishes.want(directory);
            wishes.want(keys);
        }
        if person.sudo {
            wishes.want(Package::new("sudo"));
            wishes.want(sudoers(name));
        }
    }
}

#[derive(Template)]
#[template(path = "common/60-pitool-watchdog.conf", escape = "none")]
struct WatchdogConf {
    seconds: u32,
}

/// The settings that a boot must come before: the memory cgroup and the watchdog.
fn boot(common: &Common, facts: &Facts, wishes: &mut Wishes) {
    if let (true, Some(firmware)) = (common.memory_cgroup, &facts.firmware) {
        // Only this word: the kernel reads from left to right, and the firmware puts its `cgroup_disable=memory`
        // before what this file says (trap T1).
        let words = Edit::Words(vec!["cgroup_enable=memory".into()]);
        wishes.want(Part::new(format!("{firmware}/cmdline.txt"), words).of_existing());
        wishes.prove(MemoryCgroup);
    }
    if !common.watchdog {
        return;
    }
    if !facts.container.is_empty() {
        wishes.note("the watchdog is left alone: in a container it belongs to the machine outside");
        return;
    }
    if let Some(firmware) = &facts.firmware {
        let line = Edit::FirmwareLine("dtparam=watchdog=on".into());
        wishes.want(Part::new(format!("{firmware}/config.txt"), line).of_existing());
    }
    wishes.want(Directory::new("/etc/systemd/system.conf.d"));
    wishes.want(File::new(
        "/etc/systemd/system.conf.d/60-pitool-watchdog.conf",
        text(&WatchdogConf { seconds: WATCHDOG_SECONDS }),
    ));
    wishes.prove(WatchdogArmed { seconds: WATCHDOG_SECONDS });
}

#[cfg(test)]
mod tests {
    use super::swap_for;

    #[test]
    fn swap_is_as_much_again_within_limits() {
        for (memory_mib, swap_mib) in
            [(0, 512), (416, 512), (922, 1024), (924, 1024), (1850, 2048), (7800, 2048)]
        {
            assert_eq!(swap_for(memory_mib << 20), swap_mib, "{memory_mib}");
        }
    }
}
