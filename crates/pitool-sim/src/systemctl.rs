//! systemctl.

use pitool_host::ActiveState;

use crate::shell::{Ending, Shell, Stop};
use crate::world::{World, split};

/// systemctl(1).
pub(crate) fn systemctl(shell: &mut Shell<'_>, args: &[&str]) -> Ending {
    let (mut now, mut rooted, mut properties, mut value_only) = (false, shell.away(), Vec::new(), false);
    let mut words = Vec::new();
    let mut rest = args.iter();
    while let Some(&arg) = rest.next() {
        match arg {
            "--now" => now = true,
            "--quiet" | "-q" | "--no-block" | "--system" | "--no-pager" | "--force" | "--no-reload"
            | "--wait" | "--" => {}
            "--value" => value_only = true,
            "-p" | "--property" => properties.extend(rest.next().copied().unwrap_or_default().split(',')),
            _ if arg.starts_with("--root=") => rooted = true,
            _ if arg.starts_with("--property=") => properties.extend(arg[11..].split(',')),
            _ if arg.starts_with("-p") => properties.extend(arg[2..].split(',')),
            _ if arg.starts_with('-') => shell.unknown(),
            _ => words.push(arg),
        }
    }
    let Some((&verb, names)) = words.split_first() else { shell.unknown() };
    let names: Vec<String> = names.iter().map(|name| shell.world().unit_name(name)).collect();
    if rooted && !matches!(verb, "enable" | "disable" | "mask" | "unmask" | "is-enabled") {
        return shell
            .fail(1, "System has not been booted with systemd as init system (PID 1). Can't operate.");
    }
    match verb {
        "daemon-reload" | "daemon-reexec" => {
            shell.change("daemon-reload", World::reload_manager)?;
            Ok(0)
        }
        "enable" | "disable" | "mask" | "unmask" => {
            for name in &names {
                files(shell, verb, name)?;
            }
            if now && !rooted && verb != "unmask" {
                let verb = if verb == "enable" { "start" } else { "stop" };
                return jobs(shell, verb, &names);
            }
            Ok(0)
        }
        "start"
        | "stop"
        | "restart"
        | "reload"
        | "reload-or-restart"
        | "try-restart"
        | "try-reload-or-restart" => jobs(shell, verb, &names),
        "reset-failed" => {
            shell.change("reset-failed", |world| {
                for (name, unit) in &mut world.units {
                    if unit.active == ActiveState::Failed && (names.is_empty() || names.contains(name)) {
                        unit.active = ActiveState::Inactive;
                    }
                }
            })?;
            Ok(0)
        }
        "is-active" | "is-failed" | "is-enabled" => {
            let mut any = false;
            for name in &names {
                let status = shell.world().unit_status(name);
                let (word, good) = match (verb, status.active) {
                    ("is-enabled", _) if !status.exists => ("not-found".to_owned(), false),
                    ("is-enabled", _) => (
                        status.file_state.clone(),
                        matches!(status.file_state.as_str(), "enabled" | "static"),
                    ),
                    ("is-failed", active) => (word(active).to_owned(), active == ActiveState::Failed),
                    (_, active) => (word(active).to_owned(), active == ActiveState::Active),
                };
                shell.say(word);
                any |= good;
            }
            Ok(match (any, verb) {
                (true, _) => 0,
                (false, "is-active") => 3,
                (false, _) => 1,
            })
        }
        "is-system-running" => {
            let failed = shell.world().units.values().any(|unit| unit.active == ActiveState::Failed);
            shell.say(if failed { "degraded" } else { "running" });
            Ok(i32::from(failed))
        }
        "show" => {
            for (index, name) in names.iter().enumerate() {
                if index > 0 {
                    shell.say("");
                }
                show(shell, name, &properties, value_only);
            }
            Ok(0)
        }
        "list-unit-files" | "list-units" | "list-timers" | "cat" => shell.unknown(),
        _ => shell.unknown(),
    }
}

fn word(active: ActiveState) -> &'static str {
    match active {
        ActiveState::Active => "active",
        ActiveState::Changing => "activating",
        ActiveState::Inactive => "inactive",
        ActiveState::Failed => "failed",
    }
}

fn show(shell: &mut Shell<'_>, name: &str, properties: &[&str], value_only: bool) {
    let status = shell.world().unit_status(name);
    let load = match (status.exists, status.masked()) {
        (_, true) => "masked",
        (true, false) => "loaded",
        (false, _) => "not-found",
    };
    let timer = name.strip_suffix(".timer");
    let sub = match status.active {
        ActiveState::Active if timer.is_some() => "waiting",
        ActiveState::Active => "running",
        ActiveState::Failed => "failed",
        _ => "dead",
    };
    let stale = if status.stale { "yes" } else { "no" };
    // A timer starts the service that its file names, else the one of its own name.
    let file = format!("/etc/systemd/system/{name}");
    let text = shell.world().text(&file).to_owned();
    let named = text.lines().find_map(|line| line.strip_prefix("Unit=")).map(str::to_owned);
    let starts = timer.map(|timer| named.unwrap_or(format!("{timer}.service"))).unwrap_or_default();
    let next = match (timer, status.active) {
        (Some(_), ActiveState::Active) => "Sun 2026-11-22 02:00:00 UTC",
        _ => "",
    };
    let limit = |setting: &str| {
        let values = shell.world().unit_setting(name, setting);
        values.last().cloned().unwrap_or_else(|| "1min 30s".to_owned())
    };
    let (start_limit, stop_limit) = (limit("TimeoutStartSec"), limit("TimeoutStopSec"));
    let started = status.started.unwrap_or_default().to_string();
    let main = shell.world().main_process(name).to_string();
    let all = [
        ("MainPID", main.as_str()),
        ("Id", name),
        ("Unit", &starts),
        ("NextElapseUSecRealtime", next),
        ("LoadState", load),
        ("ActiveState", word(status.active)),
        ("SubState", sub),
        ("UnitFileState", &status.file_state),
        ("InvocationID", &status.invocation),
        ("NeedDaemonReload", stale),
        ("Type", if status.unannounced { "simple" } else { "notify" }),
        ("ActiveEnterTimestampMonotonic", &started),
        ("TimeoutStartUSec", &start_limit),
        ("TimeoutStopUSec", &stop_limit),
        ("Job", ""),
    ];
    for (key, value) in all {
        if properties.is_empty() || properties.contains(&key) {
            shell.say(if value_only { value.to_owned() } else { format!("{key}={value}") });
        }
    }
}

/// Enables, disables, masks or unmasks one unit.
fn files(shell: &mut Shell<'_>, verb: &str, name: &str) -> std::result::Result<(), Stop> {
    let status = shell.world().unit_status(name);
    let mask = format!("/etc/systemd/system/{name}");
    match verb {
        "enable" if !status.exists => {
            shell.fail(1, format!("Failed to enable unit: Unit {name} does not exist"))
        }
        "enable" if status.masked() => shell.fail(1, format!("Failed to enable unit: Unit {mask} is masked")),
        "enable" => {
            let links = shell.world().install_links(name);
            if links.is_empty() {
                shell.complain("The unit files have no installation config (WantedBy=, RequiredBy=, UpheldBy=,\nAlso=, or Alias= settings in the [Install] section).");
            }
            shell.change(&format!("enable {name}"), |world| {
                for (path, target) in &links {
                    world.put_link(path, target);
                }
                world.reload_manager();
            })
        }
        "disable" => {
            let links = shell.world().enabled_links(name);
            if !status.exists && links.is_empty() {
                return shell.fail(1, format!("Failed to disable unit: Unit {name} does not exist"));
            }
            shell.change(&format!("disable {name}"), |world| {
                for path in &links {
                    world.erase(path);
                    let dir = split(path).0;
                    // systemd removes a directory of wants with its last link.
                    if dir.contains(".target.") && world.names(dir).is_some_and(|names| names.is_empty()) {
                        world.erase(dir);
                    }
                }
                world.reload_manager();
            })
        }
        "mask" => {
            if shell.world().nodes.contains_key(&mask) && !status.masked() {
                return shell.fail(1, format!("Failed to mask unit: File {mask} already exists."));
            }
            shell.change(&format!("mask {name}"), |world| {
                world.put_link(&mask, "/dev/null");
                world.reload_manager();
            })
        }
        _ => shell.change(&format!("unmask {name}"), |world| {
            if status.masked() {
                world.erase(&mask);
            }
            world.reload_manager();
        }),
    }
}

/// Starts, stops or reloads units, one change each.
fn jobs(shell: &mut Shell<'_>, verb: &str, names: &[String]) -> Ending {
    let mut status = 0;
    for name in names {
        let before = shell.world().unit_status(name);
        let active = before.active == ActiveState::Active;
        let verb = match verb {
            "try-restart" | "try-reload-or-restart" if !active => continue,
            "try-restart" => "restart",
            "reload-or-restart" | "try-reload-or-restart" if active && shell.world().reloadable(name) => {
                "reload"
            }
            "reload-or-restart" | "try-reload-or-restart" => "restart",
            other => other,
        };
        if verb == "start" && active {
            continue;
        }
        if verb == "stop" && !before.exists && !active {
            shell.complain(format!("Failed to stop {name}: Unit {name} not loaded."));
            status = 5;
            continue;
        }
        if before.stale {
            shell.complain(format!(
                "Warning: The unit file, source configuration file or drop-ins of {name} changed on disk. Run 'systemctl daemon-reload' to reload units."
            ));
        }
        let done = match verb {
            "stop" => {
                shell.change(&format!("stop {name}"), |world| world.stop_unit(name))?;
                Ok(())
            }
            "reload" => shell.change(&format!("reload {name}"), |world| world.reload_unit(name))?,
            _ => shell.change(&format!("{verb} {name}"), |world| world.start_unit(name))?,
        };
        if let Err(words) = done {
            shell.complain(words);
            status = if before.exists { 1 } else { 5 };
        }
    }
    Ok(status)
}
