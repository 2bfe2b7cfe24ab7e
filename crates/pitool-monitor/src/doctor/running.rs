//! Traps of a machine at work: swap, logs, wear, kernels and services that are not what is on the disk.

use super::trap::{Look, Trap, Verdict, fine, found, not_here, settings, unknown};
use crate::checks::bytes;

pub(super) const TRAPS: &[Trap] = &[
    Trap { number: 22, name: "the running kernel's modules are gone", look: modules },
    Trap { number: 26, name: "settings in /etc/sysctl.conf are not read", look: sysctl },
    Trap { number: 27, name: "two programs make swap", look: swap },
    Trap { number: 28, name: "the log is gone after a reboot", look: journal },
    Trap { number: 29, name: "/tmp is memory", look: tmp },
    Trap { number: 34, name: "logs of containers grow for ever", look: container_logs },
    Trap { number: 36, name: "writes wear the card out", look: wear },
    Trap { number: 37, name: "services run with older files", look: stale },
];

fn modules(look: &Look<'_>) -> Verdict {
    match look.facts.kernel_modules {
        true => fine(format!("{} has its modules, or needs none", look.facts.kernel)),
        false => found(
            format!("/lib/modules has none for the running kernel {}", look.facts.kernel),
            "reboot: until then firewall, Docker and new devices may fail",
        ),
    }
}

fn sysctl(look: &Look<'_>) -> Verdict {
    let text = look.text("/etc/sysctl.conf").unwrap_or_default();
    let count = settings(&text).filter(|line| line.contains('=')).count();
    match (count, look.facts.release >= 13) {
        (0, _) => fine("it has none"),
        (_, false) => fine("this release still reads it"),
        (count, true) => found(
            format!("/etc/sysctl.conf has {count} settings, and Debian 13 does not read it at boot"),
            "move them to [common.sysctl], or to a file in /etc/sysctl.d",
        ),
    }
}

fn swap(look: &Look<'_>) -> Verdict {
    match look.installed("rpi-swap") && look.installed("dphys-swapfile") {
        true => found(
            "rpi-swap and dphys-swapfile are both installed",
            "`sudo apt purge dphys-swapfile`, then reboot",
        ),
        false => fine("one at most"),
    }
}

fn journal(look: &Look<'_>) -> Verdict {
    let output = match look.ask("systemd-analyze", &["cat-config", "systemd/journald.conf"]) {
        Ok(output) => output.stdout,
        Err(why) => return unknown(why),
    };
    let storage =
        settings(&output).filter_map(|line| line.strip_prefix("Storage=")).next_back().unwrap_or("auto");
    match storage {
        "volatile" | "none" => found(
            format!("the last word on the journal is Storage={storage}"),
            "`storage = \"persistent\"` in [monitoring.journal] keeps it; pitool's own counters of events survive either way",
        ),
        "auto" if !look.there("/var/log/journal") => found(
            "there is no /var/log/journal, so the log is in memory",
            "`storage = \"persistent\"` in [monitoring.journal]",
        ),
        storage => fine(format!("Storage={storage}, on disk")),
    }
}

fn tmp(look: &Look<'_>) -> Verdict {
    let text =
        look.text("/proc/1/mountinfo").or_else(|| look.text("/proc/self/mountinfo")).unwrap_or_default();
    let mounts = crate::kernel::mounts::parse(&text);
    let memory = mounts.iter().any(|mount| mount.point == "/tmp" && mount.kind == "tmpfs");
    match (memory, look.facts.memory) {
        (false, _) => fine("/tmp is on the disk"),
        (true, total) if total >= 1 << 30 => fine(format!("/tmp is a part of {} of memory", bytes(total))),
        (true, total) => found(
            format!("/tmp takes up to half of {} of memory", bytes(total)),
            "put big temporary files into /var/tmp, or `sudo systemctl mask tmp.mount` and reboot",
        ),
    }
}

fn container_logs(look: &Look<'_>) -> Verdict {
    let listed = match look.system.docker("/containers/json?all=1") {
        Ok(None) => return not_here("Docker does not run"),
        Err(why) => return unknown(why),
        Ok(Some(answer)) => answer,
    };
    let listed: serde_json::Value = serde_json::from_slice(&listed.body).unwrap_or_default();
    let mut endless = Vec::new();
    let mut count = 0;
    for container in listed.as_array().into_iter().flatten() {
        let Some(id) = container["Id"].as_str().filter(|id| id.bytes().all(|c| c.is_ascii_hexdigit())) else {
            continue;
        };
        count += 1;
        let Ok(Some(answer)) = look.system.docker(&format!("/containers/{id}/json")) else { continue };
        let told: serde_json::Value = serde_json::from_slice(&answer.body).unwrap_or_default();
        let config = &told["HostConfig"]["LogConfig"];
        if config["Type"] == "json-file" && config["Config"]["max-size"].is_null() {
            endless.push(told["Name"].as_str().unwrap_or(id).trim_start_matches('/').to_owned());
        }
    }
    match (count, endless.is_empty()) {
        (0, _) => not_here("there is no container"),
        (count, true) => fine(format!("{count} containers have a limit")),
        (_, false) => found(
            format!("no limit for {}", endless.join(", ")),
            "limits count for new containers only: make these anew (`docker compose up -d --force-recreate`)",
        ),
    }
}

/// What a day may write to a card: 5 GB a day is nearly 2 TB a year, more than small cards are made for.
const DAILY: u64 = 5_000_000_000;

fn wear(look: &Look<'_>) -> Verdict {
    let cards: Vec<(&String, &u64)> =
        look.sample.written.iter().filter(|(name, _)| name.starts_with("mmcblk")).collect();
    if cards.is_empty() {
        return not_here("no card: nothing here is called mmcblk");
    }
    let up = look
        .sample
        .booted
        .map(|booted| look.sample.taken.as_second() - booted.as_second())
        .unwrap_or_default();
    // The first hours after a boot say little about a day.
    if up < 6 * 3600 {
        return unknown("the machine has not been up for six hours");
    }
    let worst = cards
        .iter()
        .map(|(name, written)| ((*written).saturating_mul(86_400) / up.unsigned_abs(), *name))
        .max();
    match worst {
        Some((daily, name)) if daily > DAILY => found(
            format!("{} a day are written to {name}", bytes(daily)),
            "`sudo iotop -ao` shows who writes; journal and databases are the usual ones: give them an SSD",
        ),
        Some((daily, name)) => fine(format!("{} a day are written to {name}", bytes(daily))),
        None => not_here("no card"),
    }
}

fn stale(look: &Look<'_>) -> Verdict {
    if !look.facts.systemd {
        return not_here("systemd does not run");
    }
    let output = match look.ask(
        "systemctl",
        &["show", "--property=Id,NeedDaemonReload", "--type=service", "--state=active", "*"],
    ) {
        Ok(output) => output.stdout,
        Err(why) => return unknown(why),
    };
    let mut stale = Vec::new();
    for block in output.split("\n\n").filter(|block| block.lines().any(|line| line == "NeedDaemonReload=yes"))
    {
        stale.extend(block.lines().find_map(|line| line.strip_prefix("Id=")).map(str::to_owned));
    }
    match stale.is_empty() {
        true => fine(
            "systemd has read every unit file; `pitool plan` says whether a service runs with older settings",
        ),
        false => found(
            format!("unit files are newer than what runs: {}", stale.join(", ")),
            "`sudo systemctl daemon-reload`, then restart them",
        ),
    }
}
