//! `pitool_*`: what no node_exporter knows.

use jiff::Timestamp;

use super::{Exposition, Kind};
use crate::event::Event;
use crate::finding::Level;
use crate::kernel::pi::Power;
use crate::status::Status;

/// Writes them from what was found last.
pub fn write(status: &Status, text: &mut Exposition) {
    let seconds = |time: &Timestamp| time.as_millisecond() as f64 / 1000.0;
    text.metric("pitool_build_info", Kind::Gauge, "The version of pitool.")
        .value(&[("version", &status.pitool)], 1.0);
    text.one(
        "pitool_last_check_timestamp_seconds",
        Kind::Gauge,
        "When the machine was last checked.",
        seconds(&status.taken),
    );
    let help = "How a check is: 0 ok, 1 unknown, 2 warn, 3 fail.";
    let metric = text.metric("pitool_check_level", Kind::Gauge, help);
    for finding in &status.findings {
        metric.value(&[("check", &finding.check), ("subject", &finding.subject)], level(finding.level));
    }
    let metric = text.metric("pitool_check_value", Kind::Gauge, "What a check found, where it is a number.");
    for finding in &status.findings {
        if let Some(number) = finding.number {
            metric.value(&[("check", &finding.check), ("subject", &finding.subject)], number);
        }
    }
    text.one(
        "pitool_health_level",
        Kind::Gauge,
        "The worst of all checks, as pitool_check_level.",
        level(status.level),
    );
    let metric = text.metric(
        "pitool_events_total",
        Kind::Counter,
        "Events of the machine since pitool counts them, over reboots.",
    );
    for event in Event::ALL {
        let total = status.events.get(&event).map_or(0, |count| count.total);
        metric.value(&[("event", event.name())], total as f64);
    }
    if let Some(bits) = status.throttled {
        let flag = |on: bool| f64::from(u8::from(on));
        let metric = text.metric(
            "pitool_power_state",
            Kind::Gauge,
            "What the Pi's firmware says of power and heat, now and since boot.",
        );
        for power in Power::ALL {
            let name = power.words().replace([' ', '-'], "_");
            metric.value(&[("state", &name), ("when", "now")], flag(bits.now(power)));
            metric.value(&[("state", &name), ("when", "boot")], flag(bits.since_boot(power)));
        }
    }
    text.some(
        "pitool_under_voltage",
        Kind::Gauge,
        "Whether the Pi's voltage chip says that the supply is too low.",
        status.low_voltage.map(|low| f64::from(u8::from(low))),
    );
    let metric = text.metric(
        "pitool_disk_lifetime_written_bytes",
        Kind::Gauge,
        "Bytes written to a file system in its whole life.",
    );
    for disk in &status.disks {
        if let Some(written) = disk.lifetime_written {
            metric.value(&[("device", &disk.device), ("mountpoint", &disk.point)], written as f64);
        }
    }
    let metric = text.metric(
        "pitool_filesystem_errors",
        Kind::Gauge,
        "Errors that a file system has recorded in itself.",
    );
    for disk in &status.disks {
        if let Some(errors) = disk.errors {
            metric.value(&[("device", &disk.device), ("mountpoint", &disk.point)], errors as f64);
        }
    }
    if !status.emmc.is_empty() {
        let metric = text.metric(
            "pitool_emmc_life_used_ratio",
            Kind::Gauge,
            "The part of an eMMC's life that is used.",
        );
        for (device, used) in &status.emmc {
            metric.value(&[("device", device)], f64::from(*used) / 100.0);
        }
    }
    if !status.containers.is_empty() {
        let metric =
            text.metric("pitool_container_up", Kind::Gauge, "Whether a container runs and is not unhealthy.");
        for container in &status.containers {
            let labels = [
                ("container", container.name.as_str()),
                ("image", &container.image),
                ("state", &container.state),
            ];
            metric.value(&labels, f64::from(u8::from(container.state == "running")));
        }
    }
    text.append(&status.backup_metrics);
    if !status.certificates.is_empty() {
        let metric = text.metric(
            "pitool_certificate_not_after_timestamp_seconds",
            Kind::Gauge,
            "Until when a certificate holds: the one that is served, else the one on disk.",
        );
        for (name, certificate) in &status.certificates {
            let until = certificate.served_until.or(certificate.valid_until);
            metric.value(&[("name", name)], until.as_ref().map_or(0.0, seconds));
        }
    }
    if let Some(updates) = status.updates {
        let metric = text.metric("pitool_updates_pending", Kind::Gauge, "Updates that apt would install.");
        metric.value(&[("security", "false")], f64::from(updates.pending.saturating_sub(updates.security)));
        metric.value(&[("security", "true")], f64::from(updates.security));
    }
    text.one(
        "pitool_alerts_firing",
        Kind::Gauge,
        "Problems that somebody was told of and that are not over.",
        status.alerts.told.len() as f64,
    );
    text.one(
        "pitool_alerts_waiting",
        Kind::Gauge,
        "Messages that wait to be sent.",
        status.alerts.waiting as f64,
    );
    text.one(
        "pitool_alerts_dropped_total",
        Kind::Counter,
        "Messages that were given up because too many waited.",
        status.alerts.dropped as f64,
    );
}

fn level(level: Level) -> f64 {
    match level {
        Level::Ok => 0.0,
        Level::Unknown => 1.0,
        Level::Warn => 2.0,
        Level::Fail => 3.0,
    }
}
