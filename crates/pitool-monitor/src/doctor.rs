//! `pitool doctor`: every signal with its source and its value, and the known traps of these machines.
//!
//! A silent zero must not pass for health: what could not be read says so, with the file or the question that it came from. A trap is
//! something that has surprised people on Debian or Raspberry Pi OS again and again; each is looked for, and is fine, found with what
//! to do, not here, or not known.

mod boot;
mod network;
mod packages;
mod running;
mod security;
#[cfg(test)]
mod tests;
mod trap;

use serde::Serialize;

use trap::Trap;
pub use trap::{Look, Verdict};

use crate::checks::bytes;
use crate::kernel::text;
use crate::sample::Reading;

/// A trap that was looked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Its number, by which the source speaks of it.
    pub number: u8,
    /// Its name.
    pub name: &'static str,
    /// What became of the look.
    #[serde(flatten)]
    pub verdict: Verdict,
}

/// A signal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Signal {
    /// What it is.
    pub name: &'static str,
    /// Where it comes from.
    pub source: &'static str,
    /// Its value; `None` where it could not be had.
    pub value: Option<String>,
    /// Why not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

/// Looks for every trap, in the order of their numbers.
pub fn traps(look: &Look<'_>) -> Vec<Finding> {
    let all = [boot::TRAPS, packages::TRAPS, security::TRAPS, network::TRAPS, running::TRAPS];
    let mut traps: Vec<&Trap> = all.into_iter().flatten().collect();
    traps.sort_by_key(|trap| trap.number);
    traps
        .iter()
        .map(|trap| Finding { number: trap.number, name: trap.name, verdict: (trap.look)(look) })
        .collect()
}

/// Every signal.
pub fn signals(look: &Look<'_>) -> Vec<Signal> {
    let sample = look.sample;
    let mut signals = Vec::new();
    let mut add = |name: &'static str, source: &'static str, value: Reading<String>| {
        let (value, why) = match value {
            Ok(value) => (Some(value), None),
            Err(why) => (None, Some(why)),
        };
        signals.push(Signal { name, source, value, why });
    };
    let none = |what: &str| Err::<String, String>(what.to_owned());
    add(
        "board",
        "device tree",
        match look.facts.model.as_str() {
            "" => none("no device tree names one"),
            model => Ok(model.to_owned()),
        },
    );
    add(
        "processor time",
        "/proc/stat",
        sample
            .cpu
            .as_ref()
            .map(|times| format!("{:.0} s since boot, {:.0} s idle", times.total(), times.idle))
            .map_err(Clone::clone),
    );
    add("load", "/proc/loadavg", sample.load.as_ref().map(|load| format!("{load:?}")).map_err(Clone::clone));
    add(
        "pressure",
        "/proc/pressure/cpu",
        text(look.host, "/proc/pressure/cpu")
            .and_then(|text| text.lines().next().map(str::to_owned))
            .ok_or_else(|| "the kernel does not measure it (psi=1 on its command line)".to_owned()),
    );
    add(
        "memory",
        "/proc/meminfo",
        sample.memory.as_ref().map_err(Clone::clone).and_then(|memory| {
            let of = |name: &str| memory.get(name).map(bytes).ok_or_else(|| format!("no {name}"));
            Ok(format!("{} of {} available", of("MemAvailable")?, of("MemTotal")?))
        }),
    );
    add(
        "killed for want of memory",
        "/proc/vmstat oom_kill",
        sample
            .oom_kills
            .map(|kills| format!("{kills} since boot"))
            .ok_or_else(|| "the kernel does not count it".to_owned()),
    );
    add(
        "mounts",
        "/proc/1/mountinfo, statvfs(3)",
        sample.disks.as_ref().map_err(Clone::clone).map(|disks| {
            let one = |(mount, usage): &(crate::kernel::mounts::Mount, Reading<crate::system::Usage>)| {
                let free = usage
                    .as_ref()
                    .map_or_else(Clone::clone, |usage| format!("{} free", bytes(usage.available)));
                format!("{} {}", mount.point, free)
            };
            disks.iter().map(one).collect::<Vec<_>>().join(", ")
        }),
    );
    add(
        "file system errors",
        "/sys/fs/ext4/*/errors_count",
        match sample.ext4.as_slice() {
            [] => none("no ext4 is mounted, or its counters are hidden"),
            ext4 => Ok(ext4
                .iter()
                .map(|one| format!("{}: {}", one.device, one.errors))
                .collect::<Vec<_>>()
                .join(", ")),
        },
    );
    add("bytes written in its life", "/sys/fs/ext4/*/lifetime_write_kbytes", {
        let known: Vec<String> = sample
            .ext4
            .iter()
            .filter_map(|one| Some(format!("{}: {}", one.device, bytes(one.lifetime_written?))))
            .collect();
        if known.is_empty() { none("no ext4 says") } else { Ok(known.join(", ")) }
    });
    add(
        "wear of eMMC",
        "/sys/block/mmcblk*/device/life_time",
        match sample.emmc.as_slice() {
            [] => none("no eMMC; SD cards do not say"),
            emmc => Ok(emmc
                .iter()
                .map(|one| format!("{}: {} %", one.device, one.used))
                .collect::<Vec<_>>()
                .join(", ")),
        },
    );
    add(
        "temperature",
        "/sys/class/thermal, /sys/class/hwmon",
        sample
            .temperature
            .map(|celsius| format!("{celsius:.1} °C"))
            .ok_or_else(|| "no sensor of the processor".to_owned()),
    );
    add(
        "throttling",
        "/dev/vcio, else vcgencmd get_throttled",
        match &sample.throttled {
            Ok(Some(bits)) => Ok(format!("{:#x}", bits.0)),
            Ok(None) => none("no firmware of a Pi"),
            Err(why) => Err(why.clone()),
        },
    );
    add(
        "voltage alarm",
        "/sys/class/hwmon/*/in0_lcrit_alarm (rpi_volt)",
        sample
            .low_voltage
            .map(|low| if low { "low now".to_owned() } else { "not low".to_owned() })
            .ok_or_else(|| "no chip rpi_volt".to_owned()),
    );
    add(
        "kernel's log",
        "/dev/kmsg",
        crate::event::KernelLog::open("/dev/kmsg")
            .map(|_| "can be read".to_owned())
            .map_err(|error| error.to_string()),
    );
    add(
        "clock",
        "adjtimex(2)",
        sample.clock.as_ref().map_err(Clone::clone).map(|clock| {
            format!(
                "{}, {:.3} s off",
                if clock.synchronized { "in step" } else { "not in step" },
                clock.offset
            )
        }),
    );
    add(
        "units",
        "systemctl list-units",
        sample.units.as_ref().map_err(Clone::clone).map(|units| {
            format!("{}, {} failed", units.len(), units.iter().filter(|unit| unit.active == "failed").count())
        }),
    );
    add(
        "containers",
        "Docker's socket",
        match &sample.docker {
            crate::docker::Docker::Absent => none("there is no socket"),
            crate::docker::Docker::Silent(why) => Err(why.clone()),
            crate::docker::Docker::Answers(containers) => Ok(containers.len().to_string()),
        },
    );
    add(
        "listening ports",
        "/proc/net/tcp, tcp6, udp, udp6",
        sample.listeners.as_ref().map_err(Clone::clone).map(|found| {
            format!(
                "{}, {} of them not on loopback",
                found.len(),
                found.iter().filter(|one| one.is_public()).count()
            )
        }),
    );
    add(
        "backups",
        crate::records::BACKUP,
        sample.backups.as_ref().map_err(Clone::clone).and_then(|sets| {
            sets.as_ref()
                .map(|sets| {
                    format!("{} sets, {} targets besides this machine", sets.sets.len(), sets.targets.len())
                })
                .ok_or_else(|| "not configured".to_owned())
        }),
    );
    add(
        "certificates",
        crate::records::CERTIFICATES,
        sample.certificates.as_ref().map_err(Clone::clone).and_then(|found| {
            found.as_ref().map(|found| found.len().to_string()).ok_or_else(|| "not configured".to_owned())
        }),
    );
    add(
        "pending reboot",
        "/run/reboot-required, /usr/lib/modules",
        Ok(sample.reboot.clone().unwrap_or_else(|| "none".to_owned())),
    );
    signals
}
