//! Traps of architectures, packages and apt.

use pitool_host::parse::apt_sources;
use pitool_host::text::chain;

use super::trap::{Look, Trap, Verdict, fine, found, not_here, settings, unknown};

pub(super) const TRAPS: &[Trap] = &[
    Trap { number: 3, name: "no packages of Docker for this processor", look: armv6 },
    Trap { number: 4, name: "32-bit programs under a 64-bit kernel", look: userland },
    Trap { number: 6, name: "packages of a second architecture", look: architectures },
    Trap { number: 23, name: "automatic updates match nothing", look: origins },
    Trap { number: 24, name: "dpkg was interrupted", look: interrupted },
    Trap { number: 25, name: "keys that apt trusts for everything", look: keys },
    Trap { number: 32, name: "apt does not look at dates", look: dates },
];

fn armv6(look: &Look<'_>) -> Verdict {
    if look.facts.armv6 {
        return found(
            "the processor is ARMv6 (Pi 1, Zero, Zero W)",
            "neither Debian's armhf nor Docker runs on it: use another board",
        );
    }
    if look.facts.os == "raspbian" && look.installed("docker-ce") {
        return found(
            "Docker's own packages on Raspbian, which get no updates from version 29 on",
            "`source = \"debian\"` in [docker], after removing docker-ce",
        );
    }
    fine(format!("{} is served", look.facts.arch))
}

fn userland(look: &Look<'_>) -> Verdict {
    match (look.facts.arch.as_str(), look.facts.kernel_arch.as_str()) {
        ("armhf", "aarch64") => found(
            "the programs are 32-bit (armhf), the kernel says aarch64",
            "choose images and downloads for arm/v7, whatever `uname -m` says; a 64-bit system needs a new card",
        ),
        (arch, kernel) => fine(format!("programs are {arch}, the kernel says {kernel}")),
    }
}

fn architectures(look: &Look<'_>) -> Verdict {
    let foreign = look.text("/var/lib/dpkg/arch").unwrap_or_default();
    let foreign: Vec<&str> =
        foreign.lines().filter(|line| !line.is_empty() && *line != look.facts.arch).collect();
    if foreign.is_empty() {
        return fine("one architecture");
    }
    let Ok(status) = look.host.read("/var/lib/dpkg/status") else {
        return unknown("dpkg's database cannot be read");
    };
    let status =
        status.map(|content| String::from_utf8_lossy(content.bytes()).into_owned()).unwrap_or_default();
    let count = status
        .lines()
        .filter(|line| foreign.iter().any(|arch| *line == format!("Architecture: {arch}")))
        .count();
    match count {
        0 => fine(format!("{} is allowed, and none of its packages is there", foreign.join(", "))),
        count => found(
            format!("{count} packages of {}", foreign.join(", ")),
            "name the architecture when you ask for a package: `apt install NAME:ARCH`",
        ),
    }
}

fn origins(look: &Look<'_>) -> Verdict {
    if !look.installed("unattended-upgrades") {
        return not_here("unattended-upgrades is not installed");
    }
    let dump = match look.ask("apt-config", &["dump", "Unattended-Upgrade"]) {
        Ok(output) => output.stdout,
        Err(why) => return unknown(why),
    };
    let has = |word: &str| dump.contains(word);
    let raspbian = look.facts.os == "raspbian";
    if raspbian && !has("Raspbian") {
        return found(
            "Raspbian's archive is not among the origins",
            "`sudo pitool apply security` writes the origins that this machine has",
        );
    }
    if !raspbian && !has("Debian-Security") && !has("-security") {
        return found(
            "no origin for Debian's security updates",
            "`sudo pitool apply security` writes the origins that this machine has",
        );
    }
    if look.facts.raspberrypi_archive && !has("Raspberry Pi Foundation") {
        return found(
            "kernel and firmware from Raspberry Pi's archive are not updated by themselves",
            "`raspberrypi = true` in [security.updates], if you want that; else `sudo apt upgrade` now and then",
        );
    }
    fine("the origins are those of this machine")
}

fn interrupted(look: &Look<'_>) -> Verdict {
    let begun =
        look.names("/var/lib/dpkg/updates").iter().any(|name| name.bytes().all(|c| c.is_ascii_digit()));
    if begun {
        return found("dpkg was interrupted", "`sudo dpkg --configure -a`");
    }
    match look.ask("dpkg", &["--audit"]) {
        Err(why) => unknown(why),
        Ok(output) if output.stdout.trim().is_empty() => fine("every package is whole"),
        Ok(output) => {
            let first = output
                .stdout
                .lines()
                .find(|line| line.starts_with(' '))
                .unwrap_or_default()
                .trim()
                .to_owned();
            found(
                format!("packages are half installed: {first}"),
                "`sudo dpkg --configure -a`, then `sudo apt --fix-broken install`; what is still named after them \
                 wants `sudo apt install --reinstall NAME`",
            )
        }
    }
}

fn keys(look: &Look<'_>) -> Verdict {
    let sources = match apt_sources::read(look.host) {
        Ok(sources) => sources,
        Err(error) => return unknown(chain(&error)),
    };
    let unsigned: Vec<String> = sources
        .iter()
        .filter(|(_, source)| source.enabled && source.trusted)
        .map(|(file, _)| file.clone())
        .collect();
    if let Some(file) = unsigned.first() {
        return found(
            format!("{file} says trusted=yes: nobody checks what comes from there"),
            "give it `Signed-By:` with the archive's key",
        );
    }
    let old: Vec<String> = look
        .names("/etc/apt/trusted.gpg.d")
        .into_iter()
        .filter(|name| {
            !name.starts_with("debian-")
                && !name.starts_with("raspbian-")
                && !name.starts_with("raspberrypi-")
        })
        .collect();
    if look.there("/etc/apt/trusted.gpg") || !old.is_empty() {
        let what = if old.is_empty() {
            "/etc/apt/trusted.gpg".to_owned()
        } else {
            format!("/etc/apt/trusted.gpg.d/{}", old.join(", "))
        };
        return found(
            format!("{what} is trusted for every archive"),
            "move the key to /etc/apt/keyrings and name it by `Signed-By:` in its source",
        );
    }
    fine("every key belongs to its archive")
}

fn dates(look: &Look<'_>) -> Verdict {
    let files = look.files("/etc/apt/apt.conf.d", "");
    let off = files
        .iter()
        .find(|(_, text)| settings(text).any(|line| line.contains("Check-Date") && line.contains("false")));
    match off {
        Some((file, _)) => found(
            format!("{file} tells apt not to look at dates"),
            "remove that line: it was for a first boot without the right time, and lets old lists pass for new ones",
        ),
        None => fine("apt looks at dates"),
    }
}
