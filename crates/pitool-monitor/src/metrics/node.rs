//! node_exporter's metrics: the rows that "Node Exporter Full" (dashboard 1860) opens with, and the cheap ones beside them.
//!
//! Each collector reads its files anew at every scrape, as node_exporter's do, so that rates are true. One that finds nothing to
//! read says so in `node_scrape_collector_success` and writes no value.

use std::time::Instant;

use pitool_host::Inspect;

use super::{Exposition, Kind};
use crate::kernel::memory::Memory;
use crate::kernel::{cpu, disk, names, network, number, required, text, thermal};
use crate::sample::mounts;
use crate::system::System;
use crate::units::Unit;

type Collected = Result<(), String>;

/// Writes them all. `units` is what systemd said last.
pub fn write(host: &dyn Inspect, system: &dyn System, units: Option<&[Unit]>, text: &mut Exposition) {
    type Collector<'c> = (&'static str, &'c dyn Fn(&mut Exposition) -> Collected);
    let collectors: [Collector<'_>; 15] = [
        ("cpu", &|text| processors(host, text)),
        ("cpufreq", &|text| frequencies(host, text)),
        ("diskstats", &|text| disks(host, text)),
        ("filefd", &|text| files(host, text)),
        ("filesystem", &|text| filesystems(host, system, text)),
        ("hwmon", &|text| chips(host, text)),
        ("loadavg", &|text| load(host, text)),
        ("meminfo", &|text| memory(host, text)),
        ("netclass", &|text| interfaces(host, text)),
        ("netdev", &|text| traffic(host, text)),
        ("pressure", &|text| pressure(host, text)),
        ("thermal_zone", &|text| zones(host, text)),
        ("timex", &|text| clock(system, text)),
        ("uname", &|text| uname(host, text)),
        ("vmstat", &|text| vmstat(host, text)),
    ];
    let mut outcomes = Vec::new();
    for (name, collect) in collectors {
        let started = Instant::now();
        let outcome = collect(text);
        outcomes.push((name, started.elapsed().as_secs_f64(), outcome.is_ok()));
    }
    let now = host.now();
    text.one(
        "node_time_seconds",
        Kind::Gauge,
        "System time in seconds since epoch (1970).",
        now.as_millisecond() as f64 / 1000.0,
    );
    if let Some(units) = units {
        let metric = text.metric("node_systemd_units", Kind::Gauge, "Summary of systemd unit states");
        for state in ["activating", "active", "deactivating", "failed", "inactive"] {
            let count = units.iter().filter(|unit| unit.active == state).count();
            metric.value(&[("state", state)], count as f64);
        }
    }
    let help = "node_exporter: Duration of a collector scrape.";
    let metric = text.metric("node_scrape_collector_duration_seconds", Kind::Gauge, help);
    for (name, seconds, _) in &outcomes {
        metric.value(&[("collector", name)], *seconds);
    }
    let help = "node_exporter: Whether a collector succeeded.";
    let metric = text.metric("node_scrape_collector_success", Kind::Gauge, help);
    for (name, _, ok) in &outcomes {
        metric.value(&[("collector", name)], f64::from(u8::from(*ok)));
    }
}

fn processors(host: &dyn Inspect, text: &mut Exposition) -> Collected {
    let stat = cpu::stat(&required(host, "/proc/stat")?);
    let metric = text.metric(
        "node_cpu_guest_seconds_total",
        Kind::Counter,
        "Seconds the CPUs spent in guests (VMs) for each mode.",
    );
    for (cpu, times) in &stat.each {
        metric.value(&[("cpu", cpu), ("mode", "nice")], times.guest_nice);
        metric.value(&[("cpu", cpu), ("mode", "user")], times.guest);
    }
    let metric = text.metric("node_cpu_seconds_total", Kind::Counter, "Seconds the CPUs spent in each mode.");
    for (cpu, times) in &stat.each {
        let modes = [
            ("idle", times.idle),
            ("iowait", times.iowait),
            ("irq", times.irq),
            ("nice", times.nice),
            ("softirq", times.softirq),
            ("steal", times.steal),
            ("system", times.system),
            ("user", times.user),
        ];
        for (mode, seconds) in modes {
            metric.value(&[("cpu", cpu), ("mode", mode)], seconds);
        }
    }
    let number = |value: Option<u64>| value.map(|value| value as f64);
    text.some("node_boot_time_seconds", Kind::Gauge, "Node boot time, in unixtime.", number(stat.boot_time));
    text.some(
        "node_context_switches_total",
        Kind::Counter,
        "Total number of context switches.",
        number(stat.context_switches),
    );
    text.some("node_forks_total", Kind::Counter, "Total number of forks.", number(stat.forks));
    text.some(
        "node_intr_total",
        Kind::Counter,
        "Total number of interrupts serviced.",
        number(stat.interrupts),
    );
    text.some(
        "node_procs_blocked",
        Kind::Gauge,
        "Number of processes blocked waiting for I/O to complete.",
        number(stat.blocked),
    );
    text.some(
        "node_procs_running",
        Kind::Gauge,
        "Number of processes in runnable state.",
        number(stat.running),
    );
    Ok(())
}

fn frequencies(host: &dyn Inspect, text: &mut Exposition) -> Collected {
    let found = thermal::frequencies(host);
    if found.is_empty() {
        return Err("no processor says how fast it runs".to_owned());
    }
    let metric = text.metric(
        "node_cpu_scaling_frequency_hertz",
        Kind::Gauge,
        "Current scaled CPU thread frequency in hertz.",
    );
    for (cpu, hertz) in found {
        metric.value(&[("cpu", &cpu)], hertz);
    }
    Ok(())
}

fn disks(host: &dyn Inspect, text: &mut Exposition) -> Collected {
    let disks = disk::diskstats(&required(host, "/proc/diskstats")?);
    type Field = fn(&disk::Disk) -> f64;
    let fields: [(&str, Kind, &str, Field); 8] = [
        ("node_disk_io_now", Kind::Gauge, "The number of I/Os currently in progress.", |disk| {
            disk.in_progress as f64
        }),
        ("node_disk_io_time_seconds_total", Kind::Counter, "Total seconds spent doing I/Os.", |disk| {
            disk.busy_time
        }),
        (
            "node_disk_read_bytes_total",
            Kind::Counter,
            "The total number of bytes read successfully.",
            |disk| disk.read_bytes as f64,
        ),
        (
            "node_disk_read_time_seconds_total",
            Kind::Counter,
            "The total number of seconds spent by all reads.",
            |disk| disk.read_time,
        ),
        (
            "node_disk_reads_completed_total",
            Kind::Counter,
            "The total number of reads completed successfully.",
            |disk| disk.reads as f64,
        ),
        (
            "node_disk_write_time_seconds_total",
            Kind::Counter,
            "This is the total number of seconds spent by all writes.",
            |disk| disk.write_time,
        ),
        (
            "node_disk_writes_completed_total",
            Kind::Counter,
            "The total number of writes completed successfully.",
            |disk| disk.writes as f64,
        ),
        (
            "node_disk_written_bytes_total",
            Kind::Counter,
            "The total number of bytes written successfully.",
            |disk| disk.written_bytes as f64,
        ),
    ];
    for (name, kind, help, field) in fields {
        let metric = text.metric(name, kind, help);
        for disk in &disks {
            metric.value(&[("device", &disk.name)], field(disk));
        }
    }
    Ok(())
}

fn files(host: &dyn Inspect, text: &mut Exposition) -> Collected {
    let read = required(host, "/proc/sys/fs/file-nr")?;
    let mut numbers = read.split_ascii_whitespace().map_while(|word| word.parse::<f64>().ok());
    text.some("node_filefd_allocated", Kind::Gauge, "File descriptor statistics: allocated.", numbers.next());
    text.some("node_filefd_maximum", Kind::Gauge, "File descriptor statistics: maximum.", numbers.nth(1));
    Ok(())
}

fn filesystems(host: &dyn Inspect, system: &dyn System, text: &mut Exposition) -> Collected {
    let found: Vec<_> = mounts(host)?
        .into_iter()
        .filter(|mount| mount.counts() && !mount.is_remote())
        .map(|mount| {
            let usage = system.usage(&mount.point);
            (mount, usage)
        })
        .collect();
    type Field = fn(&crate::system::Usage) -> u64;
    let fields: [(&str, &str, Field); 5] = [
        ("node_filesystem_avail_bytes", "Filesystem space available to non-root users in bytes.", |usage| {
            usage.available
        }),
        ("node_filesystem_files", "Filesystem total file nodes.", |usage| usage.files),
        ("node_filesystem_files_free", "Filesystem total free file nodes.", |usage| usage.files_free),
        ("node_filesystem_free_bytes", "Filesystem free space in bytes.", |usage| usage.free),
        ("node_filesystem_size_bytes", "Filesystem size in bytes.", |usage| usage.size),
    ];
    for (name, help, field) in fields {
        let metric = text.metric(name, Kind::Gauge, help);
        for (mount, usage) in &found {
            let labels =
                [("device", mount.device.as_str()), ("fstype", &mount.kind), ("mountpoint", &mount.point)];
            if let Ok(usage) = usage {
                metric.value(&labels, field(usage) as f64);
            }
        }
    }
    let metric = text.metric(
        "node_filesystem_device_error",
        Kind::Gauge,
        "Whether an error occurred while getting statistics for the given device.",
    );
    for (mount, usage) in &found {
        let labels =
            [("device", mount.device.as_str()), ("fstype", &mount.kind), ("mountpoint", &mount.point)];
        metric.value(&labels, f64::from(u8::from(usage.is_err())));
    }
    let metric = text.metric("node_filesystem_readonly", Kind::Gauge, "Filesystem read-only status.");
    for (mount, _) in &found {
        let labels =
            [("device", mount.device.as_str()), ("fstype", &mount.kind), ("mountpoint", &mount.point)];
        metric.value(&labels, f64::from(u8::from(mount.read_only)));
    }
    Ok(())
}

fn chips(host: &dyn Inspect, text: &mut Exposition) -> Collected {
    let chips = thermal::chips(host);
    if chips.is_empty() {
        return Err("there is no sensor chip".to_owned());
    }
    let metric =
        text.metric("node_hwmon_chip_names", Kind::Gauge, "Annotation metric for human-readable chip names");
    for chip in chips.iter().filter(|chip| !chip.name.is_empty()) {
        metric.value(&[("chip", &chip.chip), ("chip_name", &chip.name)], 1.0);
    }
    let metric = text.metric(
        "node_hwmon_fan_rpm",
        Kind::Gauge,
        "Hardware monitor for fan revolutions per minute (input)",
    );
    for chip in &chips {
        for (sensor, rpm) in &chip.fans {
            metric.value(&[("chip", &chip.chip), ("sensor", sensor)], *rpm);
        }
    }
    let metric =
        text.metric("node_hwmon_temp_celsius", Kind::Gauge, "Hardware monitor for temperature (input)");
    for chip in &chips {
        for (sensor, celsius) in &chip.temperatures {
            metric.value(&[("chip", &chip.chip), ("sensor", sensor)], *celsius);
        }
    }
    Ok(())
}

fn load(host: &dyn Inspect, text: &mut Exposition) -> Collected {
    let [one, five, fifteen] = cpu::load(&required(host, "/proc/loadavg")?)
        .ok_or_else(|| "/proc/loadavg makes no sense".to_owned())?;
    text.one("node_load1", Kind::Gauge, "1m load average.", one);
    text.one("node_load15", Kind::Gauge, "15m load average.", fifteen);
    text.one("node_load5", Kind::Gauge, "5m load average.", five);
    Ok(())
}

fn memory(host: &dyn Inspect, text: &mut Exposition) -> Collected {
    for line in Memory::parse(&required(host, "/proc/meminfo")?).0 {
        // node_exporter's: `Active(anon)` is Active_anon.
        let name = line.name.replace('(', "_").replace(')', "");
        let name =
            if line.bytes { format!("node_memory_{name}_bytes") } else { format!("node_memory_{name}") };
        let help = format!("Memory information field {}.", name.trim_start_matches("node_memory_"));
        text.one(&name, Kind::Gauge, &help, line.value as f64);
    }
    Ok(())
}

fn interfaces(host: &dyn Inspect, text: &mut Exposition) -> Collected {
    let base = "/sys/class/net";
    let found: Vec<String> = names(host, base).into_iter().filter(|name| name != "bonding_masters").collect();
    if found.is_empty() {
        return Err(format!("{base} is empty"));
    }
    let metric = text.metric("node_network_carrier", Kind::Gauge, "Network device property: carrier");
    for device in &found {
        if let Some(carrier) = number::<f64>(host, &format!("{base}/{device}/carrier")) {
            metric.value(&[("device", device)], carrier);
        }
    }
    let metric = text.metric("node_network_speed_bytes", Kind::Gauge, "Network device property: speed_bytes");
    for device in &found {
        // In megabits, and -1 while nothing is plugged in.
        if let Some(speed) = number::<f64>(host, &format!("{base}/{device}/speed")) {
            metric.value(&[("device", device)], speed * 1e6 / 8.0);
        }
    }
    let metric = text.metric("node_network_up", Kind::Gauge, "Value is 1 if operstate is 'up', 0 otherwise.");
    for device in &found {
        let state =
            super::super::kernel::text(host, &format!("{base}/{device}/operstate")).unwrap_or_default();
        metric.value(&[("device", device)], f64::from(u8::from(state.trim() == "up")));
    }
    Ok(())
}

fn traffic(host: &dyn Inspect, text: &mut Exposition) -> Collected {
    let found = network::dev(&required(host, "/proc/net/dev")?);
    let mut write =
        |direction: &str, fields: &[&str; 8], numbers: &dyn Fn(&network::Interface) -> [u64; 8]| {
            for (index, field) in fields.iter().enumerate() {
                let name = format!("node_network_{direction}_{field}_total");
                let help = format!("Network device statistic {direction}_{field}.");
                let metric = text.metric(&name, Kind::Counter, &help);
                for interface in &found {
                    metric.value(&[("device", &interface.name)], numbers(interface)[index] as f64);
                }
            }
        };
    write("receive", &network::RECEIVED, &|interface| interface.received);
    write("transmit", &network::SENT, &|interface| interface.sent);
    Ok(())
}

fn pressure(host: &dyn Inspect, text: &mut Exposition) -> Collected {
    let read = |what: &str| {
        crate::kernel::text(host, &format!("/proc/pressure/{what}")).map(|text| cpu::pressure(&text))
    };
    let cpu = read("cpu").ok_or_else(|| "the kernel does not measure pressure (psi=1)".to_owned())?;
    let io = read("io").unwrap_or_default();
    let memory = read("memory").unwrap_or_default();
    let irq = read("irq").unwrap_or_default();
    let mut one = |what: &str, help: &str, value: Option<f64>| {
        text.some(&format!("node_pressure_{what}_seconds_total"), Kind::Counter, help, value);
    };
    one("cpu_waiting", "Total time in seconds that processes have waited for CPU time", cpu.0);
    one("io_stalled", "Total time in seconds no process could make progress due to IO congestion", io.1);
    one("io_waiting", "Total time in seconds that processes have waited due to IO congestion", io.0);
    one("irq_stalled", "Total time in seconds no process could make progress due to IRQ congestion", irq.1);
    one(
        "memory_stalled",
        "Total time in seconds no process could make progress due to memory congestion",
        memory.1,
    );
    one("memory_waiting", "Total time in seconds that processes have waited for memory", memory.0);
    Ok(())
}

fn zones(host: &dyn Inspect, text: &mut Exposition) -> Collected {
    let cooling = thermal::cooling(host);
    if !cooling.is_empty() {
        let metric = text.metric(
            "node_cooling_device_cur_state",
            Kind::Gauge,
            "Current throttle state of the cooling device",
        );
        for device in &cooling {
            metric.value(&[("name", &device.name), ("type", &device.kind)], device.now);
        }
        let metric = text.metric(
            "node_cooling_device_max_state",
            Kind::Gauge,
            "Maximum throttle state of the cooling device",
        );
        for device in &cooling {
            metric.value(&[("name", &device.name), ("type", &device.kind)], device.most);
        }
    }
    let zones = thermal::zones(host);
    if !zones.is_empty() {
        let metric = text.metric("node_thermal_zone_temp", Kind::Gauge, "Zone temperature in Celsius");
        for zone in &zones {
            metric.value(&[("type", &zone.kind), ("zone", &zone.zone)], zone.celsius);
        }
    }
    Ok(())
}

fn clock(system: &dyn System, text: &mut Exposition) -> Collected {
    let clock = system.clock()?;
    text.one("node_timex_maxerror_seconds", Kind::Gauge, "Maximum error in seconds.", clock.max_error);
    text.one(
        "node_timex_offset_seconds",
        Kind::Gauge,
        "Time offset in between local system and reference clock.",
        clock.offset,
    );
    let help = "Is clock synchronized to a reliable server (1 = yes, 0 = no).";
    text.one("node_timex_sync_status", Kind::Gauge, help, f64::from(u8::from(clock.synchronized)));
    Ok(())
}

fn uname(host: &dyn Inspect, text: &mut Exposition) -> Collected {
    let of =
        |name: &str| required(host, &format!("/proc/sys/kernel/{name}")).map(|text| text.trim().to_owned());
    // Not in /proc before Linux 6.1, and the same as what this was built for but for a 32-bit userland.
    let machine = of("arch").unwrap_or_else(|_| std::env::consts::ARCH.to_owned());
    let (domain, node, release) = (of("domainname")?, of("hostname")?, of("osrelease")?);
    let (sysname, version) = (of("ostype")?, of("version")?);
    let labels = [
        ("domainname", domain.as_str()),
        ("machine", &machine),
        ("nodename", &node),
        ("release", &release),
        ("sysname", &sysname),
        ("version", &version),
    ];
    text.metric(
        "node_uname_info",
        Kind::Gauge,
        "Labeled system information as provided by the uname system call.",
    )
    .value(&labels, 1.0);
    Ok(())
}

fn vmstat(host: &dyn Inspect, text: &mut Exposition) -> Collected {
    let read = required(host, "/proc/vmstat")?;
    // node_exporter's ^(oom_kill|pgpg|pswp|pg.*fault).*
    let wanted = |name: &str| {
        ["oom_kill", "pgpg", "pswp"].iter().any(|prefix| name.starts_with(prefix))
            || name.strip_prefix("pg").is_some_and(|rest| rest.contains("fault"))
    };
    for (name, value) in cpu::pairs(&read).filter(|(name, _)| wanted(name)) {
        let help = format!("/proc/vmstat information field {name}.");
        text.one(&format!("node_vmstat_{name}"), Kind::Untyped, &help, value as f64);
    }
    Ok(())
}

/// This process's own metrics, under the names of Prometheus' client libraries.
pub fn process(host: &dyn Inspect, exposition: &mut Exposition) {
    let Some(stat) = text(host, "/proc/self/stat") else { return };
    // The name in brackets may hold anything; the numbers come after the last bracket.
    let Some((_, rest)) = stat.rsplit_once(')') else { return };
    let words: Vec<f64> =
        rest.split_ascii_whitespace().map(|word| word.parse().unwrap_or_default()).collect();
    let at = |index: usize| words.get(index).copied();
    let boot = text(host, "/proc/stat").and_then(|text| cpu::stat(&text).boot_time);
    let seconds = at(11).zip(at(12)).map(|(user, system)| (user + system) / cpu::TICKS);
    exposition.some(
        "process_cpu_seconds_total",
        Kind::Counter,
        "Total user and system CPU time spent in seconds.",
        seconds,
    );
    let open = names(host, "/proc/self/fd").len();
    exposition.one("process_open_fds", Kind::Gauge, "Number of open file descriptors.", open as f64);
    // From status, because stat counts in pages, which are 4 KiB or 16 KiB on a Pi.
    let status = text(host, "/proc/self/status").unwrap_or_default();
    let kib = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        line.split_ascii_whitespace().next()?.parse::<f64>().ok().map(|kib| kib * 1024.0)
    };
    exposition.some(
        "process_resident_memory_bytes",
        Kind::Gauge,
        "Resident memory size in bytes.",
        kib("VmRSS:"),
    );
    let started = boot.zip(at(19)).map(|(boot, ticks)| boot as f64 + ticks / cpu::TICKS);
    exposition.some(
        "process_start_time_seconds",
        Kind::Gauge,
        "Start time of the process since unix epoch in seconds.",
        started,
    );
    exposition.some(
        "process_virtual_memory_bytes",
        Kind::Gauge,
        "Virtual memory size in bytes.",
        kib("VmSize:"),
    );
}
