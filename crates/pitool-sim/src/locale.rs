//! Locales and time.

use pitool_host::ActiveState;

use crate::shell::{Ending, Shell};
use crate::world::{Node, World};

/// Where locale-gen's archive would be; here one name on each line.
const ARCHIVE: &str = "/usr/lib/locale/locale-archive";

impl World {
    fn locales(&self) -> Vec<String> {
        self.text(ARCHIVE).lines().map(str::to_owned).collect()
    }
}

/// locale(1).
pub(crate) fn locale(shell: &mut Shell<'_>, args: &[&str]) -> Ending {
    match args {
        ["-a"] => {
            let generated = shell.world().locales();
            for name in ["C".to_owned(), "C.utf8".to_owned(), "POSIX".to_owned()].iter().chain(&generated) {
                shell.say(name);
            }
            Ok(0)
        }
        _ => shell.unknown(),
    }
}

/// locale-gen(8): makes what /etc/locale.gen lists.
pub(crate) fn locale_gen(shell: &mut Shell<'_>, args: &[&str]) -> Ending {
    if args.iter().any(|arg| *arg != "--keep-existing") {
        shell.unknown();
    }
    let wanted: Vec<String> = shell
        .world()
        .text("/etc/locale.gen")
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .filter_map(|line| line.split_whitespace().next())
        .map(|name| name.replace("UTF-8", "utf8"))
        .collect();
    let keep = args.contains(&"--keep-existing");
    let mut names = if keep { shell.world().locales() } else { Vec::new() };
    if !keep {
        shell.change("empty the locale archive", |world| {
            world.erase(ARCHIVE);
        })?;
    }
    shell.say("Generating locales (this might take a while)...");
    for name in wanted {
        shell.say(format!("  {name}... done"));
        if !names.contains(&name) {
            names.push(name.clone());
            names.sort();
        }
        let text = names.iter().fold(String::new(), |text, name| text + name + "\n");
        shell.change(&format!("generate {name}"), |world| {
            world.put(ARCHIVE, text);
        })?;
    }
    shell.say("Generation complete.");
    Ok(0)
}

/// timedatectl(1), its questions only.
pub(crate) fn timedatectl(shell: &mut Shell<'_>, args: &[&str]) -> Ending {
    let Some((&"show", rest)) = args.split_first() else { shell.unknown() };
    let mut wanted = Vec::new();
    let mut value_only = false;
    let mut rest = rest.iter();
    while let Some(&arg) = rest.next() {
        match arg {
            "--value" => value_only = true,
            "-p" | "--property" => wanted.extend(rest.next().copied()),
            _ if arg.starts_with("--property=") => wanted.push(&arg[11..]),
            _ => shell.unknown(),
        }
    }
    let world = shell.world();
    let zone = match world.node("/etc/localtime", false) {
        Some(Node::Link { target }) => target.split("zoneinfo/").nth(1).unwrap_or("UTC").to_owned(),
        _ => "UTC".to_owned(),
    };
    let active = world.unit_status("systemd-timesyncd.service").active == ActiveState::Active;
    let enabled = world.unit_status("systemd-timesyncd.service").enabled();
    drop(world);
    let word = |yes: bool| if yes { "yes" } else { "no" };
    let all = [
        ("Timezone", zone.as_str()),
        ("LocalRTC", "no"),
        ("CanNTP", "yes"),
        ("NTP", word(enabled)),
        ("NTPSynchronized", word(active && !shell.offline())),
    ];
    for (key, value) in all {
        if wanted.is_empty() || wanted.contains(&key) {
            shell.say(if value_only { value.to_owned() } else { format!("{key}={value}") });
        }
    }
    Ok(0)
}
